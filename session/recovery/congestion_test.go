package recovery

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
)

// bdp is the bandwidth-delay product in bytes.
func bdp(mbit float64, rtt time.Duration) int { return int(mbit * 1e6 / 8 * rtt.Seconds()) }

// share is the part of the link that the flow took in d, in percent.
func (f *linkFlow) share(d time.Duration) int {
	return int(int64(f.received) * 8 * 100 * 1000 / (f.l.rate * d.Milliseconds()))
}

// watch collects how long the queue is, every 10 ms.
func (l *bottleneck) watch() *[]time.Duration {
	q := new([]time.Duration)
	l.onTick = func() { *q = append(*q, l.queued()) }
	return q
}

// quantile returns the smallest value that a share of the others, in percent, do
// not exceed.
func quantile(v []time.Duration, percent int) time.Duration {
	slices.Sort(v)
	return v[(len(v)-1)*percent/100]
}

// Random loss and a long way do not keep BBR from filling the link, the start
// included, and the queue stays short.
func TestBBRFillsLossyPaths(t *testing.T) {
	for _, tt := range []struct {
		mbit  float64
		rtt   time.Duration
		loss  float64
		want  int // percent, headers not counted
		queue time.Duration
	}{
		{50, 50 * ms, .01, 91, 30 * ms},
		{20, 100 * ms, .05, 87, 30 * ms},
		{10, 30 * ms, .10, 80, 30 * ms},
		{100, 200 * ms, 0, 87, 30 * ms},
		{2, 50 * ms, .03, 84, 90 * ms},
	} {
		var shares []int
		var queues []time.Duration
		for seed := range uint64(3) {
			l := newBottleneck(t, tt.mbit, max(bdp(tt.mbit, tt.rtt), 64<<10), tt.loss)
			l.rng = rand.New(rand.NewPCG(seed, 1))
			f := l.flow(congestion.BBR, tt.rtt, 0)
			l.run(2 * time.Second)
			queue := l.watch()
			l.run(6 * time.Second)
			shares = append(shares, f.share(8*time.Second))
			queues = append(queues, quantile(*queue, 99))
		}
		if q := quantile(queues, 50); q > tt.queue {
			t.Errorf("%v: one time in a hundred the queue exceeds %v", tt, q)
		}
		slices.Sort(shares)
		if shares[0] < tt.want-5 || shares[1] < tt.want {
			t.Errorf("%v: shares of %v%%", tt, shares)
		}
	}
}

// A queue of a tenth of the bandwidth-delay product overflows before the RTT
// says much. BBR must neither lose much there nor leave the link empty.
func TestBBRLeavesAShallowQueue(t *testing.T) {
	for _, rtt := range []time.Duration{40 * ms, 80 * ms} {
		l := newBottleneck(t, 20, bdp(20, rtt)/10, 0)
		f := l.flow(congestion.BBR, rtt, 0)
		l.run(3 * time.Second)
		sent, received := f.sent, f.received
		l.run(12 * time.Second)
		f.received -= received
		if got := f.share(12 * time.Second); got < 85 {
			t.Errorf("%v: %d%% of the link", rtt, got)
		}
		if lost := f.sent - sent - f.received; lost > f.received/100 {
			t.Errorf("%v: %d of %d bytes lost", rtt, lost, f.sent-sent)
		}
	}
}

// On a deep queue CUBIC builds what it finds room for; BBR does not.
func TestBBRDoesNotFillADeepQueue(t *testing.T) {
	const rtt = 50 * ms
	l := newBottleneck(t, 20, 4*bdp(20, rtt), 0)
	f := l.flow(congestion.BBR, rtt, 0)
	l.run(time.Second)
	queue := l.watch()
	l.run(20 * time.Second)
	if q := quantile(*queue, 99); q > 50*ms {
		t.Errorf("a queue of %v", q)
	}
	if got := f.share(21 * time.Second); got < 94 {
		t.Errorf("%d%% of the link", got)
	}
}

