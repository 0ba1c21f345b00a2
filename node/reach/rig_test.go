package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A rig drives one client by hand in virtual time: it feeds inputs, and each
// want takes the actions that have come out.
type rig struct {
	t     *testing.T
	c     *Client
	now   clock.Time
	known map[wire.PeerID]bool
	relay bool // sessions have no direct path
	shy   bool // the node wants to meet nobody
	quiet bool // sessions are not in use
	out   []Action
}

var (
	self       = peer(1)
	bob        = peer(2)
	carol      = peer(3)
	publicSelf = addr("198.51.99.1:4001")
	publicBob  = addr("198.51.99.2:4002")
	serverAddr = addr("198.51.99.9:3478")
)

func peer(n byte) (p wire.PeerID) {
	p[0] = n
	return p
}

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func newRig(t *testing.T, servers int) *rig { return newRigWith(t, servers, func(*Config) {}) }

func newRigWith(t *testing.T, servers int, set func(*Config)) *rig {
	r := &rig{t: t, now: clock.Time(time.Hour), known: map[wire.PeerID]bool{}}
	cfg := Config{
		Self:    self,
		Known:   func(p wire.PeerID) bool { return r.known[p] },
		Direct:  func(wire.PeerID) bool { return !r.relay },
		Accepts: func(p wire.PeerID) bool { return !r.shy },
		Busy:    func() bool { return !r.quiet },
	}
	for i := range servers {
		cfg.Servers = append(cfg.Servers, wire.Server{ID: peer(byte(100 + i)), Addr: serverAddr.String()})
	}
	set(&cfg)
	r.c = New(cfg, [32]byte{7})
	r.c.HandleTimeout(r.now)
	r.drain()
	return r
}

// newOnlineRig returns a rig whose servers know it, with nothing left to take.
func newOnlineRig(t *testing.T, servers int) *rig {
	r := newRig(t, servers)
	r.allOnline()
	return r
}

func (r *rig) allOnline() {
	for i := range r.c.Servers() {
		r.online(i)
	}
	r.advance(50 * time.Millisecond)
	r.out = nil
}

func (r *rig) online(i int) {
	r.c.ServerUp(r.now, i, serverAddr, time.Duration(20+i)*time.Millisecond)
	r.control(i, (&wire.Registered{Observed: publicSelf, KeepAlive: 20000}).Append(nil))
}

func (r *rig) drain() {
	for a, ok := r.c.Next(); ok; a, ok = r.c.Next() {
		r.out = append(r.out, a)
	}
}

func (r *rig) control(i int, msg []byte) {
	r.c.HandleControl(r.now, i, msg)
	r.drain()
}

// advance lets time pass, stopping at each deadline as a shell would.
func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for steps := 0; r.c.Deadline() <= end; steps++ {
		if steps > 10000 {
			r.t.Fatalf("the client spins: its deadline stays at %v", r.c.Deadline())
		}
		r.now = max(r.now, r.c.Deadline())
		r.c.HandleTimeout(r.now)
		r.drain()
	}
	r.now = end
}

// take removes and returns the first action of a kind, or fails.
func (r *rig) take(kind ActionKind, why string) Action {
	r.t.Helper()
	for k, a := range r.out {
		if a.Kind == kind {
			r.out = append(r.out[:k:k], r.out[k+1:]...)
			return a
		}
	}
	r.t.Fatalf("want an action of kind %d: %s; have %+v", kind, why, r.out)
	return Action{}
}

func (r *rig) wantNone(kind ActionKind, why string) {
	r.t.Helper()
	for _, a := range r.out {
		if a.Kind == kind {
			r.t.Fatalf("want no action of kind %d: %s; have %+v", kind, why, a)
		}
	}
}

func (r *rig) wantNoIntroductions() {
	r.t.Helper()
	if n := len(r.c.introductions); n != 0 {
		r.t.Errorf("%d introductions left", n)
	}
}

// count removes the actions of a kind and returns how many there were.
func (r *rig) count(kind ActionKind) (n int) {
	var rest []Action
	for _, a := range r.out {
		if a.Kind == kind {
			n++
		} else {
			rest = append(rest, a)
		}
	}
	r.out = rest
	return n
}

// takeControl removes and returns the first control message of a type.
func (r *rig) takeControl(t wire.RendezvousType, why string) (m wire.Rendezvous, server int) {
	r.t.Helper()
	for k, a := range r.out {
		if a.Kind != SendControl {
			continue
		}
		if err := wire.ParseRendezvous(a.Data, &m); err != nil {
			r.t.Fatalf("client sent %x: %v", a.Data, err)
		}
		if m.Type == t {
			r.out = append(r.out[:k:k], r.out[k+1:]...)
			return m, a.Server
		}
	}
	r.t.Fatalf("want a control message of type %d: %s; have %+v", t, why, r.out)
	return m, 0
}

func (r *rig) introduce(p wire.PeerID, fresh bool) uuid.UUID {
	r.t.Helper()
	id, err := r.c.Introduce(r.now, p, fresh)
	if err != nil {
		r.t.Fatalf("Introduce: %v", err)
	}
	r.drain()
	return id
}

func (r *rig) peerUp(p wire.PeerID) {
	r.known[p] = true
	r.c.PeerUp(r.now, p)
	r.drain()
}

func (r *rig) punch(server int, id uuid.UUID, p wire.PeerID, in time.Duration, own bool, addrs ...netip.AddrPort) {
	if !own {
		r.invite(server, id, p)
	}
	r.control(server, punch(id, p, in, own, addrs...))
}

func (r *rig) invite(server int, id uuid.UUID, p wire.PeerID) {
	r.control(server, (&wire.Invite{ID: id, Peer: p}).Append(nil))
}

func (r *rig) refuse(server int, id uuid.UUID, code wire.RefusedCode, retry time.Duration) {
	m := wire.Refused{ID: id, Peer: bob, Code: code, RetryAfter: uint32(retry.Milliseconds())}
	r.control(server, m.Append(nil))
}

func punch(id uuid.UUID, p wire.PeerID, in time.Duration, own bool, addrs ...netip.AddrPort) []byte {
	m := wire.Punch{ID: id, Peer: p, StartIn: uint32(in.Microseconds()), Initiator: own}
	for _, a := range addrs {
		m.Candidates.Add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: a})
	}
	return m.Append(nil)
}
