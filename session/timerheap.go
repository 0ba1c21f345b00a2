package session

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
