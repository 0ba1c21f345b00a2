package congestion

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A Memory is what is left of a controller at rest.
type Memory struct {
	window   int32
	ssthresh int32 // the largest number if there is none
	rate     int32 // of BBR, in units of 256 bytes a second; 0 if it was not known yet
	told     int32 // by a train, in such units, if the rate was known; 0 if none has
}

// Rest returns what is to be remembered of a path that carries nothing. It
// reports false while there is more than that: CUBIC's window must have decayed to
// where a path begins, or have been smaller anyway.
func (c *Controller) Rest(now clock.Time, pto time.Duration) (m Memory, ok bool) {
	if c.algorithm == BBR {
		return c.bbr.rest(), c.sentAt == longAgo || now.Sub(c.sentAt) > pto
	}
	if c.sentAt != longAgo {
		idle := now.Sub(c.sentAt)
		if floor := InitialWindow(c.mds); c.window > floor && (idle <= pto || c.window>>min(idle/pto, 30) > floor) {
			return m, false
		}
		c.decay(idle, pto)
	}
	return Memory{window: int32(c.window), ssthresh: int32(min(c.ssthresh, math.MaxInt32))}, true
}

// Wake makes c, which Init has prepared, go on with what Rest returned.
func (c *Controller) Wake(m Memory) {
	if c.algorithm == BBR {
		c.bbr.wake(m)
		return
	}
	c.window, c.ssthresh = max(int(m.window), minWindow(c.mds)), int(m.ssthresh)
	if m.ssthresh > MaxWindow {
		c.ssthresh = noSSThresh
	}
}

// rest keeps the rate, and what part of the path that is. The least RTT is known
// elsewhere, and the rest learnt again.
func (b *bbr) rest() (m Memory) {
	if b.filled {
		m.rate = restRate(max(b.rates[0], b.rates[1]))
		m.told = restRate(b.train.rate)
	}
	return m
}

func restRate(r uint64) int32 { return int32(min(r/256, math.MaxInt32)) }

func (b *bbr) wake(m Memory) {
	if m.rate > 0 {
		b.filled = true
		b.rates[0] = uint64(m.rate) * 256
		b.train.rate = uint64(m.told) * 256
		b.phase = cruise
	}
}
