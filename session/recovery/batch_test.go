package recovery

import (
	"math/rand/v2"
	"testing"
	"time"
)

// batches sends n frames as the path would have them, in batches of up to 8. lose says
// which get lost.
func (g *rig) batches(n int, lose func(batched bool) bool) {
	g.t.Helper()
	for n > 0 {
		size := min(g.p.BatchMax(g.now), 8)
		first := g.send(size)
		g.s.OnBatch(first) // more would be there
		var arrived []uint64
		for pn := first; pn < first+uint64(size); pn++ {
			if !lose(size > 1) {
				arrived = append(arrived, pn)
			}
		}
		g.after(10 * ms)
		if len(arrived) > 0 {
			g.ack(arrived...)
		}
		n -= size
	}
}

func (g *rig) wantBatches(why string, want batchState) {
	g.t.Helper()
	g.p.BatchMax(g.now) // concludes
	if got := g.p.batches.state; got != want {
		g.t.Fatalf("%s: state %d, want %d; %+v", why, got, want, g.p.batches)
	}
}

func TestBatchesAreTriedWhenTheyGetLost(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	chance := func(p float64) bool { return rng.Float64() < p }
	for _, tt := range []struct {
		name            string
		batched, single float64 // share lost
		watched, tried  batchState
	}{
		{"nothing is lost", 0, 0, batchesWatched, batchesWatched},
		{"losses are rare", 0.004, 0, batchesWatched, batchesWatched},
		{"all get lost alike", 0.1, 0.1, batchesTried, batchesTrusted},
		{"batches get lost somewhat more", 0.15, 0.08, batchesTried, batchesTrusted},
		{"batches get lost", 0.1, 0, batchesTried, batchesRefused},
		{"batches get lost much more", 0.3, 0.02, batchesTried, batchesRefused},
	} {
		g := newRig(t).measured(10 * ms)
		lose := func(batched bool) bool {
			if batched {
				return chance(tt.batched)
			}
			return chance(tt.single)
		}
		for i := 0; i < 2000 && g.p.batches.state == batchesWatched; i += 8 {
			g.batches(8, lose)
			g.p.BatchMax(g.now)
		}
		g.wantBatches(tt.name+", at first", tt.watched)
		g.batches(4000, lose)
		g.wantBatches(tt.name, tt.tried)
		g.after(batchBelief)
		g.wantBatches(tt.name+", long after", batchesWatched)
	}
}

// A row of losses may have any cause: it counts once.
func TestLossesInARowAreOne(t *testing.T) {
	g := newRig(t).measured(10 * ms)
	for range batchSuspect - 1 {
		n := 0
		g.batches(32, func(bool) bool { n++; return n > 8 && n <= 24 })
	}
	g.batches(8, func(bool) bool { return false })
	g.wantBatches("nine rows", batchesWatched)
	n := 0
	g.batches(16, func(bool) bool { n++; return n == 1 })
	g.wantBatches("one more", batchesTried)
}

// Single frames between bursts meet no queue. That they arrive says nothing of those
// that leave in a burst.
func TestSparseFramesAcquitNobody(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		g := newRig(t).measured(10 * ms)
		for range 30 {
			g.batches(160, func(bool) bool { return rng.Float64() < 0.1 })
			for range 250 {
				g.p.BatchMax(g.now)
				pn := g.send(1)
				g.after(10 * ms)
				g.ack(pn)
			}
			if g.p.BatchesRefused(g.now) {
				t.Fatal("batches are refused although single frames of bursts get lost as well")
			}
		}
	}
}

// What only came late is no loss.
func TestLateFramesOfBatchesAreNotLost(t *testing.T) {
	g := newRig(t).measured(10 * ms)
	for range batchSuspect + 5 {
		first := g.send(8)
		g.s.OnBatch(first)
		g.after(10 * ms)
		g.ack(first+4, first+5, first+6, first+7)
		g.ack(first, first+1, first+2, first+3)
		g.p.BatchMax(g.now)
	}
	g.wantBatches("all late", batchesWatched)
}

// A run that only came late gives back what it was counted for, and no more.
func TestLateRunIsOneLossLess(t *testing.T) {
	g := newRig(t).measured(10 * ms)
	for range batchSuspect - 1 { // losses indeed
		n := 0
		g.batches(16, func(bool) bool { n++; return n == 1 })
	}
	first := g.send(8)
	g.s.OnBatch(first)
	g.after(10 * ms)
	g.ack(first+4, first+5, first+6, first+7)
	g.ack(first, first+1, first+2, first+3)
	if got := g.p.batches.batched.losses; g.r.Spurious != 4 || got != batchSuspect-1 {
		t.Errorf("%d losses, want %d, with %d late", got, batchSuspect-1, g.r.Spurious)
	}
}

// Runs of batches and of single frames take turns during a trial.
func TestFramesTakeTurnsDuringATrial(t *testing.T) {
	g := newRig(t).measured(10 * ms)
	for range 7 {
		g.send(1)
	}
	g.p.batches.enter(batchesTried, g.p.sent)
	var got []int
	for range 20 {
		n := g.p.BatchMax(g.now)
		got = append(got, n)
		g.send(n)
	}
	// 8 frames, measured's included, are sent: 8 are left of the run.
	want := []int{8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16, 1, 1}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("batches of at most %v, want %v", got, want)
		}
	}
}

// Congestion control hears what the losses were due to once the last of them is known:
// else it would take those for something else.
func TestLossesOfBatchesAreExplainedWhenTheyAreKnown(t *testing.T) {
	g := newRig(t).measured(10 * ms)
	n := 0
	for range 1000 {
		if g.p.BatchMax(g.now); g.p.BatchesRefused(g.now) {
			break
		}
		g.batches(1, func(batched bool) bool { n++; return batched && n%4 != 0 })
	}
	g.wantBatches("three of four lost", batchesRefused)
	first := g.send(20)
	if g.p.BatchMax(g.now); !g.p.batches.explained {
		t.Error("it has heard while others may be under way")
	}
	g.after(10 * ms)
	for pn := first; pn < first+20; pn++ {
		g.ack(pn)
		g.p.BatchMax(g.now)
	}
	if g.p.batches.explained || !g.p.cc.InSlowStart() {
		t.Error("it has not heard")
	}
}

// A refusal outlasts a rest, and no longer than it would have.
func TestRestKeepsWhatIsKnownOfBatches(t *testing.T) {
	g := newRig(t).measured(10 * ms)
	g.p.batches.refuse(g.now.Add(batchBelief), 0)
	g.after(time.Minute)
	m, ok := g.p.Rest(g.now, MaxAckDelay)
	if !ok || !m.BatchesRefused(g.now) {
		t.Fatal("forgotten at rest")
	}
	g.p.Wake(&m, 0, DefaultMDS)
	if g.p.BatchMax(g.now) != 1 || !g.p.BatchesRefused(g.now) {
		t.Error("forgotten afterwards")
	}
	g.after(batchBelief - time.Minute)
	if g.p.BatchMax(g.now) == 1 {
		t.Error("refused for longer")
	}
}
