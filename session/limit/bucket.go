// Package limit has token buckets in the caller's time: how often something may
// happen, alone or per key. It reads no clock and starts no timer, so that
// protocol logic built on it stays deterministic.
package limit

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A Rate is what a bucket allows: Burst tokens at once, refilled at PerSecond.
type Rate struct {
	PerSecond float64
	Burst     float64
}

// A Bucket holds the tokens of one subject. The zero value is full.
type Bucket struct {
	used float64    // tokens taken and not yet refilled
	at   clock.Time // when used was true
}

// Take removes n tokens and reports whether they were there. If they were not,
// it removes none.
func (b *Bucket) Take(now clock.Time, r Rate, n float64) bool {
	b.refill(now, r)
	if b.used+n > r.Burst+tolerance {
		return false
	}
	b.used += n
	return true
}

// tolerance is what the sum of many refills may be wrong by.
const tolerance = 1e-6

// Wait returns how long it takes until n tokens are there, if none are taken
// until then. It returns zero only if Take would succeed now.
func (b *Bucket) Wait(now clock.Time, r Rate, n float64) time.Duration {
	b.refill(now, r)
	missing := b.used + n - r.Burst
	if missing <= tolerance {
		return 0
	}
	return time.Duration(math.Ceil(missing / r.PerSecond * float64(time.Second)))
}

// full reports whether the bucket says nothing that a new one would not.
func (b *Bucket) full(now clock.Time, r Rate) bool {
	b.refill(now, r)
	return b.used == 0
}

func (b *Bucket) refill(now clock.Time, r Rate) {
	if now > b.at {
		b.used = max(0, b.used-now.Sub(b.at).Seconds()*r.PerSecond)
		b.at = now
	}
}
