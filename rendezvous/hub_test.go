package rendezvous

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A rig drives a hub by hand in virtual time, and keeps what it sends.
type rig struct {
	t    testing.TB
	h    *hub
	now  clock.Time
	sent []sent

	claims map[*client]wire.Candidates // what clients that accept an introduction say of themselves
	shy    bool                        // clients accept none
}

// A sent is a message to a client, or the end of its session.
type sent struct {
	to    *client
	m     wire.Rendezvous
	close uint64
}

func newRig(t testing.TB, cfg *Config) *rig {
	c, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, now: clock.Time(time.Hour), claims: make(map[*client]wire.Candidates)}
	r.h = newHub(r.now, &c, func(*client) {})
	r.now = r.now.Add(settleTime)
	return r
}

func (r *rig) drain() {
	r.t.Helper()
	for o, ok := r.h.next(); ok; o, ok = r.h.next() {
		s := sent{to: o.to, close: o.close}
		if o.close == 0 {
			if err := wire.ParseRendezvous(o.data, &s.m); err != nil {
				r.t.Fatalf("server sent %x: %v", o.data, err)
			}
			if len(o.data) > wire.RendezvousLenMax {
				r.t.Fatalf("server sent %d bytes, more than fit into one datagram", len(o.data))
			}
		}
		r.sent = append(r.sent, s)
	}
}

// join connects a peer and registers it.
func (r *rig) join(n int, addr string) *client {
	r.t.Helper()
	c := r.h.connected(r.now, peer(n), netip.MustParseAddrPort(addr))
	if c == nil {
		r.t.Fatalf("no room for peer %d at %s", n, addr)
	}
	c.validated = true
	r.tell(c, (&wire.Register{}).Append(nil))
	r.take(c, wire.RendezvousRegistered)
	return c
}

func (r *rig) tell(c *client, msg []byte) {
	r.t.Helper()
	r.h.message(r.now, c, msg)
	r.drain()
}

func (r *rig) introduce(from *client, to int, fresh bool, addrs ...string) uuid.UUID {
	r.t.Helper()
	m := wire.Introduce{ID: uuid.New(), Peer: peer(to), Fresh: fresh, Candidates: candidates(addrs...)}
	r.tell(from, m.Append(nil))
	r.answer()
	return m.ID
}

// answer lets whoever was invited say whether it wants to meet the other.
func (r *rig) answer() {
	r.t.Helper()
	for k, s := range r.sent {
		if s.close == 0 && s.m.Type == wire.RendezvousInvite {
			r.sent = slices.Delete(r.sent, k, k+1)
			a := wire.Accept{ID: s.m.Invite.ID, Peer: s.m.Invite.Peer, Accepted: !r.shy}
			if a.Accepted {
				a.Candidates = r.claims[s.to]
			}
			r.tell(s.to, a.Append(nil))
			return
		}
	}
}

// take removes and returns the first message of a type to a client, or fails.
func (r *rig) take(c *client, t wire.RendezvousType) *wire.Rendezvous {
	r.t.Helper()
	for k, s := range r.sent {
		if s.to == c && s.close == 0 && s.m.Type == t {
			r.sent = slices.Delete(r.sent, k, k+1)
			return &s.m
		}
	}
	r.t.Fatalf("no message of type %d to the client; have %+v", t, r.sent)
	return nil
}

func (r *rig) wantSilence(why string) {
	r.t.Helper()
	if len(r.sent) > 0 {
		r.t.Fatalf("want nothing sent: %s; have %+v", why, r.sent)
	}
}

func (r *rig) wantClosed(c *client, code uint64, why string) {
	r.t.Helper()
	for k, s := range r.sent {
		if s.to == c && s.close == code {
			r.sent = slices.Delete(r.sent, k, k+1)
			return
		}
	}
	r.t.Fatalf("want session closed with %d: %s; have %+v", code, why, r.sent)
}

