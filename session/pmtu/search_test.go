package pmtu

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A road carries datagrams up to mtu. Each probe takes one step of its clock.
type road struct {
	t    *testing.T
	s    Search
	now  clock.Time
	mtu  int
	sent int // probes
	lost int
}

func newRoad(t *testing.T, base, limit, mtu int) *road {
	r := &road{t: t, mtu: mtu, now: clock.Time(time.Hour)}
	r.s.Init(base, limit)
	return r
}

// search runs until there is nothing left to probe.
func (r *road) search() {
	r.t.Helper()
	for {
		size, ok := r.s.NextProbe(r.now)
		if !ok {
			return
		}
		if r.sent++; r.sent > 100 {
			r.t.Fatalf("mtu %d: the search does not end", r.mtu)
		}
		r.s.OnProbeSent(size)
		if _, again := r.s.NextProbe(r.now); again {
			r.t.Fatal("two probes in flight")
		}
		r.now = r.now.Add(50 * time.Millisecond)
		if size <= r.mtu {
			r.s.OnProbeAcked(r.now, size)
		} else {
			r.lost++
			r.s.OnProbeLost(r.now, size)
		}
	}
}

func TestSearchFindsWhatThePathCarries(t *testing.T) {
	for mtu := 1200; mtu <= ethernet; mtu++ {
		r := newRoad(t, 1200, 65507, mtu)
		r.search()
		if got := r.s.Current(); got > mtu || got < mtu-fineEnough {
			t.Errorf("path of %d: found %d", mtu, got)
		}
	}
}

func TestSearchKnowsTheUsualSizesAtOnce(t *testing.T) {
	for _, tt := range []struct{ limit, mtu, want, sent int }{
		{65507, 1472, 1472, 1 + maxProbes}, // Ethernet, and a look at jumbo frames
		{65507, 1452, 1452, 1 + maxProbes},
		{65507, 8972, jumbo, 2 + maxProbes},
		{65507, 65507, 65507, 3}, // loopback
		{1472, 1472, 1472, 1},
		{1350, 1472, 1350, 1},
		{1200, 1472, 1200, 0},
		{1000, 1472, 1000, 0},
	} {
		r := newRoad(t, min(1200, tt.limit), tt.limit, tt.mtu)
		r.search()
		if r.s.Current() != tt.want || r.sent != tt.sent {
			t.Errorf("limit %d, path of %d: found %d after %d probes, want %d after %d",
				tt.limit, tt.mtu, r.s.Current(), r.sent, tt.want, tt.sent)
		}
	}
}

func TestOneLostProbeDecidesNothing(t *testing.T) {
	r := newRoad(t, 1200, ethernet, ethernet)
	for range maxProbes - 1 {
		size, _ := r.s.NextProbe(r.now)
		r.s.OnProbeSent(size)
		r.s.OnProbeLost(r.now, size)
	}
	r.search()
	if got := r.s.Current(); got != ethernet {
		t.Errorf("found %d, want %d", got, ethernet)
	}
}

func TestProbeThoughtLostStillProvesItsSize(t *testing.T) {
	r := newRoad(t, 1200, ethernet, 1200)
	var size int
	for range maxProbes {
		size, _ = r.s.NextProbe(r.now)
		r.s.OnProbeSent(size)
		r.s.OnProbeLost(r.now, size)
	}
	r.s.OnProbeAcked(r.now, size)
	if got := r.s.Current(); got != size {
		t.Errorf("found %d, want %d", got, size)
	}
}

func TestSearchBeginsAgainAfterTheRaiseTimer(t *testing.T) {
	r := newRoad(t, 1200, ethernet, 1400)
	r.search()
	if d := r.s.Deadline().Sub(r.now); d != raiseTime {
		t.Fatalf("raise timer in %v, want %v", d, raiseTime)
	}
	r.mtu = ethernet
	if r.search(); r.s.Current() > 1400 {
		t.Fatal("searched before the timer")
	}
	r.now = r.s.Deadline()
	r.search()
	if got := r.s.Current(); got != ethernet {
		t.Errorf("found %d after the path widened, want %d", got, ethernet)
	}
	if r.s.Deadline() != clock.Never {
		t.Error("a raise timer runs though there is nothing above")
	}
}

