// Package clock has the one notion of time that the session core uses.
package clock

import (
	"math"
	"time"
)

// A Time is a moment on the caller's monotonic clock, in nanoseconds. The core
// never reads a clock: every Time comes in as an argument, and must not go
// backwards from one call to the next.
type Time int64

// Never is later than every other Time: no timer is running.
const Never Time = math.MaxInt64

// Add returns t moved by d; Never stays Never.
func (t Time) Add(d time.Duration) Time {
	if t == Never {
		return Never
	}
	return t + Time(d)
}

// Sub returns the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }
