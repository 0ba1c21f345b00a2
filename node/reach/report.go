package reach

import (
	"container/list"
	"net/netip"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// An Attempt is one round of an introduction, as this side saw it.
type Attempt struct {
	ID            uuid.UUID
	Began         clock.Time
	Own           bool // this side asked for it
	Round         int
	Technique     Technique
	Local, Remote wire.NAT
	Told          []wire.Candidate // what the peer was told of this side
	Candidates    []Tried          // what this side was told of the peer
	Guesses       int              // datagrams to ports that were guessed
	Err           error            // why a server did not introduce the two
	Started       bool             // a server gave the order to begin
	Ended         bool             // nothing more comes of it
}

// A Tried is a candidate of the peer and what became of it.
type Tried struct {
	wire.Candidate
	Refused bool // by the filter of addresses: it cannot be the peer's, or is not for this node to send to
	Heard   bool // the peer has answered there
}

// Bounds of what is remembered for reports.
const (
	attemptsKept = 8 // of a peer
	peersKept    = 128
)

// A logbook keeps the latest attempts with the peers of late.
type logbook struct {
	byPeer map[wire.PeerID]*list.Element
	used   list.List // of *entry, the least recently used first
}

type entry struct {
	peer     wire.PeerID
	attempts []*Attempt
}

func (l *logbook) add(peer wire.PeerID, a *Attempt) {
	e := l.byPeer[peer]
	if e == nil {
		if l.byPeer == nil {
			l.byPeer = make(map[wire.PeerID]*list.Element)
		}
		if l.used.Len() == peersKept {
			oldest := l.used.Remove(l.used.Front()).(*entry)
			delete(l.byPeer, oldest.peer)
		}
		e = l.used.PushBack(&entry{peer: peer})
		l.byPeer[peer] = e
	}
	l.used.MoveToBack(e)
	x := e.Value.(*entry)
	if len(x.attempts) == attemptsKept {
		x.attempts = x.attempts[1:]
	}
	x.attempts = append(x.attempts, a)
}

// Attempts returns the latest attempts to meet a peer, the newest last.
func (c *Client) Attempts(peer wire.PeerID) (attempts []Attempt) {
	e := c.log.byPeer[peer]
	if e == nil {
		return nil
	}
	for _, a := range e.Value.(*entry).attempts {
		attempts = append(attempts, *a)
	}
	return attempts
}

// note begins the report of an introduction.
func (c *Client) note(in *introduction) {
	if in.report != nil && in.report.ID == in.id {
		return
	}
	in.report = &Attempt{ID: in.id, Began: c.now, Own: in.own, Round: in.round, Local: in.me.nat, Remote: in.it}
	c.log.add(in.peer, in.report)
}

// noteTold completes the report by what both sides have told of themselves.
func (c *Client) noteTold(in *introduction) {
	in.report.Started = true
	in.report.Local, in.report.Remote = in.me.nat, in.it
	told := c.candidatesOf(in)
	for candidate := range told.All() {
		in.report.Told = append(in.report.Told, candidate)
	}
}

func (c *Client) noteCandidate(in *introduction, candidate wire.Candidate, allowed bool) {
	in.report.Candidates = append(in.report.Candidates, Tried{Candidate: candidate, Refused: !allowed})
	if n := len(in.report.Candidates); n > 2*wire.MaxCandidates {
		in.report.Candidates = in.report.Candidates[n-2*wire.MaxCandidates:]
	}
}

func (c *Client) refusedReport(in *introduction, err error) {
	c.note(in)
	in.report.Err, in.report.Ended = err, true
}

// PathUp reports that the peer has answered at an address.
func (c *Client) PathUp(peer wire.PeerID, remote netip.AddrPort) {
	e := c.log.byPeer[peer]
	if e == nil {
		return
	}
	for _, a := range e.Value.(*entry).attempts {
		for k := range a.Candidates {
			if a.Candidates[k].Addr == remote {
				a.Candidates[k].Heard = true
			}
		}
	}
}
