package recovery

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A hearer is an Acks that frames arrive at.
type hearer struct {
	t   *testing.T
	a   Acks
	now clock.Time
}

func newHearer(t *testing.T) *hearer { return &hearer{t: t, now: clock.Time(time.Hour)} }

func (h *hearer) hear(pns ...uint64) {
	for _, pn := range pns {
		h.a.OnReceived(h.now, pn, wire.NotECT, true, false)
	}
}

// sends returns the ranges and the delay of the acknowledgement sent now.
func (h *hearer) sends() ([]wire.Range, time.Duration) {
	h.t.Helper()
	b := h.a.Append(h.now, nil, 1200)
	if len(b) == 0 {
		return nil, 0
	}
	var c wire.Chunk
	if _, err := wire.ConsumeChunk(b, &c); err != nil {
		h.t.Fatal(err)
	}
	return walk(c.Ack), time.Duration(c.Ack.Delay) * time.Microsecond
}

func walk(a wire.Ack) (out []wire.Range) {
	for r, ok := a.Next(); ok; r, ok = a.Next() {
		out = append(out, r)
	}
	return out
}

func (h *hearer) wantDue(why string, want bool) {
	h.t.Helper()
	if got := h.a.Due(h.now); got != want {
		h.t.Fatalf("%s: due %v, want %v", why, got, want)
	}
}

func (h *hearer) wantRanges(why string, want ...wire.Range) {
	h.t.Helper()
	if got, _ := h.sends(); !slices.Equal(got, want) {
		h.t.Fatalf("%s: ranges %v, want %v", why, got, want)
	}
}

// RFC 9000 §13.2.2: SHOULD send an ACK after receiving at least two
// ack-eliciting packets. §13.2.1: MUST within its advertised max_ack_delay.
func TestEverySecondFrameIsAcknowledgedAtOnce(t *testing.T) {
	h := newHearer(t)
	h.hear(0)
	h.wantDue("one frame", false)
	if got := h.a.Deadline().Sub(h.now); got != MaxAckDelay {
		t.Fatalf("deadline in %v, want %v", got, MaxAckDelay)
	}
	h.hear(1)
	h.wantDue("two frames", true)
	h.wantRanges("both", wire.Range{Lo: 0, Hi: 1})
	h.wantDue("acknowledged", false)
	if h.a.Deadline() != clock.Never || h.a.Pending() {
		t.Error("something is still owed")
	}
	h.hear(2)
	h.now = h.a.Deadline()
	h.wantDue("max_ack_delay later", true)
	if _, delay := h.sends(); delay != MaxAckDelay {
		t.Errorf("delay %v, want %v", delay, MaxAckDelay)
	}
}

// RFC 9000 §13.2.1: SHOULD immediately acknowledge a packet that is out of
// order, or that leaves a gap.
func TestGapsAndStragglersAreAcknowledgedAtOnce(t *testing.T) {
	h := newHearer(t)
	h.hear(0)
	h.sends()
	h.hear(2)
	h.wantDue("1 is missing", true)
	h.sends()
	h.hear(3)
	h.wantDue("no new gap", false)
	h.sends()
	h.hear(1)
	h.wantDue("out of order", true)
	h.wantRanges("gap closed", wire.Range{Lo: 0, Hi: 3})
	h.a.OnReceived(h.now, 4, wire.NotECT, true, true)
	h.wantDue("urgent", true)
}

// RFC 9000 §13.2.1: MUST NOT send a non-ack-eliciting packet in response to a
// non-ack-eliciting packet.
func TestAcknowledgementsAreNotAcknowledged(t *testing.T) {
	h := newHearer(t)
	for pn := range uint64(100) {
		h.a.OnReceived(h.now, pn, wire.NotECT, false, false)
	}
	h.now = h.now.Add(time.Hour)
	h.wantDue("nothing asked for it", false)
	h.wantRanges("nothing owed")
	h.hear(100, 101)
	h.wantRanges("along with others", wire.Range{Lo: 0, Hi: 101})
}

func TestOldestRangesAreForgotten(t *testing.T) {
	h := newHearer(t)
	for i := range uint64(200) {
		h.hear(2 * i)
	}
	h.hear(1) // older than all that is kept
	got, _ := h.sends()
	if len(got) != wire.MaxAckRanges || got[0].Hi != 398 || got[63].Lo != 398-2*63 {
		t.Errorf("%d ranges, %v to %v", len(got), got[0], got[len(got)-1])
	}
}

// RFC 9000 §13.2.4: a receiver stops acknowledging what an acknowledged ACK
// frame covered.
func TestRangesEndWhereThePeerKnows(t *testing.T) {
	h := newHearer(t)
	h.hear(0, 1, 2, 5, 6, 7, 9)
	h.sends()
	h.a.OnAckAcked(6)
	h.hear(10)
	h.wantRanges("above 6", wire.Range{Lo: 9, Hi: 10}, wire.Range{Lo: 7, Hi: 7})
	h.a.OnAckAcked(10)
	h.hear(4)
	h.wantRanges("a straggler alone", wire.Range{Lo: 4, Hi: 4})
	if pn, ok := h.a.Largest(); !ok || pn != 10 {
		t.Errorf("largest %d %v, want 10", pn, ok)
	}
}

func TestAcknowledgementThatDoesNotFitIsStillOwed(t *testing.T) {
	h := newHearer(t)
	h.hear(0, 1)
	prefix := []byte("full")
	if b := h.a.Append(h.now, prefix, len(prefix)+3); len(b) != len(prefix) {
		t.Fatalf("appended %x", b[len(prefix):])
	}
	h.wantDue("nothing fitted", true)
}

func FuzzAcksAgreeWithASet(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4})
	f.Add([]byte{9, 7, 5, 3, 1, 2, 4, 6, 8})
	f.Add([]byte{0, 2, 4, 0xff, 1, 1, 0xff, 3, 3, 6, 8})
	f.Fuzz(func(t *testing.T, script []byte) {
		h := newHearer(t)
		set := map[uint64]bool{}
		for i := 0; i < len(script); i++ {
			pn := uint64(script[i] & 0x7f)
			if script[i] < 0x80 {
				h.hear(pn)
				set[pn] = true
				continue
			}
			h.a.OnAckAcked(pn)
			for n := range set {
				if n <= pn {
					delete(set, n)
				}
			}
		}
		var pns []uint64
		for pn := range set {
			pns = append(pns, pn)
		}
		want := rangesOf(pns...)
		if got, _ := h.sends(); !slices.Equal(got, want) {
			t.Fatalf("ranges %v, want %v", got, want)
		}
	})
}
