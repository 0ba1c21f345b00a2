package session

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// Situations that peers meet and clients of a server do not.

// crossed lets both peers dial each other, the second one later by d, and wants
// exactly one session in the end, the same on both sides, that carries messages.
func crossed(w *world, d time.Duration, l wiretest.Link) (took time.Duration) {
	a, b := w.pair(l)
	start := w.now
	var second *Session
	a.dial(b)
	w.at(d, func() {
		if second = b.session(); second == nil { // else there is nothing left to cross
			second = b.dial(a)
		}
	})
	w.want("both dials come to an end", 25*time.Second, func() bool {
		return second != nil && len(a.sessions) > 0 && len(b.sessions) > 0
	})
	took = w.now.Sub(start)
	queued := allDone(a.stream(Message{}, 100, 20), b.stream(Message{}, 100, 20))
	w.want("messages cross", 20*time.Second, queued)
	w.run(15*time.Second, nil) // whatever else was under way has ended
	if len(a.sessions) != 1 || len(b.sessions) != 1 || a.session().ID() != b.session().ID() {
		w.fatalf("%d and %d sessions after a simultaneous open", len(a.sessions), len(b.sessions))
	}
	if n := a.ep.Stats().Sessions + b.ep.Stats().Sessions; n != 2 {
		w.fatalf("%d sessions are held for one", n)
	}
	return took
}

func TestP2PSimultaneousOpenEndsInOneSession(t *testing.T) {
	l := wiretest.Link{Delay: 15 * time.Millisecond}
	t.Run("clean", func(t *testing.T) {
		for d := time.Duration(0); d <= 60*time.Millisecond; d += 2500 * time.Microsecond {
			w := newWorld(t, 1)
			if took := crossed(w, d, l); took > d+60*time.Millisecond {
				t.Errorf("%v apart: up after %v, more than two round trips", d, took)
			}
		}
	})
	t.Run("faulty", func(t *testing.T) {
		eachSeed(t, 0.5, func(w *world) {
			l := l
			l.Loss, l.Duplicate, l.Reorder, l.ReorderBy = 0.2, 0.2, 0.2, 40*time.Millisecond
			crossed(w, time.Duration(w.seed%25)*2500*time.Microsecond, l)
		})
	})
}

// An attacker on no path copies each datagram and lets the copy, from its own
// address, overtake the original (RFC 9000 §9.3.3).
func TestP2POffPathCopierCannotKeepTheSession(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 20 * time.Millisecond})
	w.connect(a, b)
	w.run(time.Second, nil)
	attacker := netip.AddrPortFrom(w.address(), 666)
	toAttacker := 0
	until := w.now.Add(5 * time.Second)
	w.onTap = func(from, to netip.AddrPort, data []byte) {
		switch {
		case to == attacker:
			toAttacker += len(data)
		case from == a.addr() && w.now < until:
			w.net.Inject(w.vtime(), attacker, to, data)
		}
	}
	up, down := a.beat(b, 10*time.Millisecond), b.beat(a, 10*time.Millisecond)
	w.run(8*time.Second, nil)
	if got := b.session().Path(); got != a.path() {
		w.fatalf("bob sends to %v, not to %v", got, a.path())
	}
	if n := up.missing(w.now) + down.missing(w.now); n > 0 {
		w.fatalf("%d messages are missing", n)
	}
	t.Logf("%d bytes went to the attacker", toAttacker)
}

