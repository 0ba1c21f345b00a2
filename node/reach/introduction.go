package reach

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Timing of introductions.
const (
	freshLifetime   = 10 * time.Second // an introduction for a dial
	liveLifetime    = 60 * time.Second // one for a session that lives on
	invitedLifetime = 5 * time.Second  // one that a server began
	prepareMax      = 500 * time.Millisecond
	serverPatience  = time.Second     // then another server is asked as well
	roundPatience   = 3 * time.Second // then servers that did not answer are asked again
	retryMin        = 250 * time.Millisecond
	hastyMin        = 20 * time.Millisecond // the shortest pause that a server may ask for
	hastyRounds     = 4                     // that may follow each other as fast as that
	retryMax        = 5 * time.Second
	startMax        = 2 * time.Second      // the latest start that a server may order
	probeGap        = 2 * time.Millisecond // between the candidates of one peer
	probeTime       = 1600 * time.Millisecond
)

// A phase says what an introduction waits for.
//
//	                              PUNCH         start            established
//	Introduce -> preparing -> asking ------> timed ------> held ---------------> probing -> over
//	                |  ^        |              ^                                    |
//	INVITE ---------+  |        |   PUNCH      |                                    +- PUNCH of another server adds candidates
//	                +--|----> awaiting --------+
//	                   |        |
//	                   |        +-> Failed when every server refuses, or time is up
//	                   +------- resting <----- over, and the session is still relayed
type phase uint8

const (
	preparing phase = iota // ports that a NAT gives a new socket
	asking                 // a server's answer
	awaiting               // the server's order, after this side accepted
	timed                  // the synchronised start
	held                   // keys: the start has passed, the session is not established
	probing                // the last probe
	resting                // a better moment to try again
)

type introduction struct {
	id      uuid.UUID
	peer    wire.PeerID
	own     bool // this node asked for it; otherwise a server began it for the peer
	paid    bool // it has been charged
	server  int  // that began it
	fresh   bool
	phase   phase
	at      clock.Time // when the phase has something to do; Never if it waits for an event
	expires clock.Time // when asking, awaiting or held ends
	retry   bool       // nobody waits for it: it has rested before
	rests   int        // how often it has rested since the network changed
	round   int        // rounds that came to nothing since the network changed

	asks asks
	me   party
	it   wire.NAT
	seen netip.AddrPort // where servers see the peer; invalid if not where it may be probed

	candidates []netip.AddrPort
	probed     int // of candidates
	volley     volley
	report     *Attempt
}

// A party is what this side tells of itself in an introduction.
type party struct {
	nat       wire.NAT
	link      uint32         // a socket opened for this introduction; 0 if none
	reflexive netip.AddrPort // where servers see it
	links     []uint32       // all that were opened
}

// asks lets each server that is online be asked once.
type asks struct {
	asked, refused uint32 // sets of servers
	ends           clock.Time
	retryAfter     time.Duration // the shortest that a refusal asked for; 0 if waiting would not help
	err            error         // the last refusal
	failed         int           // rounds of asking before this one
}

func (r *asks) next(now clock.Time) {
	*r = asks{failed: r.failed + 1, err: r.err, ends: now.Add(roundPatience)}
}

// pause returns how long to wait before the next round: what a server asked for,
// but more and more if that does not help.
func (r *asks) pause() time.Duration {
	backoff := min(retryMin<<min(r.failed, 10), retryMax)
	if r.retryAfter != 0 && r.failed < hastyRounds {
		return r.retryAfter
	}
	return max(r.retryAfter, backoff)
}

func (in *introduction) deadline() clock.Time {
	t := min(in.at, in.volley.deadline(in.phase))
	if in.phase == asking || in.phase == awaiting || in.phase == held {
		t = min(t, in.expires)
	}
	return t
}

// Introduce asks for an introduction to a peer. If fresh, there is no session
// with it yet. It returns the ID under which all three parties log the
// introduction. OpenRelay and Probe actions follow, or Failed.
func (c *Client) Introduce(now clock.Time, peer wire.PeerID, fresh bool) (uuid.UUID, error) {
	c.now = now
	if peer == c.cfg.Self {
		return uuid.Nil, ErrSelf
	}
	if len(c.servers) == 0 {
		return uuid.Nil, ErrNoRendezvous
	}
	own := 0
	for _, in := range c.introductions {
		if in.own && in.peer == peer && in.phase < probing {
			in.retry = false // now somebody waits for it
			return in.id, nil
		}
		if in.own && !in.retry {
			own++
		}
	}
	if own >= maxOwn {
		return uuid.Nil, ErrLimit
	}
	c.filterIntroductions(func(in *introduction) bool { return in.phase != resting || in.peer != peer })
	in := &introduction{id: c.newUUID(), peer: peer, own: true, fresh: fresh, at: now, expires: now.Add(liveLifetime)}
	if fresh {
		in.expires = now.Add(freshLifetime)
	}
	c.introductions = append(c.introductions, in)
	c.prepare(in)
	c.timeoutIntroductions()
	return in.id, nil
}

