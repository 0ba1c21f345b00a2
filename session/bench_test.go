package session

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A duo is two endpoints joined in memory, without any network between them:
// what the core alone costs.
type duo struct {
	tb   testing.TB
	now  Time
	ends [2]duoEnd
	buf  []byte
	got  int // messages received
	size int // of the last one
	into []byte
}

type duoEnd struct {
	e    *Endpoint
	s    *Session
	path Path // to the other end
}

// newDuo returns two endpoints with a session between them.
func newDuo(tb testing.TB, mtu int) *duo {
	d := &duo{tb: tb, now: 1, buf: make([]byte, 64<<10), into: make([]byte, 1<<20)}
	for i := range d.ends {
		var seed [32]byte
		seed[1] = byte(i + 1)
		e, err := NewEndpoint(&Config{Key: seed, MaxDatagram: mtu}, seed)
		if err != nil {
			tb.Fatal(err)
		}
		other := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 - i)}), 4000)
		d.ends[i] = duoEnd{e: e, path: Path{Remote: other}}
	}
	d.dial()
	return d
}

func (d *duo) dial() {
	a, b := &d.ends[0], &d.ends[1]
	s, err := a.e.Dial(d.now, DialOptions{Peer: b.e.ID(), Paths: []Path{a.path}})
	if err != nil {
		d.tb.Fatal(err)
	}
	a.s = s
	d.settle()
	if b.s == nil {
		d.tb.Fatal("no session")
	}
}

// settle carries datagrams to and fro until both ends are silent.
func (d *duo) settle() {
	for moved := true; moved; {
		moved = d.carry(0) || d.carry(1)
	}
}

// carry takes what one end has to send to the other.
func (d *duo) carry(from int) bool {
	src, dst := &d.ends[from], &d.ends[1-from]
	moved := false
	for {
		out, ok := src.e.NextDatagram(d.now, d.buf)
		if !ok {
			break
		}
		moved = true
		for b := out.Data; len(b) > 0; {
			n := min(out.Segment, len(b))
			dst.e.HandleDatagram(d.now, Path{Remote: d.ends[1-from].path.Remote}, out.ECN, b[:n])
			b = b[n:]
		}
	}
	for i := range d.ends {
		d.events(&d.ends[i])
	}
	return moved
}

func (d *duo) events(end *duoEnd) {
	for ev, ok := end.e.NextEvent(); ok; ev, ok = end.e.NextEvent() {
		switch ev.Kind {
		case Established:
			end.s = ev.Session
		case Readable:
			for {
				n, _, ok, err := ev.Session.RecvInto(d.now, ev.Channel, d.into)
				if err != nil {
					d.tb.Fatal(err)
				}
				if !ok {
					break
				}
				d.got++
				d.size = n
			}
		case Closed:
			d.tb.Fatalf("closed: %v", ev.Err)
		}
	}
}

// pass sends count messages from the first end and waits until the second has
// them all. Time goes on as if the network took a little.
func (d *duo) pass(m *Message, count int) {
	want := d.got + count
	for rounds, sent := 0, 0; d.got < want; rounds++ {
		if rounds > 100*count+1000 {
			d.tb.Fatalf("%d of %d messages do not arrive", want-d.got, count)
		}
		for sent < count {
			if _, err := d.ends[0].s.Send(d.now, m); err != nil {
				break
			}
			sent++
		}
		d.now += Time(20 * time.Microsecond)
		d.settle()
		if d.got < want && sent == count {
			d.now += Time(30 * time.Millisecond) // an acknowledgement is held back
			for i := range d.ends {
				d.ends[i].e.HandleTimeout(d.now)
			}
			d.settle()
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, mode := range []wire.Mode{wire.Reliable, wire.Unordered, wire.Unreliable, wire.Sequenced} {
		d := newDuo(t, 0)
		m := Message{Channel: 1, Mode: mode, Data: make([]byte, 1000)}
		for range 2000 {
			d.pass(&m, 1)
		}
		if n := testing.AllocsPerRun(500, func() { d.pass(&m, 1) }); n != 0 {
			t.Errorf("%v: %v allocations for a message", mode, n)
		}
	}
}

// One full datagram of a reliable message, sent, received, acknowledged.
func BenchmarkDatagram(b *testing.B) {
	d := newDuo(b, 1200)
	m := Message{Channel: 1, Data: make([]byte, 1160)}
	d.pass(&m, 1000)
	b.ReportAllocs()
	b.SetBytes(1200)
	for b.Loop() {
		d.pass(&m, 1)
	}
}

func BenchmarkPair(b *testing.B) {
	for _, c := range []struct {
		name      string
		size, run int
		mtu       int
		mode      wire.Mode
	}{
		{"64KiB/mtu1452", 64 << 10, 8, 1452, wire.Reliable},
		{"64KiB/mtu65507", 64 << 10, 8, 0, wire.Reliable},
		{"1200B/mtu1452", 1200, 100, 1452, wire.Reliable},
		{"64B/mtu1452", 64, 1000, 1452, wire.Reliable},
		{"64B/unreliable/mtu1452", 64, 1000, 1452, wire.Unreliable},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := newDuo(b, c.mtu)
			m := Message{Channel: 1, Mode: c.mode, Data: make([]byte, c.size)}
			for range 20 {
				d.pass(&m, c.run)
			}
			b.ReportAllocs()
			b.SetBytes(int64(c.size * c.run))
			start := d.got
			for b.Loop() {
				d.pass(&m, c.run)
			}
			b.ReportMetric(float64(d.got-start)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// A lone message there and one back, both sides idle between them.
func BenchmarkPairEcho64B(b *testing.B) {
	d := newDuo(b, 1452)
	m := Message{Channel: 1, Data: make([]byte, 64)}
	trip := func() {
		want := d.got + 2
		for i := range d.ends {
			if _, err := d.ends[i].s.Send(d.now, &m); err != nil {
				b.Fatal(err)
			}
			d.now += Time(20 * time.Microsecond)
			d.settle()
		}
		if d.got != want {
			b.Fatalf("%d of 2 messages did not arrive", want-d.got)
		}
	}
	for range 1000 {
		trip()
	}
	b.ReportAllocs()
	for b.Loop() {
		trip()
	}
}

func BenchmarkHandshake(b *testing.B) {
	d := newDuo(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		d.ends[0].s.Close(d.now, 0, "")
		d.settleClosed()
		d.dial()
	}
}

// settleClosed lets a closed session disappear.
func (d *duo) settleClosed() {
	for i := range d.ends {
		d.drainQuietly(i)
	}
	for range 8 {
		d.now += Time(time.Second)
		for i := range d.ends {
			d.ends[i].e.HandleTimeout(d.now)
			d.drainQuietly(i)
		}
	}
	d.ends[0].s, d.ends[1].s = nil, nil
}

func (d *duo) drainQuietly(from int) {
	src, dst := &d.ends[from], &d.ends[1-from]
	for out, ok := src.e.NextDatagram(d.now, d.buf); ok; out, ok = src.e.NextDatagram(d.now, d.buf) {
		dst.e.HandleDatagram(d.now, dst.path, out.ECN, out.Data)
	}
	for i := range d.ends {
		for _, ok := d.ends[i].e.NextEvent(); ok; _, ok = d.ends[i].e.NextEvent() {
		}
	}
}
