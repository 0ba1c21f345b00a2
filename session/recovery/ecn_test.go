package recovery

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
)

// ackMarked acknowledges frames and tells counts.
func (g *rig) ackMarked(counts wire.ECNCounts, pns ...uint64) {
	g.t.Helper()
	b := wire.AppendAckECN(nil, 0, rangesOf(pns...), counts, 1<<16)
	var c wire.Chunk
	if _, err := wire.ConsumeChunk(b, &c); err != nil {
		g.t.Fatal(err)
	}
	if err := g.s.OnAck(g.now, &c.Ack, MaxAckDelay, &g.r); err != nil {
		g.t.Fatal(err)
	}
	g.check()
}

// sendMarked sends up to n frames, marked as long as the path is to be marked, and
// returns the numbers of those.
func (g *rig) sendMarked(n int) (pns []uint64) {
	for range n {
		flags := AckEliciting
		if g.p.Markable() {
			flags |= ECT0
			pns = append(pns, g.s.NextPN())
		}
		g.sendOn(g.p, 1, frameSize, flags)
	}
	return pns
}

func (g *rig) wantECN(what string, want ECNState) {
	g.t.Helper()
	if state, _ := g.p.ECN(); state != want {
		g.t.Errorf("%s: %v, want %v", what, state, want)
	}
}

// capable makes the path one that keeps marks.
func (g *rig) capable() {
	g.ackMarked(wire.ECNCounts{ECT0: 2}, g.sendMarked(2)...)
	g.wantECN("marks arrive", ECNCapable)
	g.after(50 * ms)
}

func TestFirstTenFramesTestThePath(t *testing.T) {
	g := newRig(t)
	if n := len(g.sendMarked(15)); n != 10 {
		t.Errorf("%d of 15 frames are marked", n)
	}
	g.ackMarked(wire.ECNCounts{ECT0: 1}, 0)
	g.wantECN("one arrived", ECNCapable)
	if n := len(g.sendMarked(5)); n != 5 {
		t.Errorf("%d of 5 frames are marked on a capable path", n)
	}
}

func TestThirdProbeTimeoutEndsTheTest(t *testing.T) {
	g := newRig(t)
	for range ecnTestPTOs {
		if n := len(g.sendMarked(1)); n != 1 {
			t.Fatal("the test has ended early")
		}
		g.advanceToTimer()
		if !g.timeout() {
			t.Fatal("no probe timeout")
		}
	}
	if g.p.Markable() {
		t.Error("the test goes on")
	}
	g.wantECN("nothing was heard", ECNUnknown)
	g.ackMarked(wire.ECNCounts{ECT0: 3}, 0, 1, 2)
	g.wantECN("they were only late", ECNCapable)
}

