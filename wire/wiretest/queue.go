package wiretest

import "time"

// A queue is a binary heap of arrivals, earliest first, and among those of the
// same time in the order of pushing.
type queue struct {
	heap []arrival
	seq  uint64
}

type arrival struct {
	at  time.Duration
	seq uint64
	f   *flight
	hop hop
}

func (a *arrival) before(b *arrival) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *queue) push(at time.Duration, f *flight, h hop) {
	q.seq++
	q.heap = append(q.heap, arrival{at: at, seq: q.seq, f: f, hop: h})
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.heap[i].before(&q.heap[parent]) {
			return
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

// first returns when the earliest arrival is due.
func (q *queue) first() (at time.Duration, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// pop takes the earliest arrival out of a queue that is not empty.
func (q *queue) pop() arrival {
	top, last := q.heap[0], len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap[last] = arrival{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if right := child + 1; right < last && q.heap[right].before(&q.heap[child]) {
			child = right
		}
		if !q.heap[child].before(&q.heap[i]) {
			return top
		}
		q.heap[i], q.heap[child] = q.heap[child], q.heap[i]
		i = child
	}
}
