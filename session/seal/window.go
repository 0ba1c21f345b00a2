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
// never shifts. The ring grows with the span of the numbers. The zero Window has
// seen nothing.
type Window struct {
	ring    []uint64 // its length is a power of two, windowWords at most
	floor   uint64   // all below count as seen
	largest uint64
}

// Seen reports whether pn was marked, or is too old to know.
func (w *Window) Seen(pn uint64) bool {
	switch {
	case pn < w.floor:
		return true
	case pn > w.largest || len(w.ring) == 0:
		return false
	}
	return w.tooOld(pn) || *w.word(pn)&bitOf(pn) != 0
}

// Mark notes that pn was received. Only the packet number of a frame that
// authenticated may be marked: a forged one would push the window past all that
// is genuine.
func (w *Window) Mark(pn uint64) {
	if pn > w.largest || len(w.ring) == 0 {
		w.slide(max(pn, w.largest))
	}
	if !w.tooOld(pn) {
		*w.word(pn) |= bitOf(pn)
	}
}

// MarkTo marks pn, which is the highest so far, and all below it. The window then
// takes no memory.
func (w *Window) MarkTo(pn uint64) { *w = Window{floor: pn + 1, largest: pn} }

// Rest gives the memory of the window back: whatever is below the highest
// number marked counts as seen from now on.
func (w *Window) Rest() {
	if len(w.ring) > 0 {
		w.MarkTo(w.largest)
	}
}

func (w *Window) word(pn uint64) *uint64 { return &w.ring[pn/wordBits&uint64(len(w.ring)-1)] }

// slide makes pn the largest and clears the words that the ring gains by it.
func (w *Window) slide(pn uint64) {
	from, to := w.largest/wordBits, pn/wordBits
	w.fit(min(to-w.floor/wordBits+1, windowWords))
	for i := range min(to-from, uint64(len(w.ring))) {
		w.ring[(to-i)&uint64(len(w.ring)-1)] = 0
	}
	w.largest = pn
}

// fit makes the ring long enough for n words. It is called before the largest
// number grows.
func (w *Window) fit(n uint64) {
	if n <= uint64(len(w.ring)) {
		return
	}
	old := w.ring
	size := uint64(max(1, len(old)))
	for size < n {
		size *= 2
	}
	w.ring = make([]uint64, size)
	for i := range uint64(len(old)) {
		if at := w.largest / wordBits; at >= i {
			w.ring[(at-i)&(size-1)] = old[(at-i)&uint64(len(old)-1)]
		}
	}
}

func (w *Window) tooOld(pn uint64) bool {
	return pn < w.largest && w.largest/wordBits-pn/wordBits >= uint64(len(w.ring))
}

func bitOf(pn uint64) uint64 { return 1 << (pn % wordBits) }
