package congestion

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// inFlight is something: the path is not idle.
const inFlight = 1

// drainPacer sends all that the pacer allows in d and returns the bytes, the timers
// it took and the largest burst.
func drainPacer(c *Controller, srtt, d time.Duration) (bytes, timers, burst int) {
	var p Pacer
	now := clock.Time(time.Hour)
	end, in := now.Add(d), 0
	for now < end {
		at := p.Until(now, inFlight, c, srtt, true)
		if at > now {
			now, in = at, 0
			timers++
			continue
		}
		p.OnSent(now, mds, inFlight, c, srtt)
		bytes += mds
		in += mds
		burst = max(burst, in)
	}
	return bytes, timers, burst
}

func pacedController(window int, slowStart bool) *Controller {
	var c Controller
	c.Init(CUBIC, mds)
	c.window = window
	if !slowStart {
		c.ssthresh = window
	}
	return &c
}

// RFC 9002 §7.7: rate = N * congestion_window / smoothed_rtt, N small but at
// least 1.
func TestPacerSpreadsTheWindowOverTheRoundTrip(t *testing.T) {
	for _, window := range []int{3 * mds, 10 * mds, 100 * mds, 10000 * mds} {
		for _, srtt := range []time.Duration{3 * ms, 50 * ms, 500 * ms} {
			for _, slow := range []bool{false, true} {
				c := pacedController(window, slow)
				gain := 1.25
				if slow {
					gain = 2
				}
				const rounds = 20
				bytes, timers, burst := drainPacer(c, srtt, rounds*srtt)
				want := gain * rounds * float64(window)
				full := max(int(burstTime.Seconds()*want/rounds/srtt.Seconds()), minBurst*mds)
				if got := float64(bytes); got < 0.98*want || got > 1.01*want+float64(full) {
					t.Errorf("window %d, srtt %v, slow start %v: %d bytes, want %.0f", window, srtt, slow, bytes, want)
				}
				if limit := full + mds; burst > limit {
					t.Errorf("window %d, srtt %v: a burst of %d", window, srtt, burst)
				}
				if most := int(rounds*srtt/wakeTime) + bytes/mds/50; timers > max(most, bytes/mds) {
					t.Errorf("window %d, srtt %v: %d timers", window, srtt, timers)
				}
			}
		}
	}
}

func TestPacerAllowsTheInitialWindowAtOnce(t *testing.T) {
	c := pacedController(10*mds, true)
	var p Pacer
	now := clock.Time(time.Hour)
	for i := range 10 {
		if p.Until(now, i*mds, c, 100*ms, true) != now {
			t.Fatalf("datagram %d has to wait", i+1)
		}
		p.OnSent(now, mds, i*mds, c, 100*ms)
	}
	if p.Until(now, inFlight, c, 100*ms, true) == now {
		t.Error("no end to the burst")
	}
}

func TestPacerLeavesShortPathsAlone(t *testing.T) {
	c := pacedController(10*mds, false)
	var p Pacer
	for range 1000 {
		p.OnSent(1, mds, inFlight, c, ms)
	}
	if p.Until(1, inFlight, c, unpacedRTT-1, true) != 1 {
		t.Error("paced")
	}
}

// What leaves a short path alone is not held against it should it become longer.
func TestNothingIsOwedForWhatWasNotPaced(t *testing.T) {
	c := pacedController(100*mds, false)
	var p Pacer
	now := clock.Time(time.Hour)
	for range 1000 {
		p.OnSent(now, mds, inFlight, c, time.Millisecond)
	}
	if wait := p.Until(now, inFlight, c, 10*time.Millisecond, true).Sub(now); wait > 2*time.Millisecond {
		t.Errorf("the next datagram waits for %v", wait)
	}
}

func TestAskingThePacerOftenCostsNothing(t *testing.T) {
	c := pacedController(3*mds, false)
	var p Pacer
	now := clock.Time(time.Hour)
	for range 3 {
		p.OnSent(now, mds, inFlight, c, 500*ms)
	}
	at := p.Until(now, inFlight, c, 500*ms, true)
	for now < at-1 {
		now += 1000
		p.Until(now, inFlight, c, 500*ms, true)
	}
	if got := p.Until(at, inFlight, c, 500*ms, true); got != at {
		t.Errorf("has to wait %v longer for having asked", got.Sub(at))
	}
}

// A machine that wakes the sender late does not make it slower, but for delays that no
// timer has; a sender that had nothing to send saves up no more than a burst.
func TestPacerMakesGoodWhatWasLate(t *testing.T) {
	c := pacedController(1000*mds, false)
	const srtt = 100 * ms
	perMs := float64(c.Rate(srtt)) / 1000
	for _, tc := range []struct {
		late  time.Duration
		waits bool
		want  float64 // milliseconds of sending in a burst
	}{
		{5 * ms, true, 6}, {15 * ms, true, 16}, {time.Second, true, 22}, {15 * ms, false, 2},
	} {
		var p Pacer
		now := clock.Time(time.Hour)
		burst := func(waits bool) (bytes int, at clock.Time) {
			for {
				if at = p.Until(now, inFlight, c, srtt, waits); at > now {
					return bytes, at
				}
				p.OnSent(now, mds, inFlight, c, srtt)
				bytes += mds
			}
		}
		_, at := burst(tc.waits)
		now = at.Add(tc.late)
		if got, _ := burst(tc.waits); float64(got) < (tc.want-.1)*perMs || float64(got) > (tc.want+.2)*perMs {
			t.Errorf("%v late, waiting %v: a burst of %.2f ms, want %.1f", tc.late, tc.waits, float64(got)/perMs, tc.want)
		}
	}
}
