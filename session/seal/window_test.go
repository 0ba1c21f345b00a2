package seal

import (
	"encoding/binary"
	"math"
	"testing"
)

// receive is what a session does with an authentic packet number.
func receive(w *Window, pn uint64) bool {
	if w.Seen(pn) {
		return false
	}
	w.Mark(pn)
	return true
}

func TestWindowVerdicts(t *testing.T) {
	const far = 1 << 40
	type step struct {
		pn   uint64
		want bool
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"in order, each once", []step{{0, true}, {1, true}, {1, false}, {0, false}, {2, true}, {9, true}, {8, true}, {8, false}, {9, false}}},
		{"zero comes late", []step{{5, true}, {0, true}, {0, false}}},
		{"zero comes at the edge", []step{{WindowSize, true}, {0, true}, {0, false}}},
		{"too old to know", []step{{WindowSize + 64, true}, {0, false}, {63, false}, {64, true}, {64, false}}},
		{"edge of the window", []step{{far, true}, {far - WindowSize, true}, {far - WindowSize, false}, {far - WindowSize - 64, false}}},
		{"jump clears what it passes", []step{{100, true}, {far, true}, {far - 1, true}, {100, false}, {far - WindowSize + 1, true}, {far, false}}},
		{"jump by a whole ring", []step{{3, true}, {3 + windowWords*wordBits, true}, {3 + windowWords*wordBits, false}, {4 + windowWords*wordBits, true}, {3, false}}},
		{"jump clears the oldest word too", []step{{65, true}, {2 * windowWords * wordBits, true}, {(windowWords+1)*wordBits + 1, true}}},
		{"end of the numbers", []step{{math.MaxUint64 - 1, true}, {math.MaxUint64, true}, {math.MaxUint64, false}, {math.MaxUint64 - 1, false}, {math.MaxUint64 - WindowSize, true}, {0, false}}},
		{"long idle ring", []step{{WindowSize / 2, true}, {WindowSize, true}, {1, true}, {WindowSize/2 + 1, true}, {WindowSize / 2, false}}},
		{"netcode's overflow", []step{{math.MaxUint64 - 255, true}, {math.MaxUint64 - 255, false}, {math.MaxUint64 - 254, true}, {255, false}}},
	} {
		var w Window
		for i, s := range tc.steps {
			if got := receive(&w, s.pn); got != s.want {
				t.Errorf("%s: step %d: packet %d: new = %v, want %v", tc.name, i, s.pn, got, s.want)
			}
		}
	}
}

// Runs of a whole window in every direction, as WireGuard's replay test has.
func TestWindowTakesARunOfPacketsOnce(t *testing.T) {
	up := func(from, to uint64) (pns []uint64) {
		for pn := from; pn < to; pn++ {
			pns = append(pns, pn)
		}
		return pns
	}
	down := func(from, to uint64) (pns []uint64) {
		for pn := to; pn > from; pn-- {
			pns = append(pns, pn-1)
		}
		return pns
	}
	for _, tc := range []struct {
		name string
		pns  []uint64
	}{
		{"upwards from 0", up(0, WindowSize)},
		{"upwards from 1", up(1, WindowSize+1)},
		{"downwards to 0", down(0, WindowSize)},
		{"downwards to 1", down(1, WindowSize+1)},
		{"downwards, then one above", append(down(0, WindowSize), WindowSize)},
		{"upwards, far", up(1<<50, 1<<50+3*WindowSize)},
	} {
		var w Window
		for _, pn := range tc.pns {
			if !receive(&w, pn) {
				t.Fatalf("%s: packet %d refused", tc.name, pn)
			}
		}
		for _, pn := range tc.pns {
			if receive(&w, pn) {
				t.Fatalf("%s: packet %d taken twice", tc.name, pn)
			}
		}
	}
}

// A forged frame is never marked, so its number cannot push the window.
func TestWindowUnmovedByAQuestion(t *testing.T) {
	var w Window
	w.Seen(1 << 62)
	if !receive(&w, 3) {
		t.Error("asking about a high number made a low one old")
	}
}

func TestMarkingWhatIsTooOldChangesNothing(t *testing.T) {
	const far = 1 << 40
	var w Window
	w.Mark(far)
	w.Mark(far + 1 - windowWords*wordBits) // shares its bit with far+1
	w.Mark(far + 2)
	if w.Seen(far + 1) {
		t.Error("a packet number that never came counts as seen")
	}
}

// After a rest, what is below the highest number counts as seen, and what is
// above it is taken once.
func TestWindowAtRest(t *testing.T) {
	var w Window
	w.Rest()
	if !receive(&w, 0) || !receive(&w, 100) {
		t.Fatal("a window that rested before it was used refuses a packet")
	}
	w.Rest()
	if len(w.ring) != 0 {
		t.Error("the memory is kept")
	}
	for pn, want := range map[uint64]bool{0: false, 50: false, 100: false, 102: true, 3 * WindowSize: true} {
		if got := !w.Seen(pn); got != want {
			t.Errorf("packet %d: new = %v", pn, got)
		}
	}
	if !receive(&w, 102) || !receive(&w, 101) || receive(&w, 101) || receive(&w, 102) || receive(&w, 99) {
		t.Error("packets after a rest are not taken once each")
	}
	w.MarkTo(200)
	if len(w.ring) != 0 {
		t.Error("all up to a number takes memory")
	}
	if receive(&w, 200) || receive(&w, 150) || !receive(&w, 201) {
		t.Error("not just those up to a number count as seen")
	}
}

func FuzzWindowAgainstMap(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 70, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0x20, 0, 2, 0, 0, 0, 0, 0, 0, 0x1f, 0xff, 2, 0, 0, 0, 0, 0, 0, 0x1f, 0xff})
	f.Fuzz(func(t *testing.T, script []byte) {
		var w Window
		marked := make(map[uint64]bool)
		largest, floor := uint64(0), uint64(0)
		for ; len(script) >= 9; script = script[9:] {
			arg := binary.BigEndian.Uint64(script[1:])
			if script[0] == 0xff && len(marked) > 0 && largest < math.MaxUint64 {
				w.Rest()
				floor = largest + 1
				continue
			}
			pn := arg // anywhere
			switch script[0] % 4 {
			case 1:
				pn = largest + arg%(3*WindowSize) // a step ahead
			case 2, 3:
				pn = largest - arg%(2*WindowSize) // a step back
			}
			old := pn < largest && largest-pn > WindowSize || pn < floor
			switch isNew := receive(&w, pn); {
			case isNew && (marked[pn] || pn < floor):
				t.Fatalf("packet %d taken twice", pn)
			case !isNew && !marked[pn] && !old:
				t.Fatalf("packet %d refused, the largest is %d", pn, largest)
			}
			marked[pn] = true
			largest = max(largest, pn)
		}
	})
}

func BenchmarkWindow(b *testing.B) {
	var w Window
	for pn := uint64(0); b.Loop(); pn++ {
		receive(&w, pn)
	}
}

func BenchmarkWindowJump(b *testing.B) {
	var w Window
	for pn := uint64(0); b.Loop(); pn += 1 << 40 {
		receive(&w, pn)
	}
}
