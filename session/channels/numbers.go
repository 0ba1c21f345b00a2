package channels

// seenMax is how far below the newest unreliable message of a channel an older
// one may arrive.
const seenMax = 4096

// A numberSet is the numbers at and above base that are done, in a ring of bits
// that grows with the span of those numbers. All below base count as done.
type numberSet struct {
	base  uint64
	words []uint64 // its length is a power of two; bits outside the span are 0
}

func (n *numberSet) bit(seq uint64) (word *uint64, mask uint64) {
	return &n.words[seq/64&uint64(len(n.words)-1)], 1 << (seq % 64)
}

func (n *numberSet) covers(seq uint64) bool {
	return seq/64-n.base/64 < uint64(len(n.words))
}

func (n *numberSet) has(seq uint64) bool {
	if seq < n.base {
		return true
	}
	if !n.covers(seq) {
		return false
	}
	word, mask := n.bit(seq)
	return *word&mask != 0
}

// add adds a number at or above base, and moves base past all that are done.
func (n *numberSet) add(seq uint64) {
	if seq == n.base && len(n.words) == 0 {
		n.base++
		return
	}
	for !n.covers(seq) {
		n.grow()
	}
	word, mask := n.bit(seq)
	*word |= mask
	for word, mask := n.bit(n.base); *word&mask != 0; word, mask = n.bit(n.base) {
		*word &^= mask
		n.base++
	}
}

func (n *numberSet) grow() {
	old := *n
	n.words = make([]uint64, max(1, 2*len(old.words)))
	for i := range uint64(len(old.words)) {
		at := old.base/64 + i
		n.words[at&uint64(len(n.words)-1)] = old.words[at&uint64(len(old.words)-1)]
	}
}

// slide moves base up to at, if it is below.
func (n *numberSet) slide(at uint64) {
	if at <= n.base {
		return
	}
	if at-n.base >= uint64(64*len(n.words)) {
		clear(n.words)
		n.base = at
		return
	}
	for n.base < at {
		word, mask := n.bit(n.base)
		*word &^= mask
		n.base++
	}
}
