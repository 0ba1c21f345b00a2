package session

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTimerHeapYieldsTheEarliest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var h timerHeap
	all := make([]*Session, 200)
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
		case len(h) > 0 && h[0].at != first.deadline:
			t.Fatalf("heap says %d, the earliest is %d", h[0].at, first.deadline)
		}
	}
}