// An attacker holds a genuine datagram back and sends it with the address of a
// victim as its source.
func TestP2PSpoofedSourceIsNotFlooded(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(usual())
	w.connect(a, b)
	w.run(time.Second, nil)
	victim := netip.AddrPortFrom(w.address(), 9)
	flipped, flooded := 0, 0
	a.host.Up.Drop = func(_ time.Duration, data []byte) bool {
		if flipped < 5 && isData(data) {
			flipped++
			w.net.Inject(w.vtime(), victim, b.addr(), data)
			return true
		}
		return false
	}
	w.onTap = func(_, to netip.AddrPort, data []byte) {
		if to == victim {
			flooded += len(data)
		}
	}
	b.stream(Message{}, 16<<10, 200)
	up := a.beat(b, 50*time.Millisecond)
	w.run(5*time.Second, nil)
	if got := b.session().Path(); got != a.path() {
		w.fatalf("bob sends to %v, not to %v", got, a.path())
	}
	if flooded > 5*3*1500 {
		t.Errorf("%d bytes went to the victim", flooded)
	}
	if n := up.missing(w.now); n > 0 {
		w.fatalf("%d messages are missing", n)
	}
}

func TestP2PDeadCandidatesDoNotHinderTheGoodOne(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	var paths []Path
	for range 12 {
		paths = append(paths, Path{Remote: netip.AddrPortFrom(w.address(), 4000)})
	}
	start := w.now
	a.dial(b, append(paths, b.path())...)
	w.want("the session comes up", 5*time.Second, func() bool { return a.session() != nil && b.session() != nil })
	if took := w.now.Sub(start); took > 65*time.Millisecond {
		t.Errorf("up after %v", took)
	}
	for _, p := range paths {
		a.addPath(a.session(), p)
	}
	// The good one comes last, and then the path in use dies.
	onA, _ := w.relay(a, b, wiretest.Link{Delay: 15 * time.Millisecond})
	a.addPath(a.session(), onA)
	up := a.beat(b, 10*time.Millisecond)
	w.run(time.Second, nil)
	up.reset(w.now)
	b.host.Up.Blackhole, b.host.Down.Blackhole = true, true
	w.run(5*time.Second, nil)
	if up.gap > time.Second {
		w.fatalf("a gap of %v", up.gap)
	}
}

func TestP2PReorderingIsNotTakenForLoss(t *testing.T) {
	const size = 5 << 20
	w := newWorld(t, 1)
	l := wiretest.Link{Delay: 15 * time.Millisecond, Rate: 10e6, Queue: 100_000, MTU: 1500}
	a, b := w.pair(l)
	w.connect(a, b)
	a.host.Up.Reorder, a.host.Up.ReorderBy = 0.25, 90*time.Millisecond
	took := w.transfer(a, size, time.Minute)
	if rate := size * 8 / took.Seconds(); rate < 0.8*0.95*10e6 {
		t.Errorf("%.1f of 10 Mbit/s with a quarter of the datagrams three round trips late", rate/1e6)
	}
}

func TestP2PSmallerMTUUnderWayDoesNotStall(t *testing.T) {
	w := newWorld(t, 1)
	l := wiretest.Link{Delay: 15 * time.Millisecond, Rate: 20e6, Queue: 100_000, MTU: 1500}
	a, b := w.pair(l)
	onA, _ := w.connect(a, b)
	bulk := a.stream(Message{}, 4<<10, 5000)
	w.want("a larger datagram size is found", 5*time.Second, func() bool { return onA.Stats().MTU > 1400 })
	last, gap := w.now, time.Duration(0)
	b.onArrival = func(*entry) { gap = max(gap, w.now.Sub(last)); last = w.now }
	st := onA.Stats()
	pto := st.SmoothedRTT + max(4*st.RTTVar, time.Millisecond) + maxAckDelay
	last = w.now
	a.host.Up.MTU, a.host.Down.MTU = 1280, 1280
	w.want("the transfer completes", time.Minute, bulk.done)
	if gap > 8*pto { // three probe timeouts, each twice as long as the one before
		t.Errorf("nothing arrived for %v, the probe timeout being %v", gap, pto)
	}
	if got := onA.Stats().MTU; got > 1280-28 {
		t.Errorf("datagrams are still of up to %d bytes", got)
	}
}

