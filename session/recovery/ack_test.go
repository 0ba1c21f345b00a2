package recovery

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

func TestAcknowledgementIsReportedOnce(t *testing.T) {
	g := newRig(t)
	g.send(5)
	g.after(50 * ms)
	g.ack(0, 1, 3)
	g.wantAcked("first", 0, 1, 3)
	g.ack(0, 1, 3)
	g.wantAcked("repeated")
	g.ack(0, 1, 2, 3, 4)
	g.wantAcked("the rest", 2, 4)
	if pn, ok := g.s.LargestAcked(); !ok || pn != 4 {
		t.Errorf("largest %d %v", pn, ok)
	}
}

// RFC 9000 §13.1: an acknowledgment for a packet that was not sent SHOULD be a
// connection error.
func TestAcknowledgementOfTheFutureIsRefused(t *testing.T) {
	g := newRig(t)
	g.wantErrUnsent("nothing was sent", wire.Range{})
	g.send(5)
	g.wantErrUnsent("one too far", wire.Range{Lo: 5, Hi: 5})
	g.wantErrUnsent("far too far", wire.Range{Lo: 0, Hi: wire.MaxVarint})
}

// RFC 9000 §21.4: skipping packet numbers detects optimistic acknowledgement.
func TestAcknowledgementOfASkippedNumberIsRefused(t *testing.T) {
	for seed := range uint64(20) {
		g := newRig(t)
		g.s.Init(seed)
		g.s.Activate(g.p)
		last, skip := uint64(0), uint64(0)
		for i := 0; skip == 0; i++ {
			if i > 2*firstSkipPeriod+1 {
				t.Fatalf("seed %d: no number skipped in the first %d", seed, i)
			}
			pn := g.s.NextPN()
			if pn != g.s.NextPN() {
				t.Fatal("NextPN changes its mind")
			}
			if pn > last+1 {
				skip = pn - 1
				g.wantErrUnsent("a number that is about to be passed over", wire.Range{Lo: skip, Hi: skip})
			}
			g.s.OnSent(g.now, g.p, pn, frameSize, AckEliciting, []Ref{{Seq: pn}})
			last = pn
		}
		g.check()
		g.after(50 * ms)
		g.ack(skip-1, skip+1)
		g.wantErrUnsent("a range over it", wire.Range{Lo: 0, Hi: last})
	}
}

func TestSkippedNumbersBecomeRareAndStayBounded(t *testing.T) {
	g := newRig(t)
	g.s.Init(7)
	g.s.Activate(g.p)
	skips, next := 0, uint64(0)
	for range 1 << 18 {
		pn := g.s.NextPN()
		skips += int(pn - next)
		next = pn + 1
		g.s.OnSent(g.now, g.p, pn, 40, 0, nil)
	}
	if skips < 3 || skips > maxSkipped {
		t.Errorf("%d numbers skipped", skips)
	}
}

// The window of a peer that acknowledges what it cannot have seen must not
// grow; ranges wider than all that was sent cost no more than what is tracked.
func TestHugeRangeIsWalkedInNoTime(t *testing.T) {
	g := newRig(t)
	g.sendOn(g.p, 100000, 40, 0)
	g.send(10)
	a := ackOf(t, 0, wire.Range{Lo: 0, Hi: g.s.sent - 1})
	start := time.Now()
	for range 1000 {
		if err := g.s.OnAck(g.now, &a, MaxAckDelay, &g.r); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("1000 acknowledgements took %v", d)
	}
}

func TestLateFrameCountsAsArrived(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	first := g.send(10)
	g.after(100 * ms)
	g.ack(first + 3)
	g.wantLost("overtaken", first)
	rtt := g.p.RTT
	g.after(20 * ms)
	g.ack(first, first+3)
	g.wantAcked("late", first)
	if g.r.Spurious != 1 {
		t.Errorf("%d spurious losses, want 1", g.r.Spurious)
	}
	if g.p.RTT != rtt {
		t.Error("a late frame was an RTT sample")
	}
}

// RFC 9438 §4.9.2: restore the state if the congestion event was spurious.
func TestWindowIsGivenBackWhenAllLossesWereSpurious(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	before := g.p.Window()
	first := g.send(10)
	g.after(100 * ms)
	g.ack(first + 4)
	g.wantLost("overtaken", first, first+1)
	reduced := g.p.Window()
	if reduced >= before {
		t.Fatal("not reduced")
	}
	g.ack(first, first+4)
	if g.p.Window() != reduced {
		t.Fatal("given back while a loss stands")
	}
	g.ack(first, first+1, first+4)
	if got := g.p.Window(); got < before {
		t.Errorf("window %d, want at least the %d from before", got, before)
	}
}

func TestWindowStaysReducedOnceALossIsForgotten(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	before := g.p.Window()
	first := g.send(10)
	g.after(100 * ms)
	g.ack(first + 3)
	g.after(keepTime*g.p.RTT.PTO(MaxAckDelay) + 1)
	g.measured(100 * ms)
	g.ack(first, first+3)
	g.wantAcked("forgotten")
	if g.p.cc.Undoable() {
		t.Error("the reduction can still be undone")
	}
	if g.p.Window() >= before {
		t.Errorf("window %d", g.p.Window())
	}
}

// RFC 9002 §6.1.1 lets a sender adapt the threshold to what it sees.
func TestReorderingRaisesTheThresholds(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	const far = 9
	first := g.send(far + 1)
	g.after(100 * ms)
	g.ack(first + far)
	if len(g.r.Lost) != far+1-packetThreshold {
		t.Fatalf("%d lost", len(g.r.Lost))
	}
	g.ack(rangeOf(first, first+far)...)
	if g.r.Spurious == 0 {
		t.Fatal("nothing was spurious")
	}
	if got := g.p.reordering.packets(); got != far+1 {
		t.Errorf("packet threshold %d, want %d", got, far+1)
	}
	if got := g.p.reordering.delay(80 * ms); got != 100*ms {
		t.Errorf("time threshold %v, want 5/4 of the RTT", got)
	}
	first = g.send(far + 1)
	g.after(100 * ms)
	g.ack(first + far)
	g.wantLost("as far out of order as before")
}

func TestReorderingIsBoundedAndDecays(t *testing.T) {
	var r reordering
	for range 10 {
		r.onSpurious(1 << 40)
		r.widen()
	}
	if r.packets() != maxPacketThreshold || r.delay(80*ms) != 320*ms {
		t.Errorf("thresholds %d and %v, want %d and 320ms", r.packets(), r.delay(80*ms), maxPacketThreshold)
	}
	for range quietEpisodes {
		if r.packets() == packetThreshold {
			t.Fatal("fell back too early")
		}
		r.onEpisode()
	}
	if r.packets() != packetThreshold || r.delay(80*ms) != 90*ms {
		t.Errorf("thresholds %d and %v after quiet, want 3 and 90ms", r.packets(), r.delay(80*ms))
	}
}

func rangeOf(lo, hi uint64) (pns []uint64) {
	for pn := lo; pn <= hi; pn++ {
		pns = append(pns, pn)
	}
	return pns
}

func TestRequeueReturnsWhatFlewToTheOldAddressOnce(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	before := g.p.Window()
	old := g.send(3)
	g.after(10 * ms)
	moved := g.now
	fresh := g.send(2)
	g.s.Requeue(g.p, moved, &g.r)
	g.check()
	g.wantLost("sent before the move", old, old+1, old+2)
	g.s.Requeue(g.p, moved, &g.r)
	g.wantLost("second time")
	if g.p.Window() != before {
		t.Error("a move is no congestion")
	}
	rtt := g.p.RTT
	g.after(300 * ms)
	g.ack(old + 2)
	g.wantAcked("late", old+2)
	if g.p.RTT != rtt || g.r.Spurious != 0 {
		t.Error("a frame to the old address says nothing about the new one")
	}
	g.ack(old+2, fresh, fresh+1)
	g.wantAcked("on the new address", fresh, fresh+1)
	if g.p.InFlight() != 0 {
		t.Errorf("%d bytes in flight", g.p.InFlight())
	}
}

func TestRequeueOfManyFramesStaysBounded(t *testing.T) {
	g := newRig(t)
	g.send(3 * maxKept)
	g.s.Requeue(g.p, g.now+1, &g.r)
	g.check()
	if len(g.r.Lost) != 3*maxKept || g.s.log.kept != maxKept {
		t.Errorf("%d lost, %d kept", len(g.r.Lost), g.s.log.kept)
	}
}

func TestOldestFramesStayOutstanding(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	first := g.send(5)
	g.ack(first + 1)
	g.s.Oldest(g.p, 2, &g.r)
	g.wantLost("the two oldest", first, first+2)
	g.check()
	if g.s.Outstanding() != 4 {
		t.Errorf("%d outstanding, want 4", g.s.Outstanding())
	}
}

func TestCongestionWindowLimitsSending(t *testing.T) {
	g := newRig(t)
	n := 0
	for g.s.CanSend(g.p, frameSize) {
		g.send(1)
		n++
	}
	if n != 10 { // RFC 9002 §7.2
		t.Errorf("%d frames in the initial window, want 10", n)
	}
	g.after(50 * ms)
	g.ack(0)
	if !g.s.CanSend(g.p, frameSize) {
		t.Error("an acknowledgement opened no room")
	}
}

func TestSilentPeerCannotFillTheMemory(t *testing.T) {
	g := newRig(t)
	g.sendOn(g.p, maxOutstanding, 0, AckEliciting)
	if g.s.CanSend(g.p, 0) {
		t.Error("new data allowed")
	}
	g.advanceToTimer()
	if !g.timeout() {
		t.Error("no probe asked for")
	}
	g.sendOn(g.p, maxTracked-maxOutstanding, 0, AckEliciting)
	g.advanceToTimer()
	if g.timeout() {
		t.Error("probe asked for though the log is full")
	}
}

// Frames that are several RTTs late make a reduction in each of them before the
// first can be known to be wrong.
func TestReductionsInARowAreUndoneTogether(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	before := g.p.Window()
	var missing []uint64
	for range 3 {
		first := g.send(4)
		g.after(100 * ms)
		g.ack(rangeOf(first+1, first+3)...)
		g.wantLost("overtaken", first)
		missing = append(missing, first)
	}
	if got := g.p.Window(); got > before/2 {
		t.Fatalf("window %d after three reductions of %d", got, before)
	}
	g.ack(missing[1:]...)
	if got := g.p.Window(); got > before/2 {
		t.Fatalf("window %d while a loss stands", got)
	}
	g.ack(missing...)
	if got := g.p.Window(); got < before {
		t.Errorf("window %d, want at least the %d from before", got, before)
	}
}
