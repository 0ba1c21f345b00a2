package congestion

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

const (
	// unpacedRTT is the RTT below which pacing would cost more timers than it
	// saves queue.
	unpacedRTT = 2 * time.Millisecond
	// burstTime is how much sending the bucket may save up.
	burstTime = 2 * time.Millisecond
	minBurst  = 2 // datagrams
	// lateMax is how late a timer may be for what was due meanwhile to be made good:
	// a busy machine would be a slow path otherwise.
	lateMax = 20 * time.Millisecond
	// wakeTime is how much sending is worth a timer of its own, up to maxBurst.
	wakeTime = time.Millisecond
	maxBurst = 64 << 10
)

// A Pacer spreads what may be sent over the round trip at the controller's rate.
// It is a bucket of bytes that refills at that rate and holds a burst, so that
// what is urgent never finds a long queue ahead. When nothing is in flight it
// holds an initial window: RFC 9002 §7.7 allows that, and without it the first
// message after a pause would wait for a rate that nobody measured. The zero
// value is ready.
type Pacer struct {
	bytes int // may be negative: probes are sent whatever it holds
	at    clock.Time
	due   clock.Time // what waits was to be sent then; 0 if nothing waits
}

// OnSent takes a frame out of the bucket. inFlight is without it.
func (p *Pacer) OnSent(now clock.Time, size, inFlight int, c *Controller, srtt time.Duration) {
	if !p.current(now, inFlight) {
		p.bytes = p.level(now, inFlight, c, c.Rate(srtt))
	}
	p.bytes -= size
	if c.unpaced(srtt) { // it owes nothing, should the path become longer
		p.bytes = max(p.bytes, 0)
	}
	p.at, p.due = now, 0
}

// current reports whether bytes is what the bucket holds: a datagram was sent at this
// moment.
func (p *Pacer) current(now clock.Time, inFlight int) bool { return p.at == now && inFlight > 0 }

// Until returns when a datagram of the largest size may be sent: now, or a
// moment at which several may. If something waits for that and is sent later, what it
// missed is made good.
func (p *Pacer) Until(now clock.Time, inFlight int, c *Controller, srtt time.Duration, waits bool) clock.Time {
	if c.unpaced(srtt) || p.current(now, inFlight) && p.bytes >= c.mds {
		return now
	}
	rate := c.Rate(srtt)
	level := p.level(now, inFlight, c, rate)
	if level >= c.mds {
		return now
	}
	if !waits {
		p.due = 0
	} else if p.due == 0 || p.due > now {
		p.due = now.Add(time.Duration(mulDiv(uint64(c.mds-level), uint64(time.Second), max(rate, 1))))
	}
	want := max(c.mds, min(perTime(wakeTime, rate), maxBurst), c.train())
	wait := mulDiv(uint64(want-level), uint64(time.Second), max(rate, 1))
	return now.Add(time.Duration(min(wait, uint64(srtt))) + 1)
}

// level is what the bucket holds. It is stored only when a frame is sent: else
// asking often would round the refill away.
func (p *Pacer) level(now clock.Time, inFlight int, c *Controller, rate uint64) int {
	save := burstTime
	if p.due != 0 {
		save += min(max(now.Sub(p.due), 0), lateMax)
	}
	full := max(perTime(save, rate), minBurst*c.mds, c.train())
	level := p.bytes
	if level < full {
		level = min(level+perTime(now.Sub(p.at), rate), full)
	}
	if inFlight == 0 {
		level = max(level, InitialWindow(c.mds))
	}
	return level
}

// perTime is how many bytes the rate sends in d.
func perTime(d time.Duration, rate uint64) int {
	return int(min(mulDiv(uint64(max(d, 0)), rate, uint64(time.Second)), math.MaxInt32))
}
