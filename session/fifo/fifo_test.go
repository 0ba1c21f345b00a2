package fifo

import (
	"math/rand/v2"
	"testing"
)

func TestQueueKeepsOrderAsItGrows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q Queue[int]
	next, want := 0, 0
	for range 10_000 {
		if rng.IntN(5) < 3 {
			q.Push(next)
			next++
			continue
		}
		first, _ := q.Peek()
		if v, ok := q.Pop(); ok != (want < next) || ok && (v != want || first != v) {
			t.Fatalf("popped %d, %v after peeking %d; want %d of %d", v, ok, first, want, next)
		} else if ok {
			want++
		}
		if q.Len() != next-want {
			t.Fatalf("length %d, want %d", q.Len(), next-want)
		}
	}
}
