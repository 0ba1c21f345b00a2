package limit

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

func TestBucketAllowsBurstThenRate(t *testing.T) {
	var b Bucket
	r := Rate{PerSecond: 2, Burst: 5}
	now := clock.Time(time.Hour)
	taken := 0
	for range 1000 { // 100 s
		if b.Take(now, r, 1) {
			taken++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if taken < 203 || taken > 205 {
		t.Errorf("%d taken in 100 s, want 5 + 2 a second", taken)
	}
}

func TestBucketSaysHowLongToWait(t *testing.T) {
	var b Bucket
	r := Rate{PerSecond: 4, Burst: 2}
	if wait := b.Wait(0, r, 2); wait != 0 {
		t.Errorf("full bucket: wait %v", wait)
	}
	b.Take(0, r, 2)
	wait := b.Wait(0, r, 1)
	if wait != 250*time.Millisecond {
		t.Errorf("wait %v, want 250ms", wait)
	}
	if b.Take(clock.Time(wait-time.Millisecond), r, 1) || !b.Take(clock.Time(wait), r, 1) {
		t.Error("the token did not come when Wait said")
	}
}

func TestBucketThatRefusesAsksToWait(t *testing.T) {
	var b Bucket
	r := Rate{PerSecond: 3, Burst: 7}
	now := clock.Time(0)
	for range 100_000 {
		now = now.Add(7777777)
		if wait := b.Wait(now, r, 1); b.Take(now, r, 1) != (wait == 0) {
			t.Fatalf("at %v it asks to wait for %v", now, wait)
		}
	}
}

func TestTableForgetsOnlyKeysThatRefilled(t *testing.T) {
	table := NewTable[int](Rate{PerSecond: 1, Burst: 1}, 10)
	for key := range 10 {
		table.Take(0, key, 1)
	}
	now := clock.Time(500 * time.Millisecond)
	if table.Take(now, 10, 1) {
		t.Error("a new key was let in at the expense of another's limit")
	}
	now = clock.Time(3 * time.Second)
	if !table.Take(now, 10, 1) || table.Len() > 10 {
		t.Errorf("no room after all refilled: %d keys", table.Len())
	}
	for key := range 100000 {
		table.Take(now, key, 1)
	}
	if table.Len() > 10 {
		t.Errorf("%d keys, want at most 10", table.Len())
	}
}
