package recovery

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A bottleneck is a link with a drop-tail queue that several flows share: what
// congestion control is about, without sessions and sealing.
type bottleneck struct {
	tb    testing.TB
	rate  int64 // bits a second
	queue int   // bytes
	loss  float64
	rng   *rand.Rand

	now    clock.Time
	free   clock.Time // when the line is
	events []event    // a heap
	seq    uint64
	flows  []*linkFlow

	onTick func() // every 10 ms
}

// A linkFlow sends to a receiver of its own across the bottleneck.
type linkFlow struct {
	l     *bottleneck
	delay time.Duration // one way
	start time.Duration
	s     State
	p     *Path
	acks  Acks
	r     Result
	// limit, if not nil, is how many bytes the application has by now.
	limit func(since time.Duration) int

	sent     int
	received int // bytes, by the receiver
	timer    clock.Time
	ackTimer clock.Time
	buf      []byte
}

type event struct {
	at   clock.Time
	seq  uint64
	what func()
}

const linkEpoch = clock.Time(time.Hour)

func newBottleneck(tb testing.TB, mbit float64, queue int, loss float64) *bottleneck {
	return &bottleneck{tb: tb, rate: int64(mbit * 1e6), queue: queue, loss: loss,
		rng: rand.New(rand.NewPCG(1, 2)), now: linkEpoch, free: linkEpoch}
}

const linkSize = 1452 // of a frame; packets are 28 bytes longer

func (l *bottleneck) flow(a congestion.Algorithm, rtt, start time.Duration) *linkFlow {
	f := &linkFlow{l: l, delay: rtt / 2, start: start, p: new(Path), timer: clock.Never, ackTimer: clock.Never}
	f.s.Init(uint64(len(l.flows) + 1))
	f.s.skip.pn = 1 << 60
	f.p.Init(a, linkSize)
	f.p.RTT.Update(rtt, 0, 0)
	f.s.Activate(f.p)
	l.flows = append(l.flows, f)
	l.at(linkEpoch.Add(start), f.drive)
	return f
}

func (l *bottleneck) at(t clock.Time, what func()) {
	l.seq++
	h := append(l.events, event{t, l.seq, what})
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
	l.events = h
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (l *bottleneck) pop() event {
	h := l.events
	e, n := h[0], len(h)-1
	h[0] = h[n]
	h[n] = event{}
	h = h[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(h[i]) {
			break
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
	l.events = h
	return e
}

// run lets time pass.
func (l *bottleneck) run(d time.Duration) {
	end := l.now.Add(d)
	if l.onTick != nil {
		for t := l.now.Add(10 * ms); t < end; t = t.Add(10 * ms) {
			l.at(t, l.onTick)
		}
	}
	for len(l.events) > 0 && l.events[0].at <= end {
		e := l.pop()
		l.now = e.at
		e.what()
	}
	l.now = end
}

// queued is how long a packet that joins the queue now has to wait.
func (l *bottleneck) queued() time.Duration { return max(l.free.Sub(l.now), 0) }

func (l *bottleneck) pass(size int) (at clock.Time, ok bool) {
	size += 28
	if l.rng.Float64() < l.loss {
		return 0, false
	}
	if int(int64(l.queued())*l.rate/8/int64(time.Second))+size > l.queue {
		return 0, false
	}
	l.free = max(l.free, l.now).Add(time.Duration(int64(size) * 8 * int64(time.Second) / l.rate))
	return l.free, true
}

// drive sends what the flow may send and sets its timer.
func (f *linkFlow) drive() {
	now := f.l.now
	if f.s.Deadline() <= now {
		if f.s.OnTimeout(now, &f.r) {
			f.send(now)
			f.send(now)
		}
	}
	next := clock.Never
	for f.s.CanSend(f.p, linkSize) {
		if f.limit != nil && f.sent >= f.limit(now.Sub(linkEpoch)-f.start) {
			f.p.OnLimited(false)
			break
		}
		if at := f.s.PaceUntil(now, f.p, true); at > now {
			next = at
			break
		}
		f.send(now)
	}
	next = min(next, f.s.Deadline())
	if next != clock.Never && (next < f.timer || f.timer <= now) {
		f.timer = next
		f.l.at(next, func() {
			if f.timer <= f.l.now {
				f.drive()
			}
		})
	}
}

func (f *linkFlow) send(now clock.Time) {
	pn := f.s.NextPN()
	f.s.OnSent(now, f.p, pn, linkSize, AckEliciting, nil)
	f.sent += linkSize
	if at, ok := f.l.pass(linkSize); ok {
		f.l.at(at.Add(f.delay), func() { f.arrive(pn) })
	}
}

func (f *linkFlow) arrive(pn uint64) {
	f.received += linkSize
	f.acks.OnReceived(f.l.now, pn, wire.NotECT, true, false)
	f.acknowledge()
}

func (f *linkFlow) acknowledge() {
	now := f.l.now
	if !f.acks.Due(now) {
		if at := f.acks.Deadline(); at != clock.Never && f.ackTimer <= now {
			f.ackTimer = at
			f.l.at(at, f.acknowledge)
		} else if f.ackTimer == clock.Never && at != clock.Never {
			f.ackTimer = at
			f.l.at(at, f.acknowledge)
		}
		return
	}
	f.buf = f.acks.Append(now, f.buf[:0], 1200)
	if f.l.rng.Float64() < f.l.loss {
		return
	}
	var c wire.Chunk
	if _, err := wire.ConsumeChunk(f.buf, &c); err != nil {
		f.l.tb.Fatal(err)
	}
	b := append([]byte(nil), f.buf...)
	f.l.at(now.Add(f.delay), func() {
		var c wire.Chunk
		if _, err := wire.ConsumeChunk(b, &c); err != nil {
			f.l.tb.Fatal(err)
		}
		if err := f.s.OnAck(f.l.now, &c.Ack, MaxAckDelay, &f.r); err != nil {
			f.l.tb.Fatal(err)
		}
		f.drive()
	})
}
