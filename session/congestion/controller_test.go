package congestion

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

const (
	mds = 1200
	ms  = time.Millisecond
)

// A flow keeps a window full over a path of a fixed RTT, a round at a time.
type flow struct {
	c   Controller
	now clock.Time
	pn  uint64
	rtt time.Duration
}

func newFlow(rtt time.Duration) *flow {
	f := &flow{now: clock.Time(time.Hour), rtt: rtt}
	f.c.Init(CUBIC, mds)
	return f
}

// round sends a full window and acknowledges it one datagram at a time, spread
// over one RTT, with the given RTT sample.
func (f *flow) round(sample time.Duration) {
	n := max(f.c.Window()/mds, 1)
	sentAt, first := f.now, f.pn
	for range n {
		f.c.OnSent(f.now, f.pn, 1, time.Second, 0)
		f.pn++
	}
	for i := range n {
		f.now = f.now.Add(f.rtt / time.Duration(n))
		f.ack(first+uint64(i), sentAt, sample)
	}
}

func (f *flow) ack(pn uint64, sentAt clock.Time, sample time.Duration) {
	f.c.Credit(sentAt, mds)
	f.c.OnAck(f.now, Ack{Largest: pn, InFlight: f.c.Window(), Sample: sample, Smoothed: f.rtt})
}

func (f *flow) lose() {
	f.c.OnLoss(f.now, f.now, mds)
	f.now++
}

// RFC 9002 §7.2.
func TestInitialWindow(t *testing.T) {
	for _, tt := range []struct{ mds, want int }{
		{1200, 12000}, {1472, 14720}, {1500, 14720}, {8952, 17904}, {65507, 131014},
	} {
		if got := InitialWindow(tt.mds); got != tt.want {
			t.Errorf("MDS %d: %d, want %d", tt.mds, got, tt.want)
		}
	}
}

func TestSlowStartDoublesEachRound(t *testing.T) {
	f := newFlow(50 * ms)
	want := f.c.Window()
	for range 6 {
		want *= 2
		if f.round(50 * ms); f.c.Window() != want {
			t.Fatalf("window %d, want %d", f.c.Window(), want)
		}
	}
}

// RFC 9002 §7.8: SHOULD NOT be increased when it is underutilized.
func TestUnusedWindowDoesNotGrow(t *testing.T) {
	f := newFlow(50 * ms)
	for _, state := range []string{"slow start", "congestion avoidance"} {
		before := f.c.Window()
		for range 100 {
			f.now = f.now.Add(f.rtt)
			f.c.Credit(f.now-1, mds)
			f.c.OnAck(f.now, Ack{Largest: f.pn, InFlight: before/2 - 1, Sample: f.rtt, Smoothed: f.rtt})
		}
		if got := f.c.Window(); got != before {
			t.Errorf("%s: window grew from %d to %d", state, before, got)
		}
		f.lose()
	}
}

// RFC 9438 §5.8: the curve must not go on while the application is idle.
func TestCurveWaitsForTheApplication(t *testing.T) {
	busy, lazy := newFlow(50*ms), newFlow(50*ms)
	for _, f := range []*flow{busy, lazy} {
		for range 6 {
			f.round(f.rtt)
		}
		f.lose()
		for range 20 {
			f.round(f.rtt)
		}
	}
	for range 200 { // ten seconds of little traffic
		lazy.now = lazy.now.Add(lazy.rtt)
		lazy.c.OnAck(lazy.now, Ack{InFlight: mds, Smoothed: lazy.rtt})
	}
	for range 20 {
		busy.round(busy.rtt)
		lazy.round(lazy.rtt)
	}
	if a, b := busy.c.Window(), lazy.c.Window(); b > a+a/50 {
		t.Errorf("window %d after a pause, %d without", b, a)
	}
}

// RFC 9438 §4.6: beta is 0.7. RFC 9002 §7.3.1: once per round trip.
func TestLossReducesOncePerRound(t *testing.T) {
	f := newFlow(50 * ms)
	f.round(f.rtt)
	before, sent := f.c.Window(), f.now
	f.now = f.now.Add(f.rtt)
	if !f.c.OnLoss(f.now, sent, mds) || f.c.Window() != before*7/10 {
		t.Fatalf("window %d after a loss, want %d", f.c.Window(), before*7/10)
	}
	if f.c.OnLoss(f.now, f.now, mds) {
		t.Error("a frame sent before the reduction reduced again")
	}
	f.c.Credit(sent, 10*mds)
	f.c.OnAck(f.now, Ack{InFlight: f.c.Window(), Smoothed: f.rtt})
	if f.c.Window() != before*7/10 {
		t.Error("a frame sent before the reduction made the window grow")
	}
	if !f.c.OnLoss(f.now+2, f.now+1, mds) {
		t.Error("a frame sent after the reduction did not reduce")
	}
}

