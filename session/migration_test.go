package session

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// Tests of sessions whose addresses change under way.

// homed adds a peer behind a NAT of its own.
func (w *world) homed(name string, cfg wiretest.NATConfig, l wiretest.Link) (*peer, *wiretest.NAT) {
	nat := w.net.NAT(name+" nat", nil, cfg, w.address())
	p := w.peer(name, nat, Config{}, netip.MustParseAddr("10.0.0.2"))
	p.host.SetLink(l)
	return p, nat
}

// filtering is the usual NAT of a home.
func filtering() wiretest.NATConfig {
	return wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}
}

// A beat is messages sent at a steady rate, and how they arrive.
type beat struct {
	entries []*entry
	gap     time.Duration // longest time between two arrivals since the last call of reset
	last    Time
}

// beat lets p send a small message on channel 9 at each interval while it has a
// session, and watches them arrive at q.
func (p *peer) beat(q *peer, every time.Duration) *beat {
	b := &beat{last: p.now}
	mine := make(map[*entry]bool)
	p.every(every, func() bool {
		if s := p.session(); s != nil {
			x := p.mustPost(s, Message{Channel: 9}, 50)
			b.entries = append(b.entries, x)
			mine[x] = true
		}
		return true
	})
	before := q.onArrival
	q.onArrival = func(x *entry) {
		if before != nil {
			before(x)
		}
		if mine[x] {
			b.gap = max(b.gap, q.now.Sub(b.last))
			b.last = q.now
		}
	}
	return b
}

func (b *beat) reset(now Time) { b.gap, b.last = 0, now }

// missing counts the messages older than a second that have not arrived.
func (b *beat) missing(now Time) (n int) {
	for _, x := range b.entries {
		if x.arrived == 0 && now.Sub(x.at) > time.Second {
			n++
		}
	}
	return n
}

// rebinds runs transfers both ways while what is done to the NAT of one side at
// each interval, first after a second.
func rebinds(t *testing.T, every time.Duration, size int, what func(*world, *wiretest.NAT)) {
	w := newWorld(t, 1)
	a, nat := w.homed("alice", filtering(), usual())
	b := w.peer("bob", nil, Config{})
	w.connect(a, b)
	w.at(time.Second-every, func() {
		w.every(every, func() bool { what(w, nat); return true })
	})
	const each = 16 << 10
	w.want("both transfers complete", 5*time.Minute, allDone(
		a.stream(Message{}, each, size/each), b.stream(Message{}, each, size/each)))
	if a.counts[Established] != 1 || b.counts[Established] != 1 {
		t.Errorf("%d and %d handshakes", a.counts[Established], b.counts[Established])
	}
}

var rebindIntervals = []struct {
	every time.Duration
	size  int
}{
	{5 * time.Second, 10 << 20}, {time.Second, 4 << 20}, {300 * time.Millisecond, 2 << 20},
	{100 * time.Millisecond, 1 << 20}, {50 * time.Millisecond, 1 << 20},
}

func TestInteropRebindPort(t *testing.T) {
	for _, c := range rebindIntervals {
		t.Run(c.every.String(), func(t *testing.T) {
			rebinds(t, c.every, c.size, func(w *world, nat *wiretest.NAT) {
				w.net.Ladder().Note(w.vtime(), "the NAT forgets its mappings")
				nat.Rebind()
			})
		})
	}
}

func TestInteropRebindAddress(t *testing.T) {
	for _, c := range rebindIntervals {
		t.Run(c.every.String(), func(t *testing.T) {
			rebinds(t, c.every, c.size, func(w *world, nat *wiretest.NAT) {
				w.net.Ladder().Note(w.vtime(), "the NAT gets another address")
				nat.Renumber(w.address())
			})
		})
	}
}

func TestInteropRebindLosesNothingAndIsFast(t *testing.T) {
	for name, change := range map[string]func(*world, *wiretest.NAT){
		"port":    func(_ *world, nat *wiretest.NAT) { nat.Rebind() },
		"address": func(w *world, nat *wiretest.NAT) { nat.Renumber(w.address()) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			a, nat := w.homed("alice", filtering(), wiretest.Link{Delay: 30 * time.Millisecond})
			b := w.peer("bob", nil, Config{})
			w.connect(a, b)
			up, down := a.beat(b, 5*time.Millisecond), b.beat(a, 5*time.Millisecond)
			w.run(2*time.Second, nil)
			up.reset(w.now)
			down.reset(w.now)
			change(w, nat)
			w.run(3*time.Second, nil)
			if up.gap > 50*time.Millisecond || down.gap > 250*time.Millisecond {
				w.fatalf("a gap of %v outwards and %v inwards", up.gap, down.gap)
			}
			if n := up.missing(w.now) + down.missing(w.now); n > 0 {
				w.fatalf("%d messages are missing", n)
			}
		})
	}
}

