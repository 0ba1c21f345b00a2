package session

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestTimerHeapYieldsTheEarliest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var h timerHeap
	all := make([]*Session, 50)
	for i := range all {
		all[i] = &Session{deadline: Never}
	}
	for range 20_000 {
		s := all[rng.IntN(len(all))]
		s.deadline = Never
		if rng.IntN(4) > 0 {
			s.deadline = Time(rng.IntN(1000))
		}
		h.fix(s)
		first := slices.MinFunc(all, func(a, b *Session) int { return int(min(a.deadline, 5000) - min(b.deadline, 5000)) })
		switch {
		case len(h) == 0 && first.deadline != Never:
			t.Fatal("heap is empty, a deadline is set")
		case len(h) > 0 && h[0].deadline != first.deadline:
			t.Fatalf("heap says %d, the earliest is %d", h[0].deadline, first.deadline)
		}
	}
}

func TestBudgetRefillsAtItsRate(t *testing.T) {
	b := budget{perSecond: 50, burst: 5}
	taken := 0
	for range 100 {
		if b.take(0) {
			taken++
		}
	}
	for ms := range 1000 {
		if b.take(Time(ms) * Time(time.Millisecond)) {
			taken++
		}
	}
	if taken < 53 || taken > 56 {
		t.Fatalf("%d taken, want a burst of 5 and 50 in a second", taken)
	}
}