func peer(n int) (p wire.PeerID) {
	binary.BigEndian.PutUint32(p[:], uint32(n))
	p[31] = 1
	return p
}

func candidates(addrs ...string) (list wire.Candidates) {
	for _, a := range addrs {
		list.Add(wire.Candidate{Kind: wire.CandidateHost, Addr: netip.MustParseAddrPort(a)})
	}
	return list
}

func addrsOf(list *wire.Candidates) (addrs []string) {
	for c := range list.All() {
		addrs = append(addrs, c.Addr.String())
	}
	return addrs
}

func TestRegistrationTellsWhereTheNodeIs(t *testing.T) {
	r := newRig(t, &Config{KeepAlive: 4 * time.Second})
	r.h.stunPort = 3478
	c := r.h.connected(r.now, peer(1), netip.MustParseAddrPort("20.0.0.1:4000"))
	r.tell(c, (&wire.Register{}).Append(nil))
	m := r.take(c, wire.RendezvousRegistered).Registered
	if m.Observed.String() != "20.0.0.1:4000" || m.STUNPort != 3478 || m.KeepAlive != 4000 {
		t.Errorf("REGISTERED %+v", m)
	}
	r.h.moved(c, netip.MustParseAddrPort("20.0.0.9:4001"))
	r.drain()
	if m := r.take(c, wire.RendezvousRegistered).Registered; m.Observed.String() != "20.0.0.9:4001" {
		t.Errorf("after a move it is told %v", m.Observed)
	}
}

func TestBothPeersAreToldToPunch(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
	r.claims[b] = candidates("192.168.0.2:5000")
	id := r.introduce(a, 2, true, "192.168.0.1:4000")

	m := r.take(a, wire.RendezvousPunch).Punch
	if m.ID != id || m.Peer != b.peer || !m.Initiator {
		t.Errorf("PUNCH to the one who asked: %+v", m)
	}
	if got, want := addrsOf(&m.Candidates), []string{"192.168.0.2:5000", "20.0.0.2:5000"}; !slices.Equal(got, want) {
		t.Errorf("it is told %v, want %v", got, want)
	}
	m = r.take(b, wire.RendezvousPunch).Punch
	if m.ID != id || m.Peer != a.peer || m.Initiator {
		t.Errorf("PUNCH to the one asked: %+v", m)
	}
	if got, want := addrsOf(&m.Candidates), []string{"192.168.0.1:4000", "20.0.0.1:4000"}; !slices.Equal(got, want) {
		t.Errorf("it is told %v, want %v", got, want)
	}
	r.wantSilence("all is said")
}

func TestBothPeersStartAtOneMoment(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		for _, owd := range [][2]time.Duration{{0, 0}, {10, 50}, {50, 10}, {200, 200}} {
			r := newRig(t, nil)
			a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
			from, to := owd[0]*time.Millisecond, owd[1]*time.Millisecond
			a.rtt, b.rtt = 2*from, 2*to
			r.tell(a, (&wire.Introduce{ID: uuid.New(), Peer: b.peer, Fresh: fresh}).Append(nil))
			asked := r.now
			r.now = r.now.Add(2 * to) // INVITE and ACCEPT
			r.answer()
			toA, toB := r.take(a, wire.RendezvousPunch).Punch, r.take(b, wire.RendezvousPunch).Punch
			startA := from + time.Duration(toA.StartIn)*time.Microsecond
			startB := to + time.Duration(toB.StartIn)*time.Microsecond
			if startA != startB {
				t.Errorf("delays %v and %v: one starts at %v, the other at %v", from, to, startA, startB)
			}
			earliest := 2*to + max(from, to)
			if fresh {
				earliest = max(earliest, 2*from+3*to) // the handshake is complete on both sides
			}
			if start := r.now.Sub(asked) + startA; start < earliest || start > earliest+startMargin {
				t.Errorf("delays %v and %v, fresh %v: start at %v, want %v to %v later", from, to, fresh, start, earliest, startMargin)
			}
		}
	}
}