// Abandon ends the node's own introductions to a peer without a Failed action.
func (c *Client) Abandon(peer wire.PeerID) {
	c.filterIntroductions(func(in *introduction) bool { return !in.own || in.peer != peer })
}

// PeerUp reports that a session with the peer is established.
func (c *Client) PeerUp(now clock.Time, peer wire.PeerID) {
	c.now = now
	for _, in := range c.introductions {
		if in.peer == peer && in.phase == held {
			in.at = now
		}
	}
	c.timeoutIntroductions()
}

func (c *Client) timeoutIntroductions() { c.filterIntroductions(c.advance) }

// filterIntroductions keeps those that keep says. It may be called from within
// keep: an introduction that ends there is then gone as well.
func (c *Client) filterIntroductions(keep func(*introduction) bool) {
	list := c.introductions
	if len(list) == 0 {
		return
	}
	kept := make([]*introduction, 0, len(list))
	for _, in := range list {
		if keep(in) {
			kept = append(kept, in)
		} else {
			c.over(in)
		}
	}
	c.introductions = kept
}

// over gives back what an introduction has used.
func (c *Client) over(in *introduction) {
	if in.report != nil {
		in.report.Ended = true
	}
	c.closeSockets(in.me.links)
	in.me.links = nil
	c.endSearch(in)
}

// advance does what is due in an introduction and reports whether it goes on.
func (c *Client) advance(in *introduction) bool {
	c.open(in)
	if in.deadline() > c.now {
		return true
	}
	switch in.phase {
	case preparing:
		return c.prepared(in)
	case asking:
		return c.askNext(in)
	case awaiting:
		return false
	case timed, held:
		return c.start(in)
	case resting:
		return c.again(in)
	}
	return c.probe(in) || c.roundOver(in)
}

// prepare finds out which port a NAT gives a new socket, where that must be told.
// Meanwhile the session can begin through the nearest server's relay.
func (c *Client) prepare(in *introduction) {
	in.phase, in.at = preparing, c.now
	in.me.nat = c.facts()
	s := c.survey
	if s == nil || c.cfg.RelayOnly {
		return
	}
	samples := 0
	switch hardnessOf(&in.me.nat) {
	case easy:
		if in.me.nat.Mapping == wire.EndpointIndependent && (in.round > 0 || c.flipped(in)) {
			samples = 1
		}
	case sequential:
		samples = 3
	}
	if samples == 0 || !c.affordsFresh(in) {
		return
	}
	link := c.openSocket()
	in.me.link, in.me.links = link, append(in.me.links, link)
	in.at = c.now.Add(prepareMax)
	c.samplePorts(s, link, samples, func(ports []uint16) {
		if in.phase != preparing || in.me.link != link {
			return
		}
		in.at = c.now
		if len(ports) == 0 {
			return
		}
		if samples == 1 {
			in.me.reflexive = netip.AddrPortFrom(c.observed(s), ports[0])
		} else {
			in.me.nat.Base = ports[len(ports)-1]
		}
	})
	if in.own && in.fresh {
		c.openNearest(in)
	}
}

// flipped reports whether the main socket's mapping is in doubt: a poison-prone NAT
// gives it up for new destinations once an early packet has come from any, and
// peers behind hard NATs send those.
func (c *Client) flipped(in *introduction) bool {
	return in.me.nat.Has(wire.NATPoisonProne) && hardnessOf(&in.it) != easy
}

// observed returns the address at which the survey's server sees the node.
func (c *Client) observed(s *survey) netip.Addr { return c.servers[s.server].observed.Addr() }

func (c *Client) prepared(in *introduction) bool {
	if in.own {
		in.phase, in.at = asking, c.now
		return c.askNext(in)
	}
	in.phase, in.at = awaiting, clock.Never
	in.expires = c.now.Add(invitedLifetime)
	m := wire.Accept{ID: in.id, Peer: in.peer, Accepted: true, NAT: in.me.nat, Candidates: c.candidatesOf(in)}
	c.act(Action{Kind: SendControl, Server: in.server, ID: in.id, Data: m.Append(nil)})
	return true
}

// candidatesOf returns what the peer is told, the address of the socket made for
// it first.
func (c *Client) candidatesOf(in *introduction) (list wire.Candidates) {
	if c.cfg.RelayOnly {
		return list
	}
	if in.me.reflexive.IsValid() {
		list.Add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: in.me.reflexive})
	}
	own := c.candidates()
	for candidate := range own.All() {
		list.Add(candidate)
	}
	return list
}

