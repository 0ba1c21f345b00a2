package session

import "time"

// A queue is a first-in first-out ring that grows as needed and keeps its room.
type queue[T any] struct {
	buf  []T // len is a power of two
	head int
	n    int
}

func (q *queue[T]) len() int { return q.n }

func (q *queue[T]) push(v T) {
	if q.n == len(q.buf) {
		grown := make([]T, max(16, 2*len(q.buf)))
		for i := range q.n {
			grown[i] = q.buf[(q.head+i)&(len(q.buf)-1)]
		}
		q.buf, q.head = grown, 0
	}
	q.buf[(q.head+q.n)&(len(q.buf)-1)] = v
	q.n++
}

func (q *queue[T]) peek() (v T, ok bool) {
	if q.n == 0 {
		return v, false
	}
	return q.buf[q.head], true
}

func (q *queue[T]) pop() (v T, ok bool) {
	if q.n == 0 {
		return v, false
	}
	var zero T
	v, q.buf[q.head] = q.buf[q.head], zero
	q.head = (q.head + 1) & (len(q.buf) - 1)
	q.n--
	return v, true
}

// A timerHeap orders sessions by deadline, the earliest first. A session with
// no deadline is not in it.
type timerHeap []*Session

// fix puts s where its deadline belongs. s.timer is its index plus one, so that
// the zero value says it is not in the heap.
func (h *timerHeap) fix(s *Session) {
	switch {
	case s.deadline == Never && s.timer == 0:
		return
	case s.deadline == Never:
		h.remove(s.timer - 1)
		return
	case s.timer == 0:
		*h = append(*h, s)
		s.timer = len(*h)
	}
	h.down(h.up(s.timer - 1))
}

func (h *timerHeap) remove(i int) {
	last := len(*h) - 1
	(*h)[i].timer = 0
	if i != last {
		(*h)[i] = (*h)[last]
		(*h)[i].timer = i + 1
	}
	(*h)[last] = nil
	*h = (*h)[:last]
	if i != last {
		h.down(h.up(i))
	}
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = i+1, j+1
}

func (h timerHeap) up(i int) int {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].deadline <= h[i].deadline {
			break
		}
		h.swap(i, parent)
		i = parent
	}
	return i
}

func (h timerHeap) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].deadline < h[least].deadline {
				least = c
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

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
