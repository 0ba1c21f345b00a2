package session

import "time"

// A budget is a token bucket.
type budget struct {
	perSecond, burst int64
	tokens           int64 // in nanoseconds' worth: one token is 1e9
	last             Time
	started          bool
}

func (b *budget) take(now Time) bool {
	if !b.started {
		b.started, b.tokens, b.last = true, b.burst*int64(time.Second), now
	}
	elapsed := min(int64(now-b.last), int64(time.Hour))
	b.tokens = min(b.tokens+elapsed*b.perSecond, b.burst*int64(time.Second))
	b.last = now
	if b.tokens < int64(time.Second) {
		return false
	}
	b.tokens -= int64(time.Second)
	return true
}
