package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Cause says why two peers do not talk directly.
type Cause = reach.Cause

// Causes.
const (
	CauseNone       = reach.CauseNone       // they do, or nothing was tried
	CauseNoServer   = reach.CauseNoServer   // no rendezvous server could be asked
	CauseAbsent     = reach.CauseAbsent     // no server knows the peer, or it does not want to
	CauseRelayOnly  = reach.CauseRelayOnly  // a side keeps its addresses to itself
	CauseNoUDP      = reach.CauseNoUDP      // a side's network lets no UDP pass
	CauseFamily     = reach.CauseFamily     // one has IPv4 alone, the other IPv6
	CauseNoHairpin  = reach.CauseNoHairpin  // both are behind one NAT, which does not let them meet
	CauseBothHard   = reach.CauseBothHard   // the ports of both sides' NATs cannot be guessed
	CauseSearchOff  = reach.CauseSearchOff  // one side's cannot without a search, which is switched off
	CauseNotFound   = reach.CauseNotFound   // one side's port was looked for and not found
	CauseUnanswered = reach.CauseUnanswered // everything was tried, and nothing came back
	CauseTrying     = reach.CauseTrying     // nothing stands in the way, but they have not met yet
)

// An Explanation says how a peer is reached, and why not directly if it is not.
type Explanation struct {
	Peer   PeerID `json:"peer"`
	Path   *Path  `json:"path,omitempty"` // nil without a session
	Cause  Cause  `json:"cause"`
	Whose  string `json:"whose,omitempty"` // "this side", "the peer" or "both sides"
	Why    string `json:"why"`             // the cause in plain words
	Advice string `json:"advice,omitempty"`
	Local  Report `json:"local"`
	Remote Report `json:"remote"`
}

// A Report is what one side has tried to meet the other.
type Report struct {
	Known    bool            `json:"known"` // false for a peer that did not tell
	NAT      wire.NAT        `json:"nat"`
	Attempts []AttemptReport `json:"attempts"` // the latest, the newest last
}

// An AttemptReport is one round of an introduction, as one side saw it.
type AttemptReport struct {
	ID         uuid.UUID         `json:"id"`     // what both sides and the server log
	Age        time.Duration     `json:"age_ns"` // since it began
	Own        bool              `json:"own"`    // this side asked for it
	Round      int               `json:"round"`
	Technique  string            `json:"technique"`
	Local      wire.NAT          `json:"local_nat"`
	Remote     wire.NAT          `json:"remote_nat"`
	Told       []CandidateReport `json:"told"`       // what the other side was told
	Candidates []CandidateReport `json:"candidates"` // what this side was told
	Guesses    int               `json:"guesses"`    // datagrams to guessed ports
	Error      string            `json:"error,omitempty"`
}

// A CandidateReport is an address and what became of it.
type CandidateReport struct {
	Kind    string         `json:"kind"`
	Addr    netip.AddrPort `json:"addr"`
	Refused bool           `json:"refused,omitempty"` // not probed: it cannot be the peer's, or is not for this node to send to
	Heard   bool           `json:"heard,omitempty"`   // the peer has answered there
}

// Explain says why a peer is not reached directly, as far as this side knows.
// Conn.Explain asks the peer as well.
func (n *Node) Explain(peer PeerID) Explanation {
	s := n.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reach.explain(peer)
}

// Explain says how the peer is reached, and why not directly if it is not. It
// asks the peer for its report, and waits for it until ctx ends, 3 s at most;
// without one Remote.Known is false.
func (c *Conn) Explain(ctx context.Context) Explanation {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	remote := c.askReport(ctx)
	s := c.shard
	s.mu.Lock()
	path := c.presentPath()
	s.mu.Unlock()
	e := c.shard.node.Explain(c.Peer())
	e.Path, e.Remote = &path, remote
	if path.Kind == Direct {
		e.Cause, e.Whose, e.Advice = CauseNone, "", ""
		e.Why = "the path is direct"
	}
	return e
}

const explainTimeout = 3 * time.Second

