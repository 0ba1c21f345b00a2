package session

import "github.com/seed-67dce94e/holdfast/session/clock"

// A Time is a moment on the caller's monotonic clock, in nanoseconds.
type Time = clock.Time

// Never is later than every other Time: no timer is running.
const Never = clock.Never
