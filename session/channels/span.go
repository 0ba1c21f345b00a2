package channels

import "slices"

// A span is the bytes from lo up to, not including, hi.
type span struct{ lo, hi int }

// spans is a set of bytes: ascending spans that do not touch.
type spans []span

// search returns the index of the first span that ends at or after at.
func (s spans) search(at int) int {
	i, _ := slices.BinarySearchFunc(s, at, func(x span, at int) int { return x.hi - at })
	return i
}

// add adds the bytes from lo up to hi.
func (s *spans) add(lo, hi int) {
	if lo >= hi {
		return
	}
	i := s.search(lo)
	j := i
	for j < len(*s) && (*s)[j].lo <= hi {
		lo, hi = min(lo, (*s)[j].lo), max(hi, (*s)[j].hi)
		j++
	}
	if i == j {
		*s = slices.Insert(*s, i, span{lo, hi})
		return
	}
	(*s)[i] = span{lo, hi}
	*s = slices.Delete(*s, i+1, j)
}

// remove takes away the bytes from lo up to hi.
func (s *spans) remove(lo, hi int) {
	if lo >= hi {
		return
	}
	i := s.search(lo + 1)
	if i == len(*s) || (*s)[i].lo >= hi {
		return
	}
	first := (*s)[i]
	if first.lo < lo && first.hi > hi {
		(*s)[i].hi = lo
		*s = slices.Insert(*s, i+1, span{hi, first.hi})
		return
	}
	if first.lo < lo {
		(*s)[i].hi = lo
		i++
	}
	j := i
	for j < len(*s) && (*s)[j].hi <= hi {
		j++
	}
	if j < len(*s) && (*s)[j].lo < hi {
		(*s)[j].lo = hi
	}
	*s = slices.Delete(*s, i, j)
}

// addExcept adds those bytes from lo up to hi that are not in but.
func (s *spans) addExcept(lo, hi int, but spans) {
	for _, b := range but[but.search(lo):] {
		if b.lo >= hi {
			break
		}
		s.add(lo, min(b.lo, hi))
		lo = max(lo, b.hi)
	}
	s.add(lo, hi)
}

// covers reports whether s is exactly the bytes from 0 up to n.
func (s spans) covers(n int) bool {
	return n == 0 || len(s) == 1 && s[0] == span{0, n}
}

// emptied returns an empty set that reuses the room of s unless that is much.
func (s spans) emptied() spans {
	const spansKept = 64
	if cap(s) > spansKept {
		return nil
	}
	return s[:0]
}
