package session

import (
	"errors"
	"flag"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// The scenarios of the QUIC interop runner
// (https://github.com/quic-interop/quic-interop-runner), with our own frames.

var (
	seeds = flag.Int("seeds", 200, "how many seeds the simulations try")
	seed  = flag.Uint64("seed", 0, "the one seed to replay")
)

// eachSeed runs a simulation for a share of the seeds, or for the one that is to
// be replayed. It runs beside the other tests that call it.
func eachSeed(t *testing.T, share float64, run func(*world)) {
	t.Parallel()
	if *seed != 0 {
		run(newWorld(t, *seed))
		return
	}
	for n := range max(1, int(share*float64(*seeds))) {
		run(newWorld(t, uint64(n)+1))
	}
}

// usual is a link of 30 ms there and back, 10 Mbit/s, with a queue of 25
// full-sized packets.
func usual() wiretest.Link {
	return wiretest.Link{Delay: 15 * time.Millisecond, Rate: 10e6, Queue: 25 * 1500, MTU: 1500}
}

// A bulk is a run of messages that is sent as fast as the session takes them.
type bulk struct {
	p       *peer
	s       func() *Session
	m       Message
	size    int
	left    int
	entries []*entry
	arrived int
}

// stream sends count messages of size bytes from p on its newest session.
func (p *peer) stream(m Message, size, count int) *bulk {
	b := &bulk{p: p, s: p.session, m: m, size: size, left: count}
	p.bulks = append(p.bulks, b)
	b.write()
	return b
}

func (b *bulk) write() {
	for s := b.s(); b.left > 0 && s != nil; b.left-- {
		x, err := b.p.post(s, b.m, b.size)
		if errors.Is(err, ErrWouldBlock) {
			return
		}
		if err != nil {
			b.p.fatalf("%s: Send: %v", b.p.name, err)
		}
		b.entries = append(b.entries, x)
	}
}

// done reports whether all has arrived.
func (b *bulk) done() bool {
	for b.arrived < len(b.entries) && b.entries[b.arrived].arrived > 0 {
		b.arrived++
	}
	return b.left == 0 && b.arrived == len(b.entries)
}

// transfer sends size bytes in messages of 16 KiB, wants them to arrive within
// d, and returns how long it took.
func (w *world) transfer(p *peer, size int, d time.Duration) time.Duration {
	w.tb.Helper()
	const each = 16 << 10
	start := w.now
	b := p.stream(Message{}, each, (size+each-1)/each)
	w.want("the transfer completes", d, b.done)
	return w.now.Sub(start)
}

func allDone(bulks ...*bulk) func() bool {
	return func() bool {
		return !slices.ContainsFunc(bulks, func(b *bulk) bool { return !b.done() })
	}
}

func TestInteropHandshake(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	start := w.now
	a.dial(b)
	w.want("the initiator is up after one round trip", 50*time.Millisecond, func() bool { return a.session() != nil })
	w.want("the responder is up half a round trip later", 50*time.Millisecond, func() bool { return b.session() != nil })
	if took := w.now.Sub(start); took > 65*time.Millisecond {
		t.Errorf("up on both sides after %v", took)
	}
	if a.session().ID() != b.session().ID() || a.session().ID() == [16]byte{} {
		t.Errorf("session IDs %v and %v", a.session().ID(), b.session().ID())
	}
	if a.session().Peer() != b.ep.ID() || b.session().Peer() != a.ep.ID() {
		t.Error("the sides disagree on who they are")
	}
	if !a.session().Initiator() || b.session().Initiator() {
		t.Error("the sides disagree on who began")
	}
}

func TestInteropLongRTT(t *testing.T) {
	w := newWorld(t, 1)
	l := usual()
	l.Delay = 750 * time.Millisecond
	a, b := w.pair(l)
	sent := 0
	w.onTap = func(_, _ netip.AddrPort, _ []byte) { sent++ }
	a.dial(b)
	w.want("the session is up after one round trip", 1520*time.Millisecond, func() bool { return a.session() != nil })
	if sent > 8 {
		t.Errorf("%d datagrams crossed the network for one handshake", sent)
	}
	w.want("the responder is up", time.Second, func() bool { return b.session() != nil })
	w.transfer(a, 1<<20, 30*time.Second)
}

func TestInteropTransfer(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond, Rate: 100e6, Queue: 1 << 20, MTU: 1500})
	s, _ := w.connect(a, b)
	const each = 64 << 10
	w.want("all three files arrive", 20*time.Second, allDone(
		a.stream(Message{Channel: 1}, each, 2<<20/each),
		a.stream(Message{Channel: 2}, each, 3<<20/each),
		a.stream(Message{Channel: 3}, each, 5<<20/each)))
	a.change(func(now Time) { s.CloseWhenSent(now, 7, "done") })
	w.want("both sides close", time.Second, func() bool { return a.session() == nil && b.session() == nil })
	var got *CloseError
	if err := b.lastClosed.Err; !errors.As(err, &got) || got.Code != 7 || got.Reason != "done" || !got.Remote {
		t.Errorf("the receiver closed with %v", err)
	}
}

