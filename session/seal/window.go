package seal

const (
	wordBits    = 64
	windowWords = 128

	// WindowSize is how far behind the highest packet number a frame may arrive
	// and still be told from a replay; what is older counts as seen.
	WindowSize = (windowWords - 1) * wordBits
)

// A Window remembers which packet numbers were received. It is a ring of words
// as in RFC 6479: moving it forward clears whole words, at most all of them, and
// never shifts. The zero Window has seen nothing.
type Window struct {
	ring    [windowWords]uint64
	largest uint64
}

// Seen reports whether pn was marked, or is too old to know.
func (w *Window) Seen(pn uint64) bool {
	if pn > w.largest {
		return false
	}
	return w.tooOld(pn) || w.ring[pn/wordBits%windowWords]&bitOf(pn) != 0
}

// Mark notes that pn was received. Only the packet number of a frame that
// authenticated may be marked: a forged one would push the window past all that
// is genuine.
func (w *Window) Mark(pn uint64) {
	if pn > w.largest {
		w.slide(pn)
	}
	if !w.tooOld(pn) {
		w.ring[pn/wordBits%windowWords] |= bitOf(pn)
	}
}

// slide makes pn the largest and clears the words that the ring gains by it.
func (w *Window) slide(pn uint64) {
	from, to := w.largest/wordBits, pn/wordBits
	for i := range min(to-from, windowWords) {
		w.ring[(to-i)%windowWords] = 0
	}
	w.largest = pn
}

func (w *Window) tooOld(pn uint64) bool {
	return pn < w.largest && w.largest/wordBits-pn/wordBits >= windowWords
}

func bitOf(pn uint64) uint64 { return 1 << (pn % wordBits) }