// What a peer can tell after ten marked frames, nine of which have arrived; and
// after ten more on a path that was capable.
func TestCountsThatDoNotFitTurnMarksOff(t *testing.T) {
	for _, tt := range []struct {
		name        string
		first, then wire.ECNCounts
		want        ECNState
	}{
		{"all arrive", wire.ECNCounts{ECT0: 9}, wire.ECNCounts{ECT0: 18}, ECNCapable},
		{"some are CE", wire.ECNCounts{ECT0: 7, CE: 2}, wire.ECNCounts{ECT0: 9, CE: 9}, ECNCapable},
		{"a frame that was not followed counts too", wire.ECNCounts{ECT0: 10}, wire.ECNCounts{ECT0: 20}, ECNCapable},
		{"none is told", wire.ECNCounts{}, wire.ECNCounts{}, ECNFailed},
		{"none is told any more", wire.ECNCounts{ECT0: 9}, wire.ECNCounts{}, ECNFailed},
		{"one is cleared", wire.ECNCounts{ECT0: 8}, wire.ECNCounts{ECT0: 17}, ECNFailed},
		{"one is cleared later", wire.ECNCounts{ECT0: 9}, wire.ECNCounts{ECT0: 17}, ECNFailed},
		{"some become ECT(1)", wire.ECNCounts{ECT0: 9}, wire.ECNCounts{ECT0: 18, ECT1: 1}, ECNFailed},
		{"all become ECT(1)", wire.ECNCounts{ECT1: 9}, wire.ECNCounts{ECT1: 18}, ECNFailed},
		{"more arrive than were sent", wire.ECNCounts{ECT0: 9}, wire.ECNCounts{ECT0: 21}, ECNFailed},
		{"more CE than were sent", wire.ECNCounts{ECT0: 9}, wire.ECNCounts{ECT0: 9, CE: 12}, ECNFailed},
		{"the most that can be told", wire.ECNCounts{ECT0: wire.MaxVarint, ECT1: wire.MaxVarint, CE: wire.MaxVarint}, wire.ECNCounts{}, ECNFailed},
		{"ECT(0) decreases", wire.ECNCounts{ECT0: 9}, wire.ECNCounts{ECT0: 8, CE: 12}, ECNFailed},
		{"CE decreases", wire.ECNCounts{ECT0: 8, CE: 1}, wire.ECNCounts{ECT0: 18}, ECNFailed},
	} {
		g := newRig(t)
		g.sendMarked(10)
		g.ackMarked(tt.first, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		g.s.marked += 10 - uint64(len(g.sendMarked(10))) // as if they were, where the first ten were not believed
		g.ackMarked(tt.then, 11, 12, 13, 14, 15, 16, 17, 18, 19)
		g.wantECN(tt.name, tt.want)
		if tt.want == ECNFailed && g.p.Markable() {
			t.Errorf("%s: frames are still marked", tt.name)
		}
	}
}

// Marks that some router has added turn them off where they came from, and only there.
func TestMarksOfNobodyAreForgiven(t *testing.T) {
	g := newRig(t)
	g.sendMarked(1)
	g.ackMarked(wire.ECNCounts{ECT0: 100, ECT1: 50}, 0)
	g.wantECN("too many", ECNFailed)
	g.p = g.newPath()
	g.s.Activate(g.p)
	g.ackMarked(wire.ECNCounts{ECT0: 100, ECT1: 50}, g.send(1))
	g.ackMarked(wire.ECNCounts{ECT0: 101, ECT1: 50}, g.sendMarked(1)...)
	g.wantECN("another path", ECNCapable)
}

// A router that marks all says nothing by it.
func TestPathThatMarksAllFailsAndIsNotSlowed(t *testing.T) {
	for _, a := range []congestion.Algorithm{congestion.CUBIC, congestion.BBR} {
		g := newRig(t)
		g.p.Init(a, DefaultMDS)
		window := g.p.Window()
		pns := g.sendMarked(10)
		for i := range pns {
			g.wantECN("some are CE", ECNUnknown)
			g.ackMarked(wire.ECNCounts{CE: uint64(i + 1)}, pns[i])
		}
		g.wantECN("all are CE", ECNFailed)
		if g.p.Window() < window {
			t.Errorf("%v: the window is %d bytes, and was %d", a, g.p.Window(), window)
		}
	}
}

// What was CE before the path proved to be capable counts then.
func TestEarlyMarksCountOnceThePathIsCapable(t *testing.T) {
	g := newRig(t)
	window := g.p.Window()
	g.sendMarked(10)
	g.ackMarked(wire.ECNCounts{CE: 2}, 0, 1)
	if g.p.Window() < window {
		t.Error("marks of a path that may mark all slow it down")
	}
	g.ackMarked(wire.ECNCounts{ECT0: 1, CE: 2}, 2)
	if g.p.Window() >= window {
		t.Error("no answer to marks")
	}
}

func TestOvertakenCountsAreIgnored(t *testing.T) {
	g := newRig(t)
	g.capable()
	g.sendMarked(4)
	g.ackMarked(wire.ECNCounts{ECT0: 6}, 3, 5)
	g.ackMarked(wire.ECNCounts{ECT0: 4}, 2, 4)
	g.wantECN("an older acknowledgement comes later", ECNCapable)
	g.sendMarked(1)
	g.ackMarked(wire.ECNCounts{ECT0: 7}, 6)
	g.wantECN("and the next one", ECNCapable)
}

// Marks reduce the window once in a round trip, and what spurious losses in it took
// is not given back.
func TestMarksReduceOncePerRoundTrip(t *testing.T) {
	g := newRig(t)
	g.capable()
	window := g.p.Window()
	first := g.sendMarked(9)
	g.after(50 * ms)
	next := g.sendMarked(1)
	g.ackMarked(wire.ECNCounts{ECT0: 3, CE: 1}, first[4], first[5]) // 0 to 3 seem lost, or some
	reduced := g.p.Window()
	if reduced >= window || g.r.Marked != 1 {
		t.Fatalf("a window of %d bytes after a mark, %d marked", reduced, g.r.Marked)
	}
	g.ackMarked(wire.ECNCounts{ECT0: 8, CE: 3}, first[0], first[1], first[2], first[3], first[6], first[7], first[8])
	if got := g.p.Window(); got != reduced {
		t.Errorf("%d bytes, and were %d", got, reduced)
	}
	g.ackMarked(wire.ECNCounts{ECT0: 8, CE: 4}, next...)
	if got := g.p.Window(); got != reduced {
		t.Errorf("%d bytes after a mark on what was sent before the reduction", got)
	}
	g.after(ms)
	later := g.sendMarked(1)
	g.after(50 * ms)
	g.ackMarked(wire.ECNCounts{ECT0: 8, CE: 5}, later...)
	if got := g.p.Window(); got >= reduced {
		t.Errorf("%d bytes after a mark in the next round trip", got)
	}
	g.wantECN("all fits", ECNCapable)
	if _, ce := g.p.ECN(); ce != 5 {
		t.Errorf("%d marks", ce)
	}
}

// Frames of two paths in flight: the counts do not tell whose marks they are. So the
// test of a path waits, and begins anew if a frame of the old one comes late.
func TestNoPathIsJudgedByTheMarksOfAnother(t *testing.T) {
	for _, same := range []bool{false, true} {
		g := newRig(t)
		g.capable()
		old := g.sendMarked(4)
		if !same {
			g.p = g.newPath()
		}
		g.s.Activate(g.p)
		g.wantECN("another path, or another port", ECNUnknown)
		if n := len(g.sendMarked(1)); n != 0 {
			t.Error("the test does not wait for what is in flight elsewhere")
		}
		g.ackMarked(wire.ECNCounts{ECT0: 5}, old[0], old[1], old[2], old[3]+1)
		here := g.sendMarked(4)
		if len(here) != 4 {
			t.Fatalf("%d frames are marked", len(here))
		}
		g.ackMarked(wire.ECNCounts{ECT0: 6}, old[3], here[0], here[1], here[2], here[3])
		g.wantECN("one of each may have arrived", ECNUnknown)
		if here = g.sendMarked(20); len(here) != ecnTestFrames {
			t.Fatalf("%d frames are marked", len(here))
		}
		g.ackMarked(wire.ECNCounts{ECT0: 6}, here...)
		g.wantECN("none has arrived", ECNFailed)
		g.s.Activate(g.p)
		g.wantECN("another port", ECNUnknown)
	}
}

// A path that drops what is marked, from some moment on, is tested anew, as is one on
// which nothing arrives; and then no more.
func TestProbeTimeoutsBeginTheTestAnew(t *testing.T) {
	g := newRig(t)
	g.capable()
	marks := uint64(2)
	lose := func() {
		g.sendMarked(1)
		g.advanceToTimer()
		if !g.timeout() {
			t.Fatal("no probe timeout")
		}
		probe := g.send(2)
		g.after(50 * ms)
		g.ackMarked(wire.ECNCounts{ECT0: marks}, probe, probe+1)
	}
	lose()
	lose()
	marks++
	g.ackMarked(wire.ECNCounts{ECT0: marks}, g.sendMarked(1)...)
	lose()
	lose()
	g.wantECN("marked frames arrive now and then", ECNCapable)
	lose()
	g.wantECN("none arrives", ECNUnknown)
	if !g.p.Markable() {
		t.Fatal("it is not tested anew")
	}
	lose()
	lose()
	lose()
	if g.p.Markable() {
		t.Error("frames are still marked")
	}
}

func TestAcknowledgementsTellMarks(t *testing.T) {
	g := newRig(t)
	var a Acks
	tell := func() (c wire.Chunk) {
		t.Helper()
		if _, err := wire.ConsumeChunk(a.Append(g.now, nil, 100), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	a.OnReceived(g.now, 0, wire.NotECT, true, true)
	if c := tell(); c.Type != wire.TypeAck {
		t.Errorf("%v, though nothing was marked", &c)
	}
	a.OnReceived(g.now, 1, wire.ECT0, true, false)
	a.OnReceived(g.now, 2, wire.ECT1, false, false)
	if a.Due(g.now) {
		t.Error("due at once")
	}
	tell()
	a.OnReceived(g.now, 3, wire.CE, false, false)
	a.OnReceived(g.now, 4, wire.CE, true, false)
	if !a.Due(g.now) {
		t.Error("what met congestion is not acknowledged at once")
	}
	if c, want := tell(), (wire.ECNCounts{ECT0: 1, ECT1: 1, CE: 2}); c.Ack.Counts != want {
		t.Errorf("%v, want %v", &c, want)
	}
}