// Two flows on one link, the second 2 s later, share it.
func TestBBRSharesALink(t *testing.T) {
	for _, tt := range []struct {
		other congestion.Algorithm
		mbit  float64
		rtt   time.Duration
		queue float64 // bandwidth-delay products
		calm  bool    // the first flow
	}{
		{congestion.BBR, 10, 40 * ms, 1, false},
		{congestion.BBR, 10, 40 * ms, 4, false},
		{congestion.BBR, 50, 20 * ms, 2, false},
		{congestion.BBR, 100, 50 * ms, 1, false},
		{congestion.BBR, 50, 100 * ms, 1, false},
		{congestion.BBR, 10, 200 * ms, 1, false},
		{congestion.BBR, 50, 200 * ms, 2, false},
		{congestion.BBR, 10, 40 * ms, 1, true},
		{congestion.BBR, 20, 100 * ms, 2, true},
		{congestion.CUBIC, 10, 40 * ms, 1, false},
		{congestion.CUBIC, 50, 20 * ms, 1, false},
		{congestion.CUBIC, 50, 50 * ms, 1, false},
		{congestion.CUBIC, 50, 20 * ms, 4, false},
		{congestion.CUBIC, 10, 100 * ms, 1, false},
		{congestion.CUBIC, 10, 200 * ms, 1, false},
		{congestion.CUBIC, 50, 200 * ms, 1, false},
		{congestion.CUBIC, 100, 4 * ms, 2, false},
		{congestion.CUBIC, 20, 100 * ms, 2, false},
		{congestion.CUBIC, 20, 100 * ms, 2, true},
		{congestion.BBR, 100, 1500 * time.Microsecond, 6, false}, // not paced
		{congestion.CUBIC, 100, 1500 * time.Microsecond, 2, false},
		{congestion.CUBIC, 100, 1500 * time.Microsecond, 6, false},
	} {
		l := newBottleneck(t, tt.mbit, int(tt.queue*float64(bdp(tt.mbit, tt.rtt))), 0)
		a, b := l.flow(congestion.BBR, tt.rtt, 0), l.flow(tt.other, tt.rtt, 2*time.Second)
		a.p.SetCalm(l.now, tt.calm)
		l.run(10 * time.Second)
		a0, b0 := a.received, b.received
		l.run(40 * time.Second)
		a.received -= a0
		b.received -= b0
		both := a.received + b.received
		if got := 100 * a.received / both; got < 35 || got > 65 {
			t.Errorf("%v: BBR took %d%%", tt, got)
		}
		if got := a.share(40*time.Second) + b.share(40*time.Second); got < 93 {
			t.Errorf("%v: %d%% of the link in all", tt, got)
		}
	}
}

// A path that comes to carry much less is found out within four of the round trips that
// the queue then makes; after that the queue is as short as if it never had carried more.
func TestBBRFindsALowerRateSoon(t *testing.T) {
	for _, rtt := range []time.Duration{5 * ms, 10 * ms, 50 * ms} {
		l := newBottleneck(t, 100, 1<<18, 0)
		l.flow(congestion.BBR, rtt, 0)
		l.run(2 * time.Second)
		l.rate = 10e6
		full := time.Duration(l.queue) * time.Second / time.Duration(l.rate/8)
		l.run(4 * (rtt + full))
		if got := l.queued(); got > 50*ms {
			t.Errorf("RTT %v: after four round trips there is a queue of %v still", rtt, got)
		}
		l.run(2 * time.Second)
		queue := l.watch()
		l.run(8 * time.Second)
		if q := quantile(*queue, 99); q > 25*ms {
			t.Errorf("RTT %v: a queue of %v where less is carried", rtt, q)
		}
	}
}

// A queue of twenty round trips that CUBIC fills leaves a short path its share, soon, too:
// on the average of ten moments at which that comes.
func TestBBRHoldsOutOnAShortPath(t *testing.T) {
	const rtt = 500 * time.Microsecond
	share := 0
	for k := range time.Duration(10) {
		l := newBottleneck(t, 100, 20*bdp(100, rtt), 0)
		a, b := l.flow(congestion.BBR, rtt, 0), l.flow(congestion.CUBIC, rtt, 2*time.Second+k*70*ms)
		l.run(5 * time.Second)
		a0, b0 := a.received, b.received
		l.run(10 * time.Second)
		share += 100 * (a.received - a0) / (a.received - a0 + b.received - b0) / 10
	}
	if share < 35 {
		t.Errorf("BBR took %d%%", share)
	}
}
