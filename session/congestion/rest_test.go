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
			c.Init(CUBIC, mds)
			c.window, c.ssthresh = tc.window, tc.ssthresh
			c.sentAt, c.sentLast = start, 9
			return c
		}
		c := silent()
		if _, ok := c.Rest(start.Add(2*pto), pto); ok != (tc.window <= InitialWindow(mds)) {
			t.Errorf("%s: at rest after two probe timeouts: %v", tc.name, ok)
		}
		c = silent()
		later := start.Add(10 * pto)
		m, ok := c.Rest(later, pto)
		if !ok {
			t.Errorf("%s: not at rest", tc.name)
			continue
		}
		var woken Controller
		woken.Init(CUBIC, mds)
		woken.Wake(m)
		want := silent()
		want.OnSent(later, 10, 0, pto, 0)
		woken.OnSent(later, 10, 0, pto, 0)
		if woken.window != want.window || woken.ssthresh != want.ssthresh || woken.InSlowStart() != want.InSlowStart() {
			t.Errorf("%s: window %d, threshold %d; want %d, %d", tc.name, woken.window, woken.ssthresh, want.window, want.ssthresh)
		}
	}
}

// BBR keeps its rate over a rest, and what the path carries, and uses them at once.
func TestRestKeepsTheRate(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	p.run(3 * time.Second)
	p.c.bbr.train.rate = 1_000_000
	p.flying, p.fly = nil, 0
	m, ok := p.c.Rest(p.now.Add(time.Minute), time.Second)
	if !ok {
		t.Fatal("not at rest")
	}
	woken := newPipe(p.rate, p.rtt)
	woken.c.Wake(m)
	if got := int(woken.c.bbr.train.rate); !near(got, p.rate, 1) {
		t.Errorf("a train has told of %d bytes/s", got)
	}
	woken.run(time.Second)
	if woken.got < p.rate*8/10 || woken.queue > 20*ms {
		t.Errorf("%d bytes in the first second, a queue of %v", woken.got, woken.queue)
	}
}
