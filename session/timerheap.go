package session

// A timerHeap orders sessions by deadline, the earliest first. A session with
// no deadline is not in it. It holds the deadlines itself, and each node has four
// children in a row: most sessions are at rest, and out of the processor's caches.
type timerHeap []timerEntry

type timerEntry struct {
	at Time // s.deadline
	s  *Session
}

const timerArity = 4

// fix puts s where its deadline belongs. s.timer is its index plus one, so that
// the zero value says it is not in the heap.
func (h *timerHeap) fix(s *Session) {
	switch {
	case s.deadline == Never && s.timer == 0:
		return
	case s.deadline == Never:
		h.remove(int(s.timer) - 1)
		return
	case s.timer == 0:
		*h = append(*h, timerEntry{})
		s.timer = int32(len(*h))
	}
	h.place(int(s.timer)-1, timerEntry{s.deadline, s})
}

func (h *timerHeap) remove(i int) {
	last := len(*h) - 1
	moved := (*h)[last]
	(*h)[i].s.timer = 0
	(*h)[last] = timerEntry{}
	*h = (*h)[:last]
	if i != last {
		h.place(i, moved)
	}
}

// place puts e at i, which is free, or moves what is in its way there and goes on.
func (h timerHeap) place(i int, e timerEntry) {
	for i > 0 {
		parent := (i - 1) / timerArity
		if h[parent].at <= e.at {
			break
		}
		h.set(i, h[parent])
		i = parent
	}
	for {
		first := timerArity*i + 1
		least := first
		for c := first + 1; c < min(first+timerArity, len(h)); c++ {
			if h[c].at < h[least].at {
				least = c
			}
		}
		if first >= len(h) || e.at <= h[least].at {
			break
		}
		h.set(i, h[least])
		i = least
	}
	h.set(i, e)
}

func (h timerHeap) set(i int, e timerEntry) {
	h[i] = e
	e.s.timer = int32(i + 1)
}
