package congestion

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A controller that rested goes on as one that was only silent.
func TestRestIsLikeSilence(t *testing.T) {
	const mds = 1200
	const pto = 100 * time.Millisecond
	for _, tc := range []struct {
		name             string
		window, ssthresh int
	}{
		{"before the first loss", 500_000, noSSThresh},
		{"after a loss", 500_000, 300_000},
		{"as at first", InitialWindow(mds), noSSThresh},
		{"small", 3 * mds, 3 * mds},
	} {
		start := clock.Time(time.Second)
		silent := func() (c Controller) {
			c.Init(mds)
			c.window, c.ssthresh = tc.window, tc.ssthresh
			c.sentAt, c.sentLast = start, 9
			return c
		}
		c := silent()
		if _, _, ok := c.Rest(start.Add(2*pto), pto); ok != (tc.window <= InitialWindow(mds)) {
			t.Errorf("%s: at rest after two probe timeouts: %v", tc.name, ok)
		}
		c = silent()
		later := start.Add(10 * pto)
		window, ssthresh, ok := c.Rest(later, pto)
		if !ok {
			t.Errorf("%s: not at rest", tc.name)
			continue
		}
		var woken Controller
		woken.Init(mds)
		woken.Wake(window, min(ssthresh, 1<<31-1))
		want := silent()
		want.OnSent(later, 10, 0, pto)
		woken.OnSent(later, 10, 0, pto)
		if woken.window != want.window || woken.ssthresh != want.ssthresh || woken.InSlowStart() != want.InSlowStart() {
			t.Errorf("%s: window %d, threshold %d; want %d, %d", tc.name, woken.window, woken.ssthresh, want.window, want.ssthresh)
		}
	}
}
