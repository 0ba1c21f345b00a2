package wiretest

import (
	"math/rand/v2"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Link says how one direction of a wire treats datagrams. The zero value is
// perfect: no delay, no loss, no limit. Probabilities are from 0 to 1.
type Link struct {
	Delay  time.Duration // one way
	Jitter time.Duration // up to this much more, never changing the order

	Loss  float64 // fraction lost in the long run
	Burst float64 // mean length of a run of losses, and of corruptions (Gilbert's model); up to 1: each is independent

	Reorder   float64       // fraction held back by ReorderBy, so that later ones overtake
	ReorderBy time.Duration // if zero, 10 ms

	Duplicate float64 // fraction that arrives twice
	Corrupt   float64 // fraction in which one bit is flipped

	Rate  int // bits a second, IP and UDP headers included; zero: no limit
	Queue int // bytes that may wait for the rate, then the tail is dropped; zero: no limit
	Mark  int // bytes that wait from which on what is ECN-capable is marked CE (RFC 3168); zero: never

	MTU       int  // largest IP packet; larger ones vanish; zero: no limit
	Blackhole bool // nothing passes

	// Remark, if not nil, changes the ECN codepoint of every datagram: it is a
	// router that clears it, sets it or takes it for something else.
	Remark func(wire.ECN) wire.ECN

	// Drop, if not nil, sees every datagram before the other faults do and says
	// which to lose. It must not keep or change data.
	Drop func(at time.Duration, data []byte) bool
}

// IP and UDP headers, which count against a rate and an MTU.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
)

// A Pipe is one direction of the wire of a Host or a NAT. The fields of its Link
// may be changed at any time; datagrams already under way are not affected.
type Pipe struct {
	Link
	name string
	rng  *rand.Rand

	free               time.Duration // when the last queued datagram has left the queue
	arrival            time.Duration // of the latest one that was not held back: order is kept
	losing, corrupting gilbert
}

// A transit is the way of one copy of a datagram through a pipe.
type transit struct {
	at      time.Duration // arrival at the other end
	corrupt bool
}

// pass puts a datagram of size bytes (headers included) into the pipe. It
// returns what comes out, no or one or two copies, and the fate if none.
func (p *Pipe) pass(now time.Duration, data []byte, size int) (out [2]transit, n int, fate Fate) {
	if p.Drop != nil && p.Drop(now, data) {
		return out, 0, Lost
	}
	switch {
	case p.Blackhole:
		return out, 0, Blackholed
	case p.MTU > 0 && size > p.MTU:
		return out, 0, TooBig
	case p.faulty(&p.losing, p.Loss):
		return out, 0, Lost
	}
	left, ok := p.leave(now, size)
	if !ok {
		return out, 0, QueueFull
	}
	out[0] = p.travel(left)
	if p.hit(p.Duplicate) {
		out[1] = p.travel(left)
		return out, 2, Delivered
	}
	return out, 1, Delivered
}

// remark returns the ECN codepoint of a datagram that joins the queue now.
func (p *Pipe) remark(now time.Duration, e wire.ECN) wire.ECN {
	if p.Remark != nil {
		e = p.Remark(e)
	}
	if p.Mark > 0 && e != wire.NotECT && p.waiting(now) >= p.Mark {
		return wire.CE
	}
	return e
}

// waiting returns how many bytes are in the queue.
func (p *Pipe) waiting(now time.Duration) int {
	return int(int64(max(p.free-now, 0)) * int64(p.Rate) / 8 / int64(time.Second))
}

// leave returns when a datagram that joins the queue now has left it.
func (p *Pipe) leave(now time.Duration, size int) (at time.Duration, ok bool) {
	if p.Rate == 0 {
		return now, true
	}
	if p.Queue > 0 && p.waiting(now)+size > p.Queue {
		return 0, false
	}
	p.free = max(now, p.free) + time.Duration(int64(size)*8*int64(time.Second)/int64(p.Rate))
	return p.free, true
}

func (p *Pipe) travel(left time.Duration) transit {
	t := transit{at: left + p.Delay, corrupt: p.faulty(&p.corrupting, p.Corrupt)}
	if p.Jitter > 0 {
		t.at += time.Duration(p.rng.Int64N(int64(p.Jitter)))
	}
	if p.hit(p.Reorder) {
		by := p.ReorderBy
		if by == 0 {
			by = 10 * time.Millisecond
		}
		t.at += by
		return t
	}
	if p.Jitter > 0 {
		t.at = max(t.at, p.arrival)
	}
	p.arrival = t.at
	return t
}

// gilbert is the state of Gilbert's two-state model of a fault: true during a run.
type gilbert bool

// faulty steps a fault that strikes the fraction rate in the long run, in runs of
// mean length Burst.
func (p *Pipe) faulty(bad *gilbert, rate float64) bool {
	switch {
	case rate <= 0 || p.Burst <= 1:
		return p.hit(rate)
	case bool(*bad):
		*bad = gilbert(!p.hit(1 / p.Burst))
	default:
		*bad = gilbert(p.hit(rate / (1 - rate) / p.Burst))
	}
	return bool(*bad)
}

// hit draws a random number only where a fault is possible, so that a fault
// that is off does not disturb the others.
func (p *Pipe) hit(probability float64) bool {
	return probability > 0 && p.rng.Float64() < probability
}
