package session

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

var algorithms = []congestion.Algorithm{congestion.BBR, congestion.CUBIC}

// Routers as they should not be.
var (
	bleach  = func(wire.ECN) wire.ECN { return wire.NotECT }
	markAll = func(e wire.ECN) wire.ECN { return wire.CE }
	mangle  = func(e wire.ECN) wire.ECN { return e>>1 | e<<1&2 } // ECT(0) and ECT(1) change places
)

// activePath returns what is known of the path that carries the data.
func (p *peer) activePath() PathInfo {
	for _, x := range p.session().Paths(nil) {
		if x.Active {
			return x
		}
	}
	p.fatalf("%s: no active path", p.name)
	panic("not reached")
}

func (p *peer) wantECN(what string, want ECNState) {
	p.tb.Helper()
	if got := p.activePath().ECN; got != want {
		p.tb.Errorf("%s: %s finds the path %v, want %v", what, p.name, got, want)
	}
}

// longRTT lets time pass and returns what the smoothed round trip exceeds in one
// moment of fifty.
func (p *peer) longRTT(d time.Duration) time.Duration {
	const step = 5 * time.Millisecond
	var all []time.Duration
	for range d / step {
		p.run(step, nil)
		all = append(all, p.session().Stats().SmoothedRTT)
	}
	slices.Sort(all)
	return all[len(all)*98/100]
}

// [S51] Where a queue marks, it stays short, nothing is lost, and the link is used all
// the same.
func TestMarksKeepTheQueueShort(t *testing.T) {
	const rate, rtt, seconds = 20e6, 40 * time.Millisecond, 5
	for _, a := range algorithms {
		// A queue of 160 ms overflows or, from 4 ms on, marks.
		type figures struct {
			rtt      time.Duration
			bits     int
			counters Counters
		}
		measure := func(mark int) (f figures) {
			w := newWorld(t, 1)
			p, q := w.pair(wiretest.Link{Delay: rtt / 2, Rate: rate, Queue: 400_000, Mark: mark, MTU: 1500})
			p.use(a)
			w.connect(p, q)
			p.stream(Message{}, 16<<10, 4000)
			w.run(200*time.Millisecond, nil)
			q.onArrival = func(x *entry) { f.bits += x.size * 8 / seconds }
			f.rtt = p.longRTT(seconds * time.Second)
			f.counters = p.session().Stats().Counters
			p.wantECN("a clean path", ECNCapable)
			return f
		}
		dropping, marking := measure(0), measure(10_000)
		if marking.counters.Marked == 0 || marking.counters.Lost > 0 {
			t.Errorf("%v: %d marked, %d lost", a, marking.counters.Marked, marking.counters.Lost)
		}
		if dropping.counters.Marked > 0 {
			t.Errorf("%v: %d marked by nobody", a, dropping.counters.Marked)
		}
		if queue, before := marking.rtt-rtt, dropping.rtt-rtt; queue > before/2 || queue > 20*time.Millisecond {
			t.Errorf("%v: the queue takes %v, and %v where nothing is marked", a, queue, before)
		}
		if marking.bits < rate*80/100 {
			t.Errorf("%v: %d bits a second", a, marking.bits)
		}
	}
}

// [S52] A path that clears, sets or changes marks turns them off, and carries as much
// as without them.
func TestBrokenPathsTurnMarksOff(t *testing.T) {
	const size = 8 << 20
	for _, a := range algorithms {
		transfer := func(remark func(wire.ECN) wire.ECN, drop bool) (took time.Duration, state ECNState, lost uint64) {
			w := newWorld(t, 1)
			p, q := w.pair(wiretest.Link{Delay: 20 * time.Millisecond, Rate: 50e6, Queue: 500_000, MTU: 1500, Remark: remark})
			w.onCatch = func(d wiretest.Packet) bool { return drop && d.ECN != wire.NotECT }
			p.use(a)
			w.connect(p, q)
			took = w.transfer(p, size, 20*time.Second)
			return took, p.activePath().ECN, p.session().Stats().Lost
		}
		clean, _, lost := transfer(nil, false)
		for _, tt := range []struct {
			name   string
			remark func(wire.ECN) wire.ECN
			drop   bool
			want   ECNState
		}{
			{"clears marks", bleach, false, ECNFailed},
			{"marks everything", markAll, false, ECNFailed},
			{"changes marks", mangle, false, ECNFailed},
			{"drops what is marked", nil, true, ECNUnknown},
		} {
			took, state, lostHere := transfer(tt.remark, tt.drop)
			if state != tt.want {
				t.Errorf("%v: a path that %s is %v", a, tt.name, state)
			}
			most := clean + clean/10
			if tt.drop {
				most = 4 * clean // the first ten are lost, which is congestion
			}
			if took > most || lostHere > 2*lost+10 {
				t.Errorf("%v: a path that %s takes %v and loses %d, a good one %v and %d", a, tt.name, took, lostHere, clean, lost)
			}
		}
	}
}