func TestInteropMultiplexing(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(usual())
	s, _ := w.connect(a, b)
	w.run(2*time.Second, nil) // the search for a datagram size is over
	before := s.Stats().SentBytes
	var xs []*entry
	a.change(func(now Time) {
		for i := range 2000 {
			x, err := a.submit(now, s, Message{Channel: uint16(i % 64)}, 32)
			if err != nil {
				w.fatalf("Send: %v", err)
			}
			xs = append(xs, x)
		}
	})
	w.want("all messages arrive", 5*time.Second, func() bool {
		return !slices.ContainsFunc(xs, func(x *entry) bool { return x.arrived == 0 })
	})
	if spent := s.Stats().SentBytes - before; float64(spent) > 1.3*2000*32 {
		t.Errorf("%d bytes were sent for a payload of %d", spent, 2000*32)
	}
}

func TestSlowReaderHoldsUpOnlyItsChannel(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(usual())
	_, onB := w.connect(a, b)
	b.slow[1] = true
	slow := a.stream(Message{Channel: 1}, 64<<10, 30)
	w.run(2*time.Second, nil)
	fast := a.stream(Message{Channel: 2}, 64<<10, 30)
	w.want("the other channel flows", 5*time.Second, fast.done)
	if slow.done() {
		t.Error("a channel that nobody reads took everything")
	}
	b.slow[1] = false
	b.change(func(Time) { b.take(onB, 1) })
	w.want("the channel flows once it is read", 5*time.Second, slow.done)
}

func TestInteropBlackhole(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(usual())
	w.connect(a, b)
	dark := false
	var toggle func()
	var lit, litFor Time
	worst, lightAt, waiting := time.Duration(0), w.now, false
	toggle = func() {
		dark = !dark
		a.host.Up.Blackhole, a.host.Down.Blackhole = dark, dark
		if dark {
			litFor += w.now - lit
			w.at(2*time.Second, toggle)
			return
		}
		lit, lightAt, waiting = w.now, w.now, true
		w.at(5*time.Second, toggle)
	}
	lit = w.now
	w.at(5*time.Second, toggle)
	w.onCatch = func(p wiretest.Packet) bool {
		if waiting && p.Host == b.host {
			waiting = false
			worst = max(worst, w.now.Sub(lightAt))
		}
		return false
	}
	const size = 10 << 20
	w.transfer(a, size, time.Minute)
	litFor += w.now - lit
	if worst > 2*time.Second {
		t.Errorf("the first datagram after an outage came %v late", worst)
	}
	if rate := size * 8 / time.Duration(litFor).Seconds(); rate < 0.85*0.95*10e6 {
		t.Errorf("%.1f Mbit/s while there was light", rate/1e6)
	}
	if b.counts[Established] != 1 {
		t.Errorf("%d handshakes", b.counts[Established])
	}
}

func TestInteropAmplificationLimit(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(usual())
	n := 0
	a.host.Up.Drop = func(time.Duration, []byte) bool { n++; return n >= 2 && n <= 7 }
	w.connect(a, b)
	b.stream(Message{}, 16<<10, 10)
	w.transfer(a, 1<<20, 20*time.Second)
}

// handshakes connects one pair of peers for each seed and returns how long each
// took, sorted.
func handshakes(t *testing.T, share float64, l wiretest.Link) (took []time.Duration) {
	eachSeed(t, share, func(w *world) {
		a, b := w.peer("alice", nil, Config{HandshakeTimeout: 30 * time.Second}), w.peer("bob", nil, Config{})
		a.host.SetLink(l)
		start := w.now
		a.dial(b)
		w.want("the session comes up", 30*time.Second, func() bool { return a.session() != nil })
		took = append(took, w.now.Sub(start))
		w.want("both sides can talk", 30*time.Second, a.stream(Message{}, 100, 1).done)
	})
	slices.Sort(took)
	return took
}

func TestInteropHandshakeLoss(t *testing.T) {
	l := usual()
	l.Loss, l.Burst = 0.3, 1.4
	took := handshakes(t, 0.5, l)
	if p50 := took[len(took)/2]; p50 > 1500*time.Millisecond {
		t.Errorf("half of the handshakes take %v or more", p50)
	}
	if late := took[len(took)*995/1000]; late > 10*time.Second {
		t.Errorf("one of 200 handshakes takes %v", late)
	}
}

func TestInteropHandshakeCorruption(t *testing.T) {
	l := usual()
	l.Corrupt = 0.3
	took := handshakes(t, 0.5, l)
	if p50 := took[len(took)/2]; p50 > 1500*time.Millisecond {
		t.Errorf("half of the handshakes take %v or more", p50)
	}
}

// lossy runs a transfer of 2 MB over a bad link for a share of the seeds.
func lossy(t *testing.T, l wiretest.Link) {
	const size = 2 << 20
	var sent, spurious uint64
	var rates []float64
	eachSeed(t, 0.05, func(w *world) {
		a, b := w.pair(l)
		s, _ := w.connect(a, b)
		took := w.transfer(a, size, time.Minute)
		rates = append(rates, size*8/took.Seconds())
		sent += s.Stats().Sent
		spurious += s.Stats().Spurious
	})
	slices.Sort(rates)
	if p50 := rates[len(rates)/2]; p50 < 0.6*10e6 {
		t.Errorf("half of the transfers reach no more than %.1f of 10 Mbit/s", p50/1e6)
	}
	if float64(spurious) > 0.02*float64(sent) {
		t.Errorf("%d of %d datagrams were repeated needlessly", spurious, sent)
	}
}

func TestInteropTransferLoss(t *testing.T) {
	l := usual()
	l.Loss, l.Burst = 0.02, 3
	lossy(t, l)
}

func TestInteropTransferCorruption(t *testing.T) {
	l := usual()
	l.Corrupt, l.Burst = 0.02, 3
	lossy(t, l)
}

func TestInteropKeyUpdate(t *testing.T) {
	eachSeed(t, 0.02, func(w *world) {
		cfg := Config{RekeyAfter: 150}
		a, b := w.peer("alice", nil, cfg), w.peer("bob", nil, cfg)
		l := usual()
		l.Loss, l.Reorder, l.ReorderBy = 0.02, 0.1, 40*time.Millisecond
		a.host.SetLink(l)
		onA, onB := w.connect(a, b)
		w.want("both transfers complete", time.Minute, allDone(
			a.stream(Message{}, 16<<10, 192), b.stream(Message{}, 16<<10, 192)))
		if onA.Stats().KeyUpdates+onB.Stats().KeyUpdates < 3 {
			w.fatalf("%d and %d key updates", onA.Stats().KeyUpdates, onB.Stats().KeyUpdates)
		}
	})
}

func TestInteropGoodput(t *testing.T) {
	const size = 10 << 20
	var rates []float64
	eachSeed(t, 0.01, func(w *world) {
		l := usual()
		l.Jitter = time.Millisecond
		a, b := w.pair(l)
		w.connect(a, b)
		rates = append(rates, size*8/w.transfer(a, size, time.Minute).Seconds())
	})
	slices.Sort(rates)
	if p50 := rates[len(rates)/2]; p50 < 9.3e6 {
		t.Errorf("%.2f of 10 Mbit/s are used", p50/1e6)
	}
}

func TestInteropCrossTraffic(t *testing.T) {
	w := newWorld(t, 1)
	home := w.net.Firewall("home", nil)
	home.SetLink(wiretest.Link{Rate: 20e6, Queue: 100_000, Delay: 15 * time.Millisecond, MTU: 1500})
	a, b := w.peer("alice", home, Config{}), w.peer("bob", nil, Config{})
	c, d := w.peer("carol", home, Config{}), w.peer("dave", nil, Config{})
	w.connect(a, b)
	w.connect(c, d)
	ab := a.stream(Message{}, 16<<10, 1<<20)
	w.run(3*time.Second, nil)
	cd := c.stream(Message{}, 16<<10, 1<<20)
	w.run(5*time.Second, nil) // they find their shares
	ab.done()
	cd.done()
	ab0, cd0 := ab.arrived, cd.arrived
	w.run(20*time.Second, nil)
	ab.done()
	cd.done()
	one, two := float64(ab.arrived-ab0), float64(cd.arrived-cd0)
	if share := one / (one + two); share < 0.35 || share > 0.65 {
		t.Errorf("of two sessions on one link, the first has %.0f%%", 100*share)
	}
}