// A peer that only receives must notice by itself that nothing comes any more.
func TestReceiverOnlyRecoversFromRebinding(t *testing.T) {
	w := newWorld(t, 1)
	a, nat := w.homed("alice", filtering(), wiretest.Link{Delay: 30 * time.Millisecond})
	b := w.peer("bob", nil, Config{})
	w.connect(a, b)
	down := b.beat(a, 20*time.Millisecond)
	w.run(2*time.Second, nil)
	down.reset(w.now)
	nat.Rebind()
	w.run(3*time.Second, nil)
	if limit := (120 + 60 + 60 + 40) * time.Millisecond; down.gap > limit {
		w.fatalf("a gap of %v, more than %v", down.gap, limit)
	}
}

func TestPortRebindingKeepsTheCongestionWindow(t *testing.T) {
	w := newWorld(t, 1)
	a, nat := w.homed("alice", filtering(), usual())
	b := w.peer("bob", nil, Config{})
	_, onB := w.connect(a, b)
	b.stream(Message{}, 16<<10, 1000)
	w.run(3*time.Second, nil)
	before := onB.Stats().CongestionWindow
	nat.Rebind()
	w.want("bob follows", time.Second, func() bool { return onB.Stats().Migrations > 0 })
	if after := onB.Stats().CongestionWindow; after < before*7/10 {
		t.Errorf("the window went from %d to %d", before, after)
	}
}

func TestInteropConnectionMigration(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(usual())
	w.connect(a, b)
	// Who watches both networks of alice must not see one connection ID on both.
	seen := make(map[wire.ConnID]netip.Addr)
	w.onTap = func(from, to netip.AddrPort, data []byte) {
		if !isData(data) {
			return
		}
		alice := from.Addr()
		if alice == b.addr().Addr() {
			alice = to.Addr()
		}
		id, _ := wire.Destination(data)
		if was, ok := seen[id]; ok && was != alice {
			t.Errorf("connection ID %v on %v and on %v", id, was, alice)
		}
		seen[id] = alice
	}
	both := allDone(a.stream(Message{}, 16<<10, 200), b.stream(Message{}, 16<<10, 200))
	w.run(time.Second, nil)
	a.host.Move(nil, w.address())
	a.change(a.session().Moved)
	w.want("both transfers complete", 30*time.Second, both)
	if got := b.session().Path(); got != a.path() {
		t.Errorf("bob sends to %v, alice is at %v", got, a.path())
	}
}

func TestMoveFromIPv4ToIPv6(t *testing.T) {
	w := newWorld(t, 1)
	v6 := func(n byte) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: n}) }
	a := w.peer("alice", nil, Config{})
	b := w.peer("bob", nil, Config{}, w.address(), v6(1))
	a.host.SetLink(usual())
	w.connect(a, b)
	both := allDone(a.stream(Message{}, 16<<10, 100), b.stream(Message{}, 16<<10, 100))
	w.run(500*time.Millisecond, nil)
	a.host.Move(nil, v6(2))
	a.change(a.session().Moved)
	a.addPath(a.session(), Path{Remote: netip.AddrPortFrom(v6(1), peerPort)})
	w.want("both transfers complete", 30*time.Second, both)
}

// Both NATs change in the same round trip: neither side can follow the other,
// and a third party has to introduce them again. The session stays.
func TestP2PBothRebindAtOnce(t *testing.T) {
	for _, withRelay := range []bool{true, false} {
		t.Run(fmt.Sprintf("relay=%v", withRelay), func(t *testing.T) {
			w := newWorld(t, 1)
			l := wiretest.Link{Delay: 15 * time.Millisecond}
			a, natA := w.homed("alice", filtering(), l)
			b, natB := w.homed("bob", filtering(), l)
			in := w.introducer(a, b)
			in.connect()
			if withRelay {
				onA, onB := w.relay(a, b, wiretest.Link{Delay: 30 * time.Millisecond})
				a.addPath(a.session(), onA)
				b.addPath(b.session(), onB)
			}
			up, down := a.beat(b, 5*time.Millisecond), b.beat(a, 5*time.Millisecond)
			w.run(2*time.Second, nil)
			up.reset(w.now)
			down.reset(w.now)
			natA.Rebind()
			natB.Rebind()
			w.run(5*time.Second, nil)
			if gap := max(up.gap, down.gap); gap > 2*time.Second {
				w.fatalf("a gap of %v", gap)
			}
			if n := up.missing(w.now) + down.missing(w.now); n > 0 {
				w.fatalf("%d messages are missing", n)
			}
			if a.counts[Closed]+b.counts[Closed] > 0 {
				t.Error("the session did not survive")
			}
		})
	}
}

