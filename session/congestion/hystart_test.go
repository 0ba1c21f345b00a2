package congestion

import (
	"testing"
	"time"
)

// rounds runs the flow with the RTT samples that delay gives for each round and
// returns the window after each, in datagrams.
func rounds(f *flow, n int, delay func(round int) time.Duration) []int {
	var windows []int
	for i := range n {
		f.round(delay(i))
		windows = append(windows, f.c.Window()/mds)
	}
	return windows
}

// RFC 9406 §4.2: enter CSS when the RTT of a round exceeds that of the last by
// RttThresh; there growth is a quarter; leave slow start after five rounds.
func TestSlowStartEndsWhenTheDelayGrows(t *testing.T) {
	f := newFlow(100 * ms)
	fast := rounds(f, 2, func(int) time.Duration { return 100 * ms })
	slow := func(int) time.Duration { return 113 * ms } // RttThresh is 12.5 ms
	got := append(fast, rounds(f, cssRounds, slow)...)
	if !f.c.InSlowStart() {
		t.Errorf("windows %v: left slow start early", got)
	}
	got = append(got, rounds(f, 1, slow)...)
	// Two rounds double 10 to 40. In the third, 8 samples show the delay; the
	// rest of its 40 grow by a quarter: (40-7)/4 from there on.
	if got[0] != 20 || got[1] != 40 {
		t.Fatalf("windows %v: slow start does not double", got)
	}
	if got[2] < 40+8 || got[2] > 40+8+9 {
		t.Errorf("windows %v: the third round should grow by 7 and a quarter of 33", got)
	}
	if f.c.InSlowStart() {
		t.Errorf("windows %v: still in slow start", got)
	}
	if f.c.cubic.reduced {
		t.Error("a reduction without loss")
	}
}

// RFC 9406 §4.2: resume slow start if the RTT falls below the CSS baseline.
func TestSlowStartResumesAfterJitter(t *testing.T) {
	f := newFlow(100 * ms)
	got := rounds(f, 8, func(i int) time.Duration {
		if i == 2 {
			return 120 * ms
		}
		return 100 * ms
	})
	if !f.c.InSlowStart() || got[7] < 16*got[2] {
		t.Errorf("windows %v: slow start did not resume", got)
	}
}

// RFC 9406 §4.3: MIN_RTT_THRESH keeps small jitter of short paths from counting,
// MAX_RTT_THRESH bounds what a long path may queue.
func TestDelayThresholdIsBounded(t *testing.T) {
	for _, tt := range []struct {
		base, more time.Duration
		css        bool
	}{
		{5 * ms, 3 * ms, false},
		{5 * ms, 4 * ms, true},
		{400 * ms, 15 * ms, false},
		{400 * ms, 16 * ms, true},
	} {
		f := newFlow(tt.base)
		rounds(f, 3, func(i int) time.Duration {
			if i < 2 {
				return tt.base
			}
			return tt.base + tt.more
		})
		if css := f.c.hystart.baseline != noRTT; css != tt.css {
			t.Errorf("RTT %v and %v more: CSS %v, want %v", tt.base, tt.more, css, tt.css)
		}
	}
}

// RFC 9406 §4.3: HyStart++ is for the initial slow start.
func TestLaterSlowStartIgnoresTheDelay(t *testing.T) {
	f := newFlow(100 * ms)
	for range 4 {
		f.round(f.rtt)
	}
	f.lose()
	f.c.OnPersistentCongestion()
	got := rounds(f, 3, func(i int) time.Duration { return time.Duration(1+i) * 100 * ms })
	if got[2] != 16 {
		t.Errorf("windows %v, want 4, 8, 16", got)
	}
}