func TestWindowNeverFallsBelowTwoDatagrams(t *testing.T) {
	f := newFlow(50 * ms)
	for range 30 {
		f.lose()
	}
	if got := f.c.Window(); got != 2*mds {
		t.Errorf("window %d, want %d", got, 2*mds)
	}
	f.c.SetMDS(9000)
	if got := f.c.Window(); got != 18000 {
		t.Errorf("window %d for a larger MDS, want 18000", got)
	}
}

func TestUndoRestoresTheCurve(t *testing.T) {
	f, calm := newFlow(50*ms), newFlow(50*ms)
	for _, g := range []*flow{f, calm} {
		for range 5 {
			g.round(g.rtt)
		}
		g.lose()
		g.c.Confirm()
		for range 30 {
			g.round(g.rtt)
		}
	}
	f.lose()
	if !f.c.Undo() {
		t.Fatal("nothing undone")
	}
	if f.c.Undo() {
		t.Fatal("undone twice")
	}
	f.round(f.rtt)
	calm.now++
	calm.round(calm.rtt)
	if a, b := f.c.Window(), calm.c.Window(); a != b {
		t.Errorf("window %d, want %d as without the loss", a, b)
	}
}

func TestUndoNeverShrinksTheWindow(t *testing.T) {
	f := newFlow(50 * ms)
	f.lose()
	for range 100 {
		f.round(f.rtt)
	}
	before := f.c.Window()
	if f.c.Undo() || f.c.Window() != before {
		t.Errorf("window went from %d to %d", before, f.c.Window())
	}
}

// RFC 9002 §7.6.2: MUST be reduced to the minimum congestion window.
func TestPersistentCongestionStartsOver(t *testing.T) {
	f := newFlow(50 * ms)
	for range 5 {
		f.round(f.rtt)
	}
	f.lose()
	f.c.OnPersistentCongestion()
	if f.c.Window() != 2*mds || !f.c.InSlowStart() || f.c.Undo() {
		t.Errorf("window %d, slow start %v", f.c.Window(), f.c.InSlowStart())
	}
	// RFC 9002 appendix B.8: congestion_recovery_start_time = 0, so whatever
	// arrives now counts.
	f.c.Credit(0, 2*mds)
	f.c.OnAck(f.now, Ack{InFlight: 2 * mds, Smoothed: f.rtt})
	if f.c.Window() != 4*mds {
		t.Errorf("window %d after a round, want %d", f.c.Window(), 4*mds)
	}
}

func TestIdlePathLosesItsWindowButNotItsGoal(t *testing.T) {
	const pto = 200 * ms
	f := newFlow(50 * ms)
	for range 5 {
		f.round(f.rtt)
	}
	before := f.c.Window()
	f.c.OnSent(f.now, f.pn, 0, pto, 0)
	f.now = f.now.Add(pto)
	f.c.OnSent(f.now, f.pn+1, 0, pto, 0)
	if f.c.Window() != before {
		t.Fatal("decayed within one PTO")
	}
	f.now = f.now.Add(2 * pto)
	f.c.OnSent(f.now, f.pn+2, mds, pto, 0)
	if f.c.Window() != before {
		t.Fatal("decayed though something was in flight")
	}
	f.now = f.now.Add(2*pto + 1)
	f.c.OnSent(f.now, f.pn+3, 0, pto, 0)
	if got := f.c.Window(); got != before/4 || !f.c.InSlowStart() {
		t.Fatalf("window %d after two idle PTO, want %d in slow start", got, before/4)
	}
	f.now = f.now.Add(time.Hour)
	f.c.OnSent(f.now, f.pn+4, 0, pto, 0)
	if got := f.c.Window(); got != InitialWindow(mds) {
		t.Errorf("window %d after an hour, want the initial one", got)
	}
}

func TestCurveStartsAnewAfterIdleTime(t *testing.T) {
	f := newFlow(50 * ms)
	for range 6 {
		f.round(f.rtt)
	}
	f.lose()
	f.round(f.rtt)
	f.now = f.now.Add(time.Minute)
	f.c.OnSent(f.now, f.pn, 0, 200*ms, 0)
	for f.c.InSlowStart() {
		f.round(f.rtt)
	}
	before := f.c.Window()
	f.round(f.rtt)
	if got := f.c.Window(); got > before+2*mds {
		t.Errorf("window leapt from %d to %d", before, got)
	}
}

