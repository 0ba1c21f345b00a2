package netmon

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
)

const (
	// gatherTime is how long after an event the network is looked at: what belongs
	// together, an address and its route, comes in several events.
	gatherTime = 10 * time.Millisecond
	// quietTime is how long nothing may have changed before a loss is told.
	quietTime = 250 * time.Millisecond
	// settleTimeMax is the longest that a change waits, however unquiet it is. With
	// the time until a look it makes 1 s at most.
	settleTimeMax = 950 * time.Millisecond
)

// promptRate is how often changes may be told at once. A network that goes to
// and fro faster is told of like a loss.
var promptRate = limit.Rate{PerSecond: 2, Burst: 8}

// A settling network is one that may still change: it decides when a difference
// from what was last told is worth telling.
type settling struct {
	told   Snapshot
	seen   Snapshot     // the latest
	since  time.Time    // when seen began to differ from told; zero while they are equal
	due    time.Time    // when to tell; zero while they are equal
	epoch  time.Time    // zero of the limiter's clock
	prompt limit.Bucket // of changes told at once
}

func settled(now time.Time, s Snapshot) settling {
	return settling{told: s, seen: s, epoch: now}
}

// look takes note of the network as it is now.
func (t *settling) look(now time.Time, s Snapshot) {
	if s.Equal(t.seen) {
		return // nothing new: it goes on being quiet
	}
	opens := s.opens(t.seen)
	t.seen = s
	if s.Equal(t.told) {
		t.since, t.due = time.Time{}, time.Time{}
		return
	}
	if t.since.IsZero() {
		t.since = now
	}
	t.due = now.Add(quietTime)
	if latest := t.since.Add(settleTimeMax); latest.Before(t.due) {
		t.due = latest
	}
	if opens && t.prompt.Take(clock.Time(now.Sub(t.epoch)), promptRate, 1) {
		t.due = now
	}
}

// tell returns what changed since it was last called, if it is time to tell.
func (t *settling) tell(now time.Time) (c Change, ok bool) {
	if t.due.IsZero() || now.Before(t.due) {
		return c, false
	}
	return t.flush(Moved), true
}

// flush returns what changed, at once.
func (t *settling) flush(k Kind) Change {
	c := Change{Kind: k, Before: t.told, After: t.seen}
	t.told, t.since, t.due = t.seen, time.Time{}, time.Time{}
	return c
}
