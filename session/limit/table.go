package limit

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A Table has one bucket for each key that was seen lately. Buckets that have
// refilled are forgotten. When the table is full of others, a new key is
// refused: to admit it would let whoever can invent keys reset the buckets of
// everyone else.
type Table[K comparable] struct {
	rate  Rate
	max   int
	byKey map[K]*Bucket
	swept clock.Time // when refilled buckets were last removed
}

// sweepInterval bounds the work of a full table: one pass over it in so long.
const sweepInterval = time.Second

// NewTable returns a table of at most max keys, each allowed rate.
func NewTable[K comparable](rate Rate, max int) *Table[K] {
	return &Table[K]{rate: rate, max: max, byKey: make(map[K]*Bucket)}
}

// Take removes n tokens from the bucket of key and reports whether they were
// there.
func (t *Table[K]) Take(now clock.Time, key K, n float64) bool {
	b := t.bucket(now, key)
	return b != nil && b.Take(now, t.rate, n)
}

// Wait returns how long key has to wait for n tokens.
func (t *Table[K]) Wait(now clock.Time, key K, n float64) time.Duration {
	if b := t.byKey[key]; b != nil {
		return b.Wait(now, t.rate, n)
	}
	if len(t.byKey) >= t.max {
		return sweepInterval
	}
	return 0
}

// Len returns the number of buckets held.
func (t *Table[K]) Len() int { return len(t.byKey) }

func (t *Table[K]) bucket(now clock.Time, key K) *Bucket {
	if b := t.byKey[key]; b != nil {
		return b
	}
	if len(t.byKey) >= t.max {
		t.sweep(now)
	}
	if len(t.byKey) >= t.max {
		return nil
	}
	b := &Bucket{at: now}
	t.byKey[key] = b
	return b
}

// sweep removes the buckets that have refilled.
func (t *Table[K]) sweep(now clock.Time) {
	if now.Sub(t.swept) < sweepInterval && t.swept != 0 {
		return
	}
	t.swept = now
	for key, b := range t.byKey {
		if b.full(now, t.rate) {
			delete(t.byKey, key)
		}
	}
}