// RFC 9438 §4.2: the target is at most 1.5 windows.
func TestWindowGrowsByHalfPerRoundAtMost(t *testing.T) {
	f := newFlow(50 * ms)
	f.c.window = 1000 * mds
	f.lose()
	f.round(f.rtt)
	before := f.c.Window()
	f.now = f.now.Add(time.Hour) // far beyond the plateau
	f.c.Credit(f.now, before)
	f.c.OnAck(f.now, Ack{InFlight: before, Smoothed: f.rtt})
	if got := f.c.Window(); got != before/2*3 {
		t.Errorf("window %d, want half more than %d", got, before)
	}
}

// The integer arithmetic follows the formulas of the RFC through growth,
// losses and fast convergence.
func TestCubicFollowsTheRFC(t *testing.T) {
	for _, rtt := range []time.Duration{5 * ms, 30 * ms, 100 * ms, 400 * ms} {
		f := newFlow(rtt)
		f.c.window, f.c.ssthresh = 400*mds, 400*mds
		ref := &reference{cwnd: 400}
		rng := rand.New(rand.NewPCG(1, uint64(rtt)))
		for event := range 12 {
			f.lose()
			ref.loss()
			start, begun := f.now, false
			rounds := 5 + rng.IntN(100)
			for range rounds {
				n := f.c.Window() / mds
				for range n {
					f.now = f.now.Add(rtt / time.Duration(n))
					now := seconds(f.now.Sub(start))
					if !begun {
						ref.begin(now)
						begun = true
					}
					f.ack(0, f.now-1, 0)
					ref.ack(now, 1, seconds(rtt))
				}
			}
			got, want := float64(f.c.Window())/mds, ref.cwnd
			if math.Abs(got-want) > 1+want/200 {
				t.Fatalf("rtt %v, event %d: window of %.2f datagrams, want %.2f", rtt, event, got, want)
			}
		}
	}
}

// RFC 9438 §4.7: a flow that loses before it is back where it was gives more.
func TestFastConvergenceLowersThePlateau(t *testing.T) {
	var c cubic
	w := c.reduce(100 * mds)
	if c.wMax != 100*mds || w != 70*mds {
		t.Fatalf("plateau %d, window %d", c.wMax, w)
	}
	c.reduce(80 * mds)
	if c.wMax != 68*mds {
		t.Errorf("plateau %d, want %d", c.wMax, 68*mds)
	}
}

func TestWindowIsBoundedWhateverIsCredited(t *testing.T) {
	f := newFlow(ms)
	f.c.SetMDS(65507)
	for i := range 200 {
		f.now = f.now.Add(time.Hour)
		f.c.Credit(f.now, MaxWindow)
		f.c.OnAck(f.now, Ack{InFlight: MaxWindow, Smoothed: time.Minute})
		if w := f.c.Window(); w < 0 || w > MaxWindow {
			t.Fatalf("window %d", w)
		}
		if i%50 == 49 {
			f.lose()
		}
	}
}

func TestCubeRoot(t *testing.T) {
	for n := range uint64(100000) {
		if r := cubeRoot(n); r*r*r > n || (r+1)*(r+1)*(r+1) <= n {
			t.Fatalf("cube root of %d: %d", n, r)
		}
	}
	for r := uint64(2000000); r < 2000100; r++ {
		if cubeRoot(r*r*r) != r || cubeRoot(r*r*r-1) != r-1 {
			t.Fatalf("cube root of %d^3", r)
		}
	}
	if got := cubeRoot(math.MaxUint64); got != 2642245 {
		t.Errorf("cube root of the largest: %d", got)
	}
}

func TestControllerAllocatesNothing(t *testing.T) {
	f := newFlow(50 * ms)
	if n := testing.AllocsPerRun(100, func() { f.round(f.rtt); f.lose() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// RFC 9002 §7.1: a mark counts as a loss does, once in a round trip; and since it is
// no mistake, nothing is undone.
func TestMarkReducesOnceAndForGood(t *testing.T) {
	f, g := newFlow(50*ms), newFlow(50*ms)
	f.round(50 * ms)
	g.round(50 * ms)
	f.lose()
	sentAt := g.now
	g.c.OnMark(g.now, sentAt)
	g.now++
	g.c.OnMark(g.now, sentAt)
	if f.c.Window() != g.c.Window() || f.c.ssthresh != g.c.ssthresh {
		t.Errorf("a window of %d bytes after a loss, and of %d after marks", f.c.Window(), g.c.Window())
	}
	if g.c.OnLoss(g.now, sentAt, mds) || g.c.Undoable() {
		t.Error("a loss in the same round trip can be undone")
	}
	if !f.c.Undoable() {
		t.Fatal("a loss cannot be undone")
	}
	f.c.OnMark(f.now, sentAt)
	if f.c.Undo() || f.c.Window() != g.c.Window() {
		t.Error("a loss is undone although the network has marked frames of that round trip")
	}
}