// burst loses one frame of each size at one moment.
func (r *road) burst(sizes ...int) {
	r.now = r.now.Add(100 * time.Millisecond)
	for _, n := range sizes {
		r.s.OnLoss(r.now, n)
	}
}

func TestBlackHoleFallsBackToTheBase(t *testing.T) {
	r := newRoad(t, 1200, ethernet, ethernet)
	r.search()
	for range blackHole + 1 {
		r.burst(1472, 1300)
		r.s.OnAcked(1200) // small frames pass
	}
	if got := r.s.Current(); got != 1200 {
		t.Fatalf("still %d after %d bursts", got, blackHole+1)
	}
	if d := r.s.Deadline().Sub(r.now); d != blackHoleTime {
		t.Fatalf("next search in %v, want %v", d, blackHoleTime)
	}
	r.mtu = 1299
	r.now = r.s.Deadline()
	r.search()
	if got := r.s.Current(); got > 1299 || got < 1299-fineEnough {
		t.Errorf("found %d, want 1299 or little less", got)
	}
}

// A sender that fills its window with large frames between probe timeouts sees
// few bursts, and long ones.
func TestLongBurstsTellABlackHoleSooner(t *testing.T) {
	r := newRoad(t, 1200, ethernet, ethernet)
	r.search()
	long := slices.Repeat([]int{1472}, 3*burstMax+1)
	r.burst(long...)
	r.s.OnAcked(1200)
	if got := r.s.Current(); got != ethernet {
		t.Fatalf("fell back to %d after one burst, which congestion may be", got)
	}
	r.burst(long...)
	if got := r.s.Current(); got != 1200 {
		t.Errorf("still %d after two", got)
	}
}

func TestCongestionIsNoBlackHole(t *testing.T) {
	for name, between := range map[string]func(r *road){
		"small frames are lost too": func(r *road) { r.burst(1472, 100) },
		"large frames arrive":       func(r *road) { r.burst(1472); r.s.OnAcked(1472) },
		"of many one arrives":       func(r *road) { r.burst(slices.Repeat([]int{1472}, 3*burstMax+1)...); r.s.OnAcked(1472) },
		"some large frames arrive":  func(r *road) { r.burst(1472); r.burst(1472); r.burst(1472); r.s.OnAcked(1472) },
	} {
		r := newRoad(t, 1200, ethernet, ethernet)
		r.search()
		for range 20 {
			between(r)
		}
		if got := r.s.Current(); got != ethernet {
			t.Errorf("%s: fell back to %d", name, got)
		}
	}
}

func TestFramesThatStillFitDoNotHideABlackHole(t *testing.T) {
	r := newRoad(t, 1200, ethernet, ethernet)
	r.search()
	for range blackHole + 1 {
		r.burst(1472)
		r.s.OnAcked(1300)
	}
	if got := r.s.Current(); got != 1200 {
		t.Errorf("still %d", got)
	}
}

func TestBlackHoleIgnoresProbesFromBefore(t *testing.T) {
	r := newRoad(t, 1200, 65507, ethernet)
	size, _ := r.s.NextProbe(r.now)
	r.s.OnProbeSent(size)
	r.s.OnProbeAcked(r.now, size)
	size, _ = r.s.NextProbe(r.now)
	r.s.OnProbeSent(size)
	for range blackHole + 1 {
		r.burst(1472)
	}
	r.s.OnProbeAcked(r.now, size)
	if got := r.s.Current(); got != 1200 {
		t.Errorf("an old probe raised the MTU to %d", got)
	}
}

func TestSilenceFallsBackToTheBase(t *testing.T) {
	r := newRoad(t, 1200, ethernet, ethernet)
	r.s.OnSilence(r.now)
	if r.s.Deadline() != clock.Never {
		t.Error("silence stopped a search that had found nothing yet")
	}
	r.search()
	r.s.OnSilence(r.now)
	if got := r.s.Current(); got != 1200 {
		t.Errorf("still %d", got)
	}
	if d := r.s.Deadline().Sub(r.now); d != blackHoleTime {
		t.Errorf("next search in %v, want %v", d, blackHoleTime)
	}
}