// An introducer is a rendezvous server in a few lines: it sees the addresses of
// two peers and tells each the other's.
type introducer struct {
	*world
	a, b   *peer
	host   *wiretest.Host
	seen   map[*peer]netip.AddrPort
	asking bool
	then   func()
}

const introducerPort = 3478

// introducer joins two peers, and introduces them again when one is stranded.
func (w *world) introducer(a, b *peer) *introducer {
	in := &introducer{world: w, a: a, b: b, host: w.net.Host("rendezvous", nil, w.address())}
	in.host.SetLink(wiretest.Link{Delay: 10 * time.Millisecond})
	for _, p := range []*peer{a, b} {
		p.onEvent = func(e Event) {
			if e.Kind == PathFailed || e.Kind == Stranded {
				in.introduce(in.addPaths)
			}
		}
	}
	w.onCatch = in.catch
	return in
}

// introduce asks both peers for a datagram and calls then when both have come.
func (in *introducer) introduce(then func()) {
	if in.asking {
		return
	}
	in.asking, in.then, in.seen = true, then, make(map[*peer]netip.AddrPort)
	for _, p := range []*peer{in.a, in.b} {
		in.at(10*time.Millisecond, func() {
			p.host.Send(in.vtime(), p.port, netip.AddrPortFrom(in.host.Addrs()[0], introducerPort), []byte("here"))
		})
	}
}

func (in *introducer) catch(d wiretest.Packet) bool {
	if d.Host != in.host {
		return false
	}
	for _, p := range []*peer{in.a, in.b} {
		// A NAT of one peer only: the external address tells who it is.
		if in.owns(p, d.From) {
			in.seen[p] = d.From
		}
	}
	if len(in.seen) == 2 && in.asking {
		in.at(25*time.Millisecond, func() { in.asking = false; in.then() })
	}
	return true
}

func (in *introducer) owns(p *peer, from netip.AddrPort) bool {
	return p.host.Behind() == nil && from.Addr() == p.host.Addrs()[0] ||
		p.host.Behind() != nil && from.Addr() == p.host.Behind().External()
}

// connect introduces the peers for the first time: both learn the other's
// address, alice dials, and bob opens his NAT.
func (in *introducer) connect() {
	in.introduce(func() {
		in.b.host.Send(in.vtime(), in.b.port, in.seen[in.a], []byte{0})
		in.a.dial(in.b, Path{Remote: in.seen[in.b]})
	})
	in.want("the introduced peers are up", 20*time.Second, func() bool { return in.a.session() != nil && in.b.session() != nil })
}

func (in *introducer) addPaths() {
	in.addPath(in.a, in.seen[in.b])
	in.addPath(in.b, in.seen[in.a])
}

func (in *introducer) addPath(p *peer, to netip.AddrPort) {
	if s := p.session(); s != nil {
		p.addPath(s, Path{Remote: to})
	}
}

func TestSessionWithoutPathKeepsItsMessages(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	w.connect(a, b)
	w.run(time.Second, nil)
	a.host.Up.Blackhole, a.host.Down.Blackhole = true, true
	bulk := a.stream(Message{}, 1000, 100)
	w.want("the session says that it has no path", 10*time.Second, func() bool { return a.counts[Stranded] > 0 })
	w.run(20*time.Second, nil)
	a.host.Up.Blackhole, a.host.Down.Blackhole = false, false
	w.want("everything arrives once there is a way", 5*time.Second, bulk.done)
	if a.counts[Established] != 1 || a.counts[Closed] != 0 {
		t.Errorf("events: %v", a.counts)
	}
}

func TestFailoverToAnotherPathIsFast(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	w.connect(a, b)
	onA, onB := w.relay(a, b, wiretest.Link{Delay: 20 * time.Millisecond})
	a.addPath(a.session(), onA)
	b.addPath(b.session(), onB)
	up, down := a.beat(b, 10*time.Millisecond), b.beat(a, 10*time.Millisecond)
	w.run(2*time.Second, nil)
	if a.session().Path().IsRelay() || b.session().Path().IsRelay() {
		w.fatalf("data goes by the relay while there is a direct path")
	}
	up.reset(w.now)
	down.reset(w.now)
	a.host.Up.Blackhole, a.host.Down.Blackhole = true, true
	w.run(3*time.Second, nil)
	if gap := max(up.gap, down.gap); gap > time.Second {
		w.fatalf("a gap of %v", gap)
	}
	a.host.Up.Blackhole, a.host.Down.Blackhole = false, false
	w.want("the session returns to the direct path", 30*time.Second, func() bool {
		return !a.session().Path().IsRelay() && !b.session().Path().IsRelay()
	})
	if n := up.missing(w.now) + down.missing(w.now); n > 0 {
		w.fatalf("%d messages are missing", n)
	}
}
