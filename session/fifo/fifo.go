// Package fifo has the queue of the session core.
package fifo

// A Queue is first in, first out, in a ring that doubles when it is full and
// keeps its room. The zero value is empty.
type Queue[T any] struct {
	ring []T // its length is a power of two
	head int
	n    int
}

// Len returns how many values are in the queue.
func (q *Queue[T]) Len() int { return q.n }

// Push adds v at the end.
func (q *Queue[T]) Push(v T) {
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = v
	q.n++
}

func (q *Queue[T]) grow() {
	ring := make([]T, max(8, 2*len(q.ring)))
	copied := copy(ring, q.ring[q.head:])
	copy(ring[copied:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

// Peek returns the first value and leaves it there.
func (q *Queue[T]) Peek() (v T, ok bool) {
	if q.n == 0 {
		return v, false
	}
	return q.ring[q.head], true
}

// Pop takes the first value out.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if q.n == 0 {
		return v, false
	}
	var zero T
	v, q.ring[q.head] = q.ring[q.head], zero
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return v, true
}