// [S52] A path that breaks later is found out as well, and carries on.
func TestPathThatBreaksLaterTurnsMarksOff(t *testing.T) {
	for _, a := range algorithms {
		for name, remark := range map[string]func(wire.ECN) wire.ECN{"clears": bleach, "changes": mangle} {
			w := newWorld(t, 1)
			p, q := w.pair(wiretest.Link{Delay: 20 * time.Millisecond, Rate: 50e6, Queue: 500_000, MTU: 1500})
			p.use(a)
			w.connect(p, q)
			w.transfer(p, 4<<20, 10*time.Second)
			p.wantECN("a clean path", ECNCapable)
			p.host.Up.Remark = remark
			if took := w.transfer(p, 4<<20, 10*time.Second); took > time.Second {
				t.Errorf("%v: %v once the path %s marks", a, took, name)
			}
			p.wantECN("the path "+name+" marks", ECNFailed)
		}
		// From some moment on marked datagrams are dropped: after probe timeouts the
		// path is tested anew, and not marked any more.
		w := newWorld(t, 1)
		p, q := w.pair(wiretest.Link{Delay: 20 * time.Millisecond, Rate: 50e6, Queue: 500_000, MTU: 1500})
		p.use(a)
		w.connect(p, q)
		w.transfer(p, 4<<20, 10*time.Second)
		w.onCatch = func(d wiretest.Packet) bool { return d.ECN != wire.NotECT }
		if took := w.transfer(p, 4<<20, 20*time.Second); took > 4*time.Second {
			t.Errorf("%v: %v once the path drops what is marked", a, took)
		}
		if n := p.counts[PathFailed] + p.counts[Stranded]; n > 0 {
			t.Errorf("%v: the path is given up %d times, though it takes what is not marked", a, n)
		}
		p.wantECN("marked datagrams are dropped", ECNUnknown)
	}
}

// [S53] Another path is tested anew, be it that the port alone is another.
func TestEachPathIsTested(t *testing.T) {
	w := newWorld(t, 1)
	p, nat := w.homed("alice", filtering(), wiretest.Link{Delay: 10 * time.Millisecond})
	q := w.peer("bob", nil, Config{})
	w.connect(p, q)
	talk := func() {
		t.Helper()
		for range 5 {
			w.transfer(p, 1<<18, 10*time.Second)
			w.transfer(q, 1<<18, 10*time.Second)
			w.run(50*time.Millisecond, nil)
		}
	}
	talk()
	p.wantECN("at first", ECNCapable)
	q.wantECN("at first", ECNCapable)
	nat.Down.Remark = bleach
	talk()
	p.wantECN("marks are cleared in one direction", ECNCapable)
	q.wantECN("marks are cleared in one direction", ECNFailed)
	nat.Down.Remark = nil
	talk()
	q.wantECN("what failed stays so", ECNFailed)
	nat.Rebind()

	talk()
	q.wantECN("the peer has another port", ECNCapable)
	nat.Down.Remark = bleach
	nat.Renumber(w.address())
	talk()
	q.wantECN("the peer has another address", ECNFailed)
	p.wantECN("this side sees the same path", ECNCapable)
}

// [S51] Only what goes to a proved address over UDP is marked.
func TestOnlyDirectProvedPathsAreMarked(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 10 * time.Millisecond})
	onP, _ := w.relay(p, q, wiretest.Link{Delay: 30 * time.Millisecond})
	direct, relayed, early := 0, 0, 0
	w.onCatch = func(d wiretest.Packet) bool {
		switch {
		case d.ECN == wire.NotECT:
		case !isData(d.Data) || p.session() == nil || !p.activePath().Validated:
			early++
		case d.Host != p.host && d.Host != q.host:
			relayed++
		default:
			direct++
		}
		return false
	}
	w.connect(p, q, onP)
	w.transfer(p, 1<<20, 10*time.Second)
	if p.wantECN("a relay", ECNUnknown); direct+relayed+early > 0 {
		t.Errorf("%d marked datagrams on the relay, %d elsewhere", relayed, direct+early)
	}
	p.addPath(p.session(), q.path())
	w.want("the direct path is taken", 5*time.Second, func() bool { return !p.session().Path().IsRelay() })
	w.transfer(p, 1<<20, 10*time.Second)
	if p.wantECN("the direct path", ECNCapable); direct == 0 || relayed+early > 0 {
		t.Errorf("%d marked datagrams on the direct path, %d on the relay, %d too early", direct, relayed, early)
	}
}