func TestAddressesAreForPeersThatAreAccepted(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
	r.tell(a, (&wire.Introduce{ID: uuid.New(), Peer: b.peer}).Append(nil))
	m := r.take(b, wire.RendezvousInvite).Invite
	if m.Peer != a.peer || !slices.Equal(addrsOf(&m.Candidates), []string{"20.0.0.1:4000"}) {
		t.Errorf("INVITE %+v", m)
	}
	r.wantSilence("b has not said whether it wants to meet a")
	r.tell(b, (&wire.Accept{ID: m.ID, Peer: peer(3), Accepted: true}).Append(nil))
	r.wantSilence("b was not invited by the third")
	r.shy = true
	r.introduce(a, 2, false)
	refused := r.take(a, wire.RendezvousRefused).Refused
	r.wantSilence("b does not want to")
	r.introduce(a, 9, false)
	absent := r.take(a, wire.RendezvousRefused).Refused
	refused.ID, refused.Peer = absent.ID, absent.Peer
	if refused != absent {
		t.Errorf("refusal %+v and absence %+v differ", refused, absent)
	}
}

func TestAcceptanceComesInTimeOrNotAtAll(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
	r.tell(a, (&wire.Introduce{ID: uuid.New(), Peer: b.peer}).Append(nil))
	yes := wire.Accept{ID: r.take(b, wire.RendezvousInvite).Invite.ID, Peer: a.peer, Accepted: true}
	r.now = r.now.Add(acceptTimeout)
	r.tell(b, yes.Append(nil))
	r.wantSilence("a has long given up")
	r.introduce(a, 2, false)
	r.sent = nil
	r.tell(b, yes.Append(nil))
	r.wantSilence("each INVITE is answered once")
	if n := r.h.waiting.byAge.Len() + len(r.h.waiting.byKey); n != 0 {
		t.Errorf("%d introductions left", n)
	}
}

func TestRelayOnlyNodesAreNowhere(t *testing.T) {
	for _, flag := range []wire.NATFlags{wire.NATRelayOnly, wire.NATNoUDP} {
		r := newRig(t, nil)
		a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
		hidden := wire.NAT{Flags: flag}
		r.tell(a, (&wire.Introduce{ID: uuid.New(), Peer: b.peer, NAT: hidden, Candidates: candidates("192.168.0.1:1")}).Append(nil))
		m := r.take(b, wire.RendezvousInvite).Invite
		r.tell(b, (&wire.Accept{ID: m.ID, Peer: a.peer, Accepted: true, NAT: hidden, Candidates: candidates("192.168.0.2:1")}).Append(nil))
		for _, c := range []*client{a, b} {
			p := r.take(c, wire.RendezvousPunch).Punch
			if p.Candidates.Len() != 0 || p.NAT.Flags != flag {
				t.Errorf("PUNCH %+v, want the flag and no address", p)
			}
		}
		if m.Candidates.Len() != 0 {
			t.Errorf("INVITE %+v tells an address", m)
		}
	}
}

