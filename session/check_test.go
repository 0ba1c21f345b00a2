package session

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Checks that hold at every instant, whatever the network and the other side do.

// traffic is what a peer exchanged with one address since it started.
type traffic struct {
	received, sent int
	sessions       int  // that a handshake frame from there may have begun
	introduced     bool // by the application, as a path to dial or to add
	validated      bool // at some time
}

// introducedMax bounds what may go to an address that only an introduction
// named and that has not answered.
const introducedMax = 8 << 10

// datagramMax is by how much each session may overrun the amplification limit:
// one datagram is let through while some of the budget is left, and after that
// 32 challenges.
const datagramMax = 1500 + 32*48

func (p *peer) exchanged(a netip.AddrPort) *traffic {
	t := p.traffic[a]
	if t == nil {
		t = new(traffic)
		p.traffic[a] = t
	}
	return t
}

func (p *peer) received(from netip.AddrPort, data []byte) {
	t := p.exchanged(from)
	t.received += len(data)
	if wire.Classify(data) == wire.KindInit {
		t.sessions++
	}
}

func (p *peer) introduce(paths ...Path) {
	for _, x := range paths {
		if !x.IsRelay() {
			p.exchanged(x.Remote).introduced = true
		}
	}
}

// checkDestination is called before a datagram of n bytes leaves for an address.
// It must be one that the application named or that a datagram came from (V7),
// and unless it has been validated only a little may go there (V8).
func (p *peer) checkDestination(to netip.AddrPort, n int) {
	t := p.exchanged(to)
	if !t.introduced && t.received == 0 {
		p.fatalf("%s sends to %v, of which it cannot know", p.name, to)
	}
	if t.validated = t.validated || p.hasValidated(to); t.validated {
		return
	}
	t.sent += n
	limit := 3*t.received + 2*datagramMax // of an old session and of the one that replaces it
	if t.introduced {
		limit = max(limit, introducedMax)
	}
	if t.sent > limit {
		p.fatalf("%s has sent %d bytes to %v, which is not validated and sent %d", p.name, t.sent, to, t.received)
	}
}

func (p *peer) hasValidated(a netip.AddrPort) bool {
	var paths [32]PathInfo
	for _, s := range p.ep.byID {
		for _, x := range s.Paths(paths[:0]) {
			if x.Path.Remote == a && x.Validated {
				return true
			}
		}
	}
	return false
}

// checkEnd is called when a session has ended. Between peers that obey the
// protocol, whatever the network and strangers do, none ends for breaking it.
func (p *peer) checkEnd(e Event) {
	if p.hostile[e.Session.Peer()] {
		return
	}
	var broken *ProtocolError
	var closed *CloseError
	if errors.As(e.Err, &broken) || errors.As(e.Err, &closed) && closed.Code == CodeProtocol || errors.Is(e.Err, ErrKeysExhausted) {
		p.fatalf("%s: a session between honest peers ended: %v", p.name, e.Err)
	}
}

// check looks at the peer's endpoint after every change.
func (p *peer) check() {
	err := checkEndpoint(p.ep)
	if err == nil && p.deep {
		err = checkSessions(p.ep)
	}
	if err != nil {
		p.fatalf("%s: %v", p.name, err)
	}
}

// checkEndpoint checks the books of an endpoint against each other and against
// the limits it promises (V9).
func checkEndpoint(e *Endpoint) error {
	if e.accepts.n > maxHalfOpen || e.accepts.n < 0 || len(e.accepts.byMAC) > e.sessions {
		return fmt.Errorf("%d half-open sessions, %d by MAC", e.accepts.n, len(e.accepts.byMAC))
	}
	if n := e.stateless.Len(); n != 0 {
		return fmt.Errorf("%d stateless answers are left after draining", n)
	}
	if e.ready.Len() != 0 || e.events.Len() != 0 {
		return fmt.Errorf("%d sessions, %d events are left after draining", e.ready.Len(), e.events.Len())
	}
	return nil
}

// checkSessions looks into every session; the simulation does so after every
// change.
func checkSessions(e *Endpoint) error {
	for id, s := range e.byID {
		if s.local.live[0].id != id {
			continue // it is there once for each of its connection IDs
		}
		if err := checkSession(s); err != nil {
			return fmt.Errorf("session with %v: %w", s.peer, err)
		}
	}
	return nil
}

func checkSession(s *Session) error {
	switch {
	case len(s.paths) > maxPaths:
		return fmt.Errorf("%d paths", len(s.paths))
	case len(s.local.live) > issuedIDs, len(s.remote.live) > activeIDs, len(s.remote.retired) > pendingRetire:
		return fmt.Errorf("%d connection IDs issued, %d held, %d retired", len(s.local.live), len(s.remote.live), len(s.remote.retired))
	case s.state == stateEstablished && s.findPath(s.active.Path) != s.active:
		return fmt.Errorf("the active path %v is not among the paths", s.active.Path)
	}
	for _, l := range s.local.live {
		if s.e.byID[l.id] != s {
			return fmt.Errorf("connection ID %v does not lead to its session", l.id)
		}
	}
	if s.resting != nil {
		if s.msgs != nil || s.work != nil || s.awake.listed || s.queued {
			return errors.New("a session at rest is in use")
		}
		return nil
	}
	for _, x := range s.paths {
		if n := x.rec.InFlight(); n < 0 {
			return fmt.Errorf("%d bytes in flight on %v", n, x.Path)
		}
	}
	return s.msgs.Check()
}

// timers prints what a session waits for, relative to the present.
func timers(s *Session) string {
	if s.state != stateEstablished || s.msgs == nil {
		return fmt.Sprintf("state %d, expires in %v", s.state, s.expires.Sub(s.e.now))
	}
	in := func(t Time) time.Duration { return t.Sub(s.e.now) }
	idle, _ := s.idleTimeout()
	out := fmt.Sprintf("idle %v, keep-alive %v, silence %v, loss %v, acks %v, messages %v, pacer %v, old keys %v, left %v",
		in(idle), in(s.keepAliveAt()), in(s.idle.nextProbe), in(s.loss.Deadline()), in(s.acks.Deadline()),
		in(s.msgs.Deadline()), in(s.paceAt), in(s.keys.OldKeysExpiry()), in(s.left.at))
	for _, x := range s.paths {
		out += fmt.Sprintf("; path %v: challenge %v, give up %v, size search %v", x.Path, in(x.validation.next), in(x.validation.giveUp), in(x.mtu.Deadline()))
	}
	return out
}
