package session

import (
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/wire"
)

// DialOptions say whom to dial and how.
type DialOptions struct {
	Peer    wire.PeerID
	App     string        // what the peer must name; "" is the endpoint's own
	Paths   []Path        // where the first frame goes; AddPath adds more later
	Timeout time.Duration // 0 is Config.HandshakeTimeout
	// Congestion is how this side sends on the session. If zero,
	// Config.Congestion. The peer decides for itself.
	Congestion congestion.Algorithm
	// Ephemeral is what the handshake is begun with, and is used up. If nil, it is
	// made of what Config.Keypair returns.
	Ephemeral *handshake.Ephemeral
}

// Limits and times of dials (SPEC §4).
const (
	initRetry        = 200 * time.Millisecond
	initRetryMax     = time.Second
	maxDialPaths     = 16
	maxEchoPaths     = 4                     // beside them
	cookieGap        = 20 * time.Millisecond // between INITs, however many cookies come
	crossedDialDelay = 250 * time.Millisecond
)

// dialState is a handshake that this side began.
type dialState struct {
	app   string
	hs    *handshake.Initiator
	paths []dialPath
}

type dialPath struct {
	Path
	next  Time // when the INIT goes there (again)
	first Time // INIT
	sent  Time // last INIT; 0 is none yet
	sends int  // INITs sent
	tries int  // of those, since the schedule began anew
	echo  bool // an INIT of the peer came from there: it gets ours once for each of its own
}

// Dial begins a session. The same INIT goes to every path until the peer answers
// on one; an event of kind Established or Closed tells how it went.
func (e *Endpoint) Dial(now Time, o DialOptions) (*Session, error) {
	e.enter(now)
	now = e.now
	if o.Peer == e.ID() {
		return nil, ErrSelf
	}
	if e.sessions >= e.cfg.MaxSessions {
		return nil, ErrLimit
	}
	if o.App == "" {
		o.App = e.cfg.App
	}
	if o.Timeout == 0 {
		o.Timeout = e.cfg.HandshakeTimeout
	}
	s := e.newSession(o.Peer, true)
	orDefault(&o.Congestion, e.cfg.Congestion)
	s.congestion = o.Congestion
	params := s.params()
	start := now
	if s.tieToHalfOpen(o.App, &params) {
		start = now.Add(crossedDialDelay) // the peer's own handshake is about to complete
	}
	if o.Ephemeral == nil {
		o.Ephemeral = handshake.Prepare(o.Peer, e.keypair())
	}
	hs, err := e.id.Initiate(o.Peer, o.App, &params, o.Ephemeral)
	if err != nil {
		e.drop(s)
		return nil, err
	}
	s.state, s.dial = stateDialing, &dialState{app: o.App, hs: hs}
	s.expires = now.Add(o.Timeout)
	for _, p := range o.Paths {
		s.addDialPath(start, p)
	}
	e.dials[o.Peer] = append(e.dials[o.Peer], s)
	e.touch(s)
	return s, nil
}

// addDialPath sends the INIT to one more path, or again to one it went to.
func (s *Session) addDialPath(now Time, p Path) {
	s.e.touch(s)
	for i := range s.dial.paths {
		if d := &s.dial.paths[i]; d.Path == p {
			d.next, d.tries, d.echo = min(d.next, now), 0, false
			return
		}
	}
	if len(s.dial.paths) < maxDialPaths+maxEchoPaths {
		s.dial.paths = append(s.dial.paths, dialPath{Path: p, next: now})
	}
}

// Init returns the INIT of a dial, for a shell that has further ways to send it;
// nil once the peer has answered. The caller must not change it.
func (s *Session) Init() []byte {
	if s.state != stateDialing {
		return nil
	}
	return s.dial.hs.Frame()
}

func (s *Session) nextInit(now Time, buf []byte) (Datagram, bool) {
	for i := range s.dial.paths {
		d := &s.dial.paths[i]
		if d.next > now {
			continue
		}
		d.next = Never
		if !d.echo {
			d.next = now.Add(min(initRetry<<min(d.tries, 8), initRetryMax))
		}
		d.tries++
		d.sends++
		d.sent = now
		if d.sends == 1 {
			d.first = now
		}
		n := copy(buf, s.dial.hs.Frame())
		s.countSent(n)
		return Datagram{Path: d.Path, Data: buf[:n], Segment: n}, true
	}
	return Datagram{}, false
}

func (s *Session) dialDeadline() Time {
	t := s.expires
	for i := range s.dial.paths {
		t = min(t, s.dial.paths[i].next)
	}
	return t
}

func (e *Endpoint) handleResp(now Time, p Path, b []byte) {
	id, ok := wire.Destination(b)
	s := e.byID[id]
	if !ok || s == nil || s.state != stateDialing {
		e.stats.DroppedHandshake++
		return
	}
	res, err := s.dial.hs.HandleResp(b)
	if err != nil {
		e.stats.DroppedAuth++
		return
	}
	sentTo := s.dial.paths
	e.forgetDial(s)
	s.start(now, &res, p)
	s.proveDialed(now, sentTo)
	s.ignoreCrossed(res.Params.Crosses)
	s.confirmed = true
	s.pingNow = true // the responder waits for a frame under the new keys
	s.established(now)
	s.keepOtherPaths(now, sentTo)
	e.touch(s)
}

// proveDialed validates the path of the answer if the dial used it: the peer has
// seen a frame of ours that went there. From anywhere else a stranger may have
// sent the answer on [S14].
func (s *Session) proveDialed(now Time, dialed []dialPath) {
	x := s.active
	for _, d := range dialed {
		if d.Path != x.Path {
			continue
		}
		x.validated, x.validatedAt = true, now
		if d.sends == 1 {
			x.rec.RTT.Update(now.Sub(d.sent), 0, 0)
		} else {
			x.rec.RTT.Assume(now.Sub(d.first))
		}
	}
}

// keepOtherPaths goes on trying the paths that the dial used and that did not
// bring the answer.
func (s *Session) keepOtherPaths(now Time, dialed []dialPath) {
	for _, d := range dialed {
		if d.Path != s.active.Path && !d.echo {
			s.obtainPath(d.Path).validate(now, true)
		}
	}
}

func (e *Endpoint) handleCookie(now Time, b []byte) {
	id, ok := wire.Destination(b)
	s := e.byID[id]
	if !ok || s == nil || s.state != stateDialing || !s.dial.hs.HandleCookie(b) {
		e.stats.DroppedHandshake++
		return
	}
	for i := range s.dial.paths {
		// Anyone under way could make cookies: they hurry an INIT, no more.
		if d := &s.dial.paths[i]; d.tries > 0 {
			d.next = min(d.next, max(now, d.sent.Add(cookieGap)))
		}
	}
	e.touch(s)
}

// forgetDial takes s off the books of unanswered dials.
func (e *Endpoint) forgetDial(s *Session) {
	if s.dial == nil {
		return
	}
	s.dial = nil
	forget(e.dials, s.peer, s)
}

// forget takes s off the list of its peer.
func forget(lists map[wire.PeerID][]*Session, peer wire.PeerID, s *Session) {
	list := slices.DeleteFunc(lists[peer], func(x *Session) bool { return x == s })
	if len(list) == 0 {
		delete(lists, peer)
	} else {
		lists[peer] = list
	}
}