func TestBothFamiliesAreTold(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
	b.other = netip.MustParseAddrPort("[2a00::2]:5000")
	r.claims[b] = candidates("[2a00::3]:5000", "[2a00:0:0:9::3]:5000")
	r.introduce(a, 2, false)
	m := r.take(a, wire.RendezvousPunch).Punch
	if got, want := addrsOf(&m.Candidates), []string{"[2a00::3]:5000", "20.0.0.2:5000", "[2a00::2]:5000"}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

func TestAbsentBusyAndSelfGetTheSameAnswer(t *testing.T) {
	r := newRig(t, nil)
	a := r.join(1, "20.0.0.1:4000")
	busy := r.join(2, "20.0.0.2:4000")
	busy.target.Take(r.now, targetRate, targetRate.Burst)
	var answers []wire.Refused
	for _, to := range []int{1, 2, 3} {
		r.introduce(a, to, true)
		m := r.take(a, wire.RendezvousRefused).Refused
		r.wantSilence("nobody else hears of it")
		m.ID, m.Peer = uuid.Nil, wire.PeerID{}
		answers = append(answers, m)
	}
	if answers[0] != answers[1] || answers[1] != answers[2] {
		t.Errorf("answers differ: %+v", answers)
	}
}

func TestAbsenceIsNotFinalAfterARestart(t *testing.T) {
	r := newRig(t, nil)
	r.now = r.now.Add(-settleTime)
	a := r.join(1, "20.0.0.1:4000")
	r.introduce(a, 2, true)
	if m := r.take(a, wire.RendezvousRefused).Refused; m.RetryAfter == 0 {
		t.Error("the peer may be about to register again, but the node is not asked to wait")
	}
}

func TestUnprovenAddressIsToldToNobody(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	for _, unproven := range []*client{a, b} {
		unproven.validated = false
		r.introduce(a, 2, false)
		m := r.take(a, wire.RendezvousRefused).Refused
		if m.RetryAfter == 0 || m.RetryAfter > 100 {
			t.Errorf("asked to try again in %d ms, want soon", m.RetryAfter)
		}
		r.wantSilence("an address may be forged")
		unproven.validated = true
	}
	r.introduce(a, 2, false)
	r.take(a, wire.RendezvousPunch)
}

func TestClientCannotNameAStranger(t *testing.T) {
	for _, test := range []struct {
		observed, claim string
		want            bool
	}{
		{"20.0.0.1:4000", "20.0.0.1:9999", true},
		{"20.0.0.1:4000", "20.0.0.2:4000", false},
		{"20.0.0.1:4000", "192.168.1.1:4000", true},
		{"20.0.0.1:4000", "100.64.0.1:4000", true},
		{"20.0.0.1:4000", "127.0.0.1:4000", false},
		{"20.0.0.1:4000", "240.0.0.1:4000", false},
		{"20.0.0.1:4000", "[2a00::1]:4000", false},
		{"[2a00::1]:4000", "[2a00::2]:4000", true},
		{"[2a00::1]:4000", "[2a00:0:0:1::2]:4000", false},
		{"[2a00::1]:4000", "20.0.0.1:4000", false},
		{"127.0.0.1:4000", "127.0.0.1:4001", true},
		{"203.0.113.1:4000", "203.0.113.2:4000", false},
	} {
		r := newRig(t, nil)
		a, b := r.join(1, test.observed), r.join(2, "20.9.0.1:4000")
		if netip.MustParseAddrPort(test.observed).Addr().IsLoopback() {
			b = r.join(3, "127.0.0.1:5000")
		}
		r.claims[a] = candidates(test.claim)
		r.introduce(b, 1, true)
		m := r.take(b, wire.RendezvousPunch).Punch
		if got := slices.Contains(addrsOf(&m.Candidates), test.claim); got != test.want {
			t.Errorf("seen at %s, claims %s: passed on %v, want %v", test.observed, test.claim, got, test.want)
		}
	}
}

func TestLoopbackStaysOnTheMachine(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "127.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	r.claims[a] = candidates("20.0.0.1:4000")
	r.introduce(b, 1, true)
	m := r.take(b, wire.RendezvousPunch).Punch
	if got, want := addrsOf(&m.Candidates), []string{"20.0.0.1:4000"}; !slices.Equal(got, want) {
		t.Errorf("told elsewhere: %v, want %v", got, want)
	}
}

func TestNewestSessionOfAKeyCounts(t *testing.T) {
	r := newRig(t, nil)
	old := r.join(1, "20.0.0.1:4000")
	b := r.join(2, "20.0.0.2:4000")
	c := r.h.connected(r.now, peer(1), netip.MustParseAddrPort("20.0.0.3:4000"))
	c.validated = true
	r.introduce(b, 1, true)
	if m := r.take(b, wire.RendezvousPunch).Punch; addrsOf(&m.Candidates)[0] != "20.0.0.1:4000" {
		t.Error("a session that has not registered took over")
	}
	r.take(old, wire.RendezvousPunch)
	r.tell(c, (&wire.Register{}).Append(nil))
	r.take(c, wire.RendezvousRegistered)
	r.wantClosed(old, reach.CodeReplaced, "a newer session has registered")

	r.tell(old, (&wire.Register{}).Append(nil))
	r.wantSilence("what the old session still says is void")
	r.h.closed(r.now, old)
	r.introduce(b, 1, true)
	if m := r.take(b, wire.RendezvousPunch).Punch; addrsOf(&m.Candidates)[0] != "20.0.0.3:4000" {
		t.Error("the end of the old session ended the registration of the new one")
	}
}

func TestPresenceFollowsTheSession(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	r.h.closed(r.now, a)
	r.introduce(b, 1, true)
	r.take(b, wire.RendezvousRefused)
	r.h.closed(r.now, b)
	reg := &r.h.registry
	if len(reg.sessions)+len(reg.byPeer)+len(reg.networks)+reg.waiting.Len() != 0 {
		t.Errorf("left behind: %+v", reg)
	}
}

func TestRelayKeepsToRegisteredPeers(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	to, out := r.h.relay(r.now, a, append(wire.AppendRelay(nil, b.peer), "datagram"...), nil)
	from, datagram, err := wire.ParseRelay(out)
	if to != b || err != nil || from != a.peer || string(datagram) != "datagram" {
		t.Errorf("relayed %q from %v to %+v: %v", datagram, from, to, err)
	}
	stranger := r.h.connected(r.now, peer(3), netip.MustParseAddrPort("20.0.0.3:4000"))
	for name, relay := range map[string]struct {
		from *client
		msg  []byte
	}{
		"absent peer":         {a, append(wire.AppendRelay(nil, peer(9)), 1)},
		"oneself":             {a, append(wire.AppendRelay(nil, a.peer), 1)},
		"unregistered peer":   {a, append(wire.AppendRelay(nil, stranger.peer), 1)},
		"unregistered sender": {stranger, append(wire.AppendRelay(nil, a.peer), 1)},
		"no datagram":         {a, wire.AppendRelay(nil, b.peer)},
		"not a RELAY":         {a, []byte{1, 2, 3}},
		"empty":               {a, nil},
	} {
		if to, _ := r.h.relay(r.now, relay.from, relay.msg, nil); to != nil {
			t.Errorf("%s: relayed to %+v", name, to)
		}
	}
}

func TestDrainSpreadsTheReturn(t *testing.T) {
	r := newRig(t, nil)
	for n := range 10 {
		r.join(n, fmt.Sprintf("20.0.%d.1:4000", n))
	}
	longest := time.Duration(0)
	r.h.drain(func(window time.Duration) time.Duration { longest = window; return window })
	r.drain()
	if len(r.sent) != 10 || r.sent[0].m.Type != wire.RendezvousDrain {
		t.Fatalf("sent %+v", r.sent)
	}
	if longest > 2*time.Second {
		t.Errorf("10 nodes are asked to stay away for %v", longest)
	}
}

func TestRelayingAllocatesNothing(t *testing.T) {
	r := newRig(t, &Config{RelayRate: 1 << 30, RelayBurst: 1 << 30})
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	msg, buf := append(wire.AppendRelay(nil, b.peer), make([]byte, 1000)...), make([]byte, 0, 2000)
	if n := testing.AllocsPerRun(100, func() { r.h.relay(r.now, a, msg, buf) }); n != 0 {
		t.Errorf("%v allocations for a relayed datagram", n)
	}
}