func (r *rendezvous) explain(peer PeerID) Explanation {
	cause, whose := reach.Explain(r.client.Attempts(peer))
	e := Explanation{
		Peer: peer, Cause: cause, Whose: whose.String(), Why: cause.Text(), Advice: cause.Remedy(),
		Local: r.report(peer),
	}
	if whose != reach.Nobody {
		e.Why += fmt.Sprintf(" (%s)", whose)
	}
	return e
}

// report tells what this side has tried to meet a peer.
func (r *rendezvous) report(peer PeerID) Report {
	rep := Report{Known: true, NAT: r.client.Findings().NAT, Attempts: []AttemptReport{}}
	now := r.shard.node.now()
	for _, a := range r.client.Attempts(peer) {
		x := AttemptReport{
			ID: a.ID, Age: now.Sub(a.Began).Round(time.Millisecond), Own: a.Own, Round: a.Round, Technique: a.Technique.String(),
			Local: a.Local, Remote: a.Remote, Guesses: a.Guesses,
			Told: []CandidateReport{}, Candidates: []CandidateReport{},
		}
		if a.Err != nil {
			x.Error = strings.TrimPrefix(a.Err.Error(), "reach: ") // it is for people
		}
		for _, c := range a.Told {
			x.Told = append(x.Told, CandidateReport{Kind: c.Kind.String(), Addr: c.Addr})
		}
		for _, c := range a.Candidates {
			x.Candidates = append(x.Candidates, CandidateReport{Kind: c.Kind.String(), Addr: c.Addr, Refused: c.Refused, Heard: c.Heard})
		}
		rep.Attempts = append(rep.Attempts, x)
	}
	return rep
}

// A nodeTalk is what two nodes say to each other within a session, on
// wire.ChannelNode.
type nodeTalk struct {
	answers limit.Bucket // reports given
	asked   int          // reports waited for
	report  *Report      // the peer's latest
	waiting waitList
}

// reportRate is how often a peer may ask.
var reportRate = limit.Rate{PerSecond: 1, Burst: 4}

// askReport asks the peer for its report and waits for it.
func (c *Conn) askReport(ctx context.Context) (rep Report) {
	s := c.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &c.talk
	t.report = nil
	t.asked++
	defer func() { t.asked-- }()
	now := s.node.now()
	_, err := c.sess.Send(now, &session.Message{Channel: wire.ChannelNode, Data: []byte{byte(wire.NodeExplain)}})
	s.drain(now)
	for err == nil && t.report == nil && c.err == nil {
		err = s.wait(ctx, &t.waiting)
	}
	if t.report != nil {
		rep = *t.report
	}
	return rep
}

// talkNode handles what the peer's node says.
func (c *Conn) talkNode(now session.Time) {
	for {
		m, ok := c.sess.Recv(now, wire.ChannelNode)
		if !ok {
			return
		}
		if m.Mode != wire.Reliable || len(m.Data) == 0 {
			continue
		}
		switch wire.NodeType(m.Data[0]) {
		case wire.NodeExplain:
			c.giveReport(now)
		case wire.NodeReport:
			c.takeReport(m.Data[1:])
		}
	}
}

// giveReport tells the peer what this side has tried. Only the first shard knows, and
// its lock must not be waited for under another's.
func (c *Conn) giveReport(now session.Time) {
	if !c.talk.answers.Take(now, reportRate, 1) {
		return
	}
	go func() {
		b, err := json.Marshal(c.shard.node.report(c.Peer()))
		if err != nil || len(b) >= wire.NodeReportMax {
			return
		}
		c.shard.drive(func(now session.Time) {
			// An error means that the session has ended.
			c.sess.Send(now, &session.Message{Channel: wire.ChannelNode, Data: append([]byte{byte(wire.NodeReport)}, b...)})
		})
	}()
}

func (n *Node) report(peer PeerID) Report {
	s := n.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reach.report(peer)
}

// takeReport keeps a report that was asked for. It is only shown to people.
func (c *Conn) takeReport(b []byte) {
	if c.talk.asked == 0 || len(b) > wire.NodeReportMax {
		return
	}
	rep := new(Report)
	if json.Unmarshal(b, rep) != nil {
		return
	}
	rep.Known = true
	c.talk.report = rep
	c.talk.waiting.wake()
}