func TestP2PPeerRestart(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	w.connect(a, b)
	w.run(time.Second, nil)
	b.restart()
	a.onEvent = func(e Event) {
		if e.Kind == Closed {
			a.at(0, func() { a.dial(b) })
		}
	}
	start := w.now
	a.mustPost(a.session(), Message{Receipt: true}, 100)
	w.want("a new session is up after two round trips", 60*time.Millisecond, func() bool {
		return a.counts[Established] == 2
	})
	if !errors.Is(a.lastClosed.Err, ErrPeerRestarted) {
		t.Errorf("the old session ended with %v", a.lastClosed.Err)
	}
	w.want("and on the other side", time.Second, func() bool { return b.session() != nil })
	t.Logf("a new session after %v", w.now.Sub(start))
	w.transfer(a, 100<<10, 5*time.Second)
}

// A restarted peer that dials first must displace the session it has forgotten.
func TestRestartedPeerDialsAgain(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	w.connect(a, b)
	w.run(time.Second, nil)
	a.restart()
	a.dial(b)
	w.want("the new session is up", time.Second, func() bool { return a.session() != nil && len(b.sessions) == 1 && b.session().ID() == a.session().ID() })
	w.want("messages cross", time.Second, allDone(a.stream(Message{}, 100, 10), b.stream(Message{}, 100, 10)))
	w.run(5*time.Second, nil)
	if len(a.sessions) != 1 || len(b.sessions) != 1 {
		t.Errorf("%d and %d sessions", len(a.sessions), len(b.sessions))
	}
}

func TestIdleSessionsAreSmallAndQuiet(t *testing.T) {
	const count = 500
	w := newWorld(t, 1)
	hub := w.peer("hub", nil, Config{})
	for range count {
		p := w.peer("spoke", nil, Config{})
		p.buf = hub.buf // they take turns
		p.dial(hub)
	}
	w.want("all sessions are up", 10*time.Second, func() bool { return len(hub.sessions) == count })
	w.run(20*time.Second, nil) // everything has settled
	sent := 0
	w.onTap = func(_, _ netip.AddrPort, _ []byte) { sent++ }
	w.run(time.Minute, nil)
	if each := float64(sent) / count; each > 4*4.1 {
		t.Errorf("an idle session sent %.1f datagrams in a minute", each)
	}
	if len(hub.sessions) != count {
		t.Errorf("%d of %d idle sessions are left", len(hub.sessions), count)
	}
	if n := hub.release() / count; n > idleBytesMax {
		t.Errorf("an idle session takes %d bytes", n)
	} else {
		t.Logf("an idle session takes %d bytes", n)
	}
}

// idleBytesMax is what an idle session may hold of the heap, the test's own records
// and its share of the endpoint included.
const idleBytesMax = 6 << 10

// release drops the peer's endpoint and returns how much memory that frees.
func (p *peer) release() uint64 {
	p.peers, p.plans = nil, nil
	p.sessions, p.known, p.lastClosed = nil, nil, Event{}
	before := heap()
	runtime.KeepAlive(p.ep)
	p.ep = nil
	return before - heap()
}

// heap returns the bytes of the heap that are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestUnreliableMessagesOnBadLink(t *testing.T) {
	w := newWorld(t, 1)
	l := usual()
	l.Loss = 0.2
	a, b := w.pair(l)
	s, _ := w.connect(a, b)
	var xs []*entry
	for _, mode := range []wire.Mode{wire.Unreliable, wire.Sequenced} {
		for range 200 {
			xs = append(xs, a.mustPost(s, Message{Channel: 3, Mode: mode, Receipt: true}, 200))
			w.run(5*time.Millisecond, nil)
		}
	}
	w.run(5*time.Second, nil)
	arrived := 0
	for _, x := range xs {
		arrived += x.arrived
		if x.last() == 0 {
			t.Fatalf("nothing was ever reported of %v", x)
		}
	}
	if arrived < 200 || arrived > 360 {
		t.Errorf("%d of 400 arrived", arrived)
	}
}