// askNext sends INTRODUCE to the nearest server not yet asked.
func (c *Client) askNext(in *introduction) bool {
	if !in.fresh && !c.cfg.Known(in.peer) {
		return false // the session has ended in the meantime
	}
	if in.expires <= c.now {
		return c.fail(in)
	}
	r := &in.asks
	if r.asked != 0 && r.ends <= c.now {
		r.next(c.now)
	}
	i, online := c.nearest(r.asked)
	switch {
	case i >= 0:
		c.askServer(in, i)
	case online == 0:
		in.at = clock.Never // until a server is online
	case r.asked != r.refused:
		in.at = r.ends
	case in.fresh && r.retryAfter == 0:
		return c.fail(in)
	default:
		in.at = c.now.Add(c.jitter(r.pause()))
		r.next(c.now)
	}
	return true
}

// nearest returns the nearest server that is online and not in the set, or -1,
// and how many are online.
func (c *Client) nearest(except uint32) (best, online int) {
	best = -1
	for i := range c.servers {
		s := &c.servers[i]
		if s.state != Online {
			continue
		}
		online++
		if except>>i&1 == 0 && (best < 0 || s.rtt < c.servers[best].rtt) {
			best = i
		}
	}
	return best, online
}

func (c *Client) askServer(in *introduction, i int) {
	if in.asks.asked == 0 {
		in.asks.ends = c.now.Add(roundPatience)
	}
	in.asks.asked |= 1 << i
	in.at = c.now.Add(serverPatience)
	m := wire.Introduce{
		ID: in.id, Peer: in.peer, Fresh: in.fresh, Round: uint8(min(in.round, 255)),
		NAT: in.me.nat, Candidates: c.candidatesOf(in),
	}
	c.note(in)
	// The order matters: the server has the introduction before the first
	// datagram of the session passes through it.
	c.act(Action{Kind: SendControl, Server: i, ID: in.id, Data: m.Append(nil)})
	c.openRelay(in, i)
}

// openNearest lets a session begin although there is something to find out
// before the server can be asked.
func (c *Client) openNearest(in *introduction) {
	if i, _ := c.nearest(0); i >= 0 {
		c.openRelay(in, i)
	}
}

func (c *Client) openRelay(in *introduction, i int) {
	if link := c.LinkFor(i, in.peer); link != 0 {
		c.act(Action{Kind: OpenRelay, Server: i, ID: in.id, Peer: in.peer, Link: link})
	}
}

func (c *Client) fail(in *introduction) bool {
	err := in.asks.err
	if err == nil {
		err = ErrNoRendezvous
	}
	c.refusedReport(in, err)
	if in.retry {
		return c.rest(in)
	}
	c.act(Action{Kind: Failed, ID: in.id, Peer: in.peer, Err: err})
	return false
}

func (c *Client) handleRefused(i int, m *wire.Refused) {
	in := c.ownAsking(i, m.ID)
	if in == nil || in.peer != m.Peer {
		return
	}
	r := &in.asks
	r.refused |= 1 << i
	r.err = &RefusedError{Server: c.servers[i].ID, Code: m.Code}
	if m.RetryAfter != 0 {
		wait := min(max(time.Duration(m.RetryAfter)*time.Millisecond, hastyMin), retryMax)
		if r.retryAfter == 0 || wait < r.retryAfter {
			r.retryAfter = wait
		}
	}
	in.at = c.now
	c.timeoutIntroductions()
}

// ownAsking returns the introduction with the ID that waits for server i's
// answer.
func (c *Client) ownAsking(i int, id uuid.UUID) *introduction {
	for _, in := range c.introductions {
		if in.id == id && in.own && in.phase == asking && in.asks.asked>>i&1 == 1 {
			return in
		}
	}
	return nil
}

// introductionsServerOnline wakes the introductions that wait for a server.
func (c *Client) introductionsServerOnline() {
	for _, in := range c.introductions {
		if in.phase == asking {
			in.at = min(in.at, c.now)
		}
	}
	c.timeoutIntroductions()
}

// introductionsServerDown lets introductions ask elsewhere, and the server again
// when it is back.
func (c *Client) introductionsServerDown(i int) {
	for _, in := range c.introductions {
		if in.phase == asking && in.asks.asked>>i&1 == 1 {
			in.asks.asked &^= 1 << i
			in.asks.refused &^= 1 << i
			in.at = c.now
		}
	}
	c.timeoutIntroductions()
}

// awaited reports whether the application waits for an introduction.
func (c *Client) awaited() bool {
	for _, in := range c.introductions {
		if in.own && in.phase <= asking {
			return true
		}
	}
	return false
}