// [S52] Whatever a peer tells of marks, the session goes on, and the peer only slows
// down what it is sent.
func TestImpossibleCountsTurnMarksOff(t *testing.T) {
	most := uint64(wire.MaxVarint)
	for _, counts := range []wire.ECNCounts{
		{ECT0: most}, {CE: most}, {ECT1: 1}, {ECT0: most, ECT1: most, CE: most}, {CE: 1 << 20},
	} {
		w, b, m := hostileSession(t)
		m.acknowledge()
		w.run(time.Second, nil)
		got := 0
		m.heardOf = func(_ netip.AddrPort, c *wire.Chunk) {
			if c.Type == wire.TypePathChallenge {
				m.sendChunks(wire.AppendPath(nil, wire.TypePathResponse, c.Path))
			}
			if c.Type == wire.TypeMessage {
				got++
			}
		}
		m.sendChunks(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{1})) // has the address proved
		w.run(100*time.Millisecond, nil)
		b.stream(Message{}, 1000, 200)
		for range 200 {
			m.sendChunks(wire.AppendAckECN(nil, 0, []wire.Range{{Lo: 0, Hi: m.largest}}, counts, 100))
			w.run(20*time.Millisecond, nil)
		}
		if b.session() == nil {
			t.Errorf("%v: the session has ended: %v", counts, b.lastClosed.Err)
			continue
		}
		if b.wantECN("impossible counts", ECNFailed); got < 200 {
			t.Errorf("%v: %d of 200 messages arrive", counts, got)
		}
	}
}

// A batch is a system call. It ends where the mark changes, which happens only while
// the path is tested.
func TestMarksCostNoBatches(t *testing.T) {
	d := newDuo(t, 1452)
	m := Message{Channel: 1, Data: make([]byte, 1000)}
	for range 20 {
		d.pass(&m, 200)
	}
	src := &d.ends[0]
	for range 100 {
		if _, err := src.s.Send(d.now, &m); err != nil {
			t.Fatal(err)
		}
	}
	batches := 0
	for out, ok := src.e.NextDatagram(d.now, d.buf); ok; out, ok = src.e.NextDatagram(d.now, d.buf) {
		if batches++; out.ECN != wire.ECT0 {
			t.Errorf("batch %d has mark %d", batches, out.ECN)
		}
	}
	if batches > 2 {
		t.Errorf("100 messages leave in %d batches", batches)
	}
}

// The mark is that of the whole batch, so one ends where the test of a path does.
func TestBatchEndsWhereTheMarkChanges(t *testing.T) {
	d := newDuo(t, 1452)
	src := &d.ends[0]
	m := Message{Channel: 1, Data: make([]byte, 1000)}
	for range 20 {
		d.pass(&m, 200) // opens the window
	}
	src.s.loss.Activate(src.s.active.rec) // as if the port were another
	d.pass(&m, 4)
	for range 40 {
		if _, err := src.s.Send(d.now, &m); err != nil {
			t.Fatal(err)
		}
	}
	var count [wire.CE + 1]int
	for out, ok := src.e.NextDatagram(d.now, d.buf); ok; out, ok = src.e.NextDatagram(d.now, d.buf) {
		count[out.ECN] += (len(out.Data) + out.Segment - 1) / out.Segment
	}
	if count[wire.ECT0] != 10 || count[wire.NotECT] < 10 {
		t.Errorf("%d datagrams are marked, %d are not", count[wire.ECT0], count[wire.NotECT])
	}
}

// What is known of the marks of a path outlasts a rest.
func TestRestKeepsWhatIsKnownOfMarks(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 10 * time.Millisecond})
	w.connect(p, q)
	w.transfer(p, 1<<20, 10*time.Second)
	w.want("both are at rest", 10*time.Second, func() bool { return p.session().resting != nil && q.session().resting != nil })
	p.wantECN("at rest", ECNCapable)
	w.transfer(p, 1<<20, 10*time.Second)
	p.wantECN("afterwards", ECNCapable)
	if s := p.session().Stats(); s.Lost > 0 {
		t.Errorf("%d lost", s.Lost)
	}
}
