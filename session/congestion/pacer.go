package congestion

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

const (
	// unpacedRTT is the RTT below which pacing would cost more timers than it
	// saves queue.
	unpacedRTT = 2 * time.Millisecond
	// burstTime is how much sending the bucket may save up, within
	// InitialWindow and maxBurst.
	burstTime = 2 * time.Millisecond
	maxBurst  = 64 << 10
	// wakeTime is how much sending is worth a timer of its own.
	wakeTime = time.Millisecond
)

// A Pacer spreads the congestion window over the round trip, a little faster
// than the window asks for so that it never is what limits (RFC 9002 §7.7).
// It is a bucket of bytes that refills at that rate. A burst as large as the
// initial window is always saved up: the RFC allows it, and without it the
// first message after a pause would wait for a rate that nobody measured. The
// zero value is ready and full.
type Pacer struct {
	bytes   int // may be negative: probes are sent whatever it holds
	at      clock.Time
	started bool
}

// OnSent takes a frame out of the bucket.
func (p *Pacer) OnSent(now clock.Time, size int, c *Controller, srtt time.Duration) {
	p.bytes = p.level(now, c, srtt) - size
	p.at, p.started = now, true
}

// Until returns when a datagram of the largest size may be sent: now, or a
// moment at which several may.
func (p *Pacer) Until(now clock.Time, c *Controller, srtt time.Duration) clock.Time {
	if srtt < unpacedRTT {
		return now
	}
	level := p.level(now, c, srtt)
	if level >= c.mds {
		return now
	}
	want := max(c.mds, min(perTime(wakeTime, c, srtt), burst(c, srtt)))
	num, den := gain(c)
	wait := mulDiv(uint64(want-level), den*uint64(srtt), num*uint64(c.window))
	return now.Add(time.Duration(min(wait, uint64(srtt))) + 1)
}

// level is what the bucket holds. It is stored only when a frame is sent: else
// asking often would round the refill away.
func (p *Pacer) level(now clock.Time, c *Controller, srtt time.Duration) int {
	full := burst(c, srtt)
	if !p.started {
		return full
	}
	return min(p.bytes+perTime(now.Sub(p.at), c, srtt), full)
}

func burst(c *Controller, srtt time.Duration) int {
	least := InitialWindow(c.mds)
	return min(max(perTime(burstTime, c, srtt), least), max(maxBurst, least))
}

// gain is the rate over window/srtt, as a fraction. In slow start the window
// doubles within the round trip, so the rate must.
func gain(c *Controller) (num, den uint64) {
	if c.InSlowStart() {
		return 2, 1
	}
	return 5, 4
}

// perTime is how many bytes the rate sends in d.
func perTime(d time.Duration, c *Controller, srtt time.Duration) int {
	num, den := gain(c)
	n := mulDiv(uint64(max(d, 0)), num*uint64(c.window), den*uint64(max(srtt, 1)))
	return int(min(n, MaxWindow))
}
