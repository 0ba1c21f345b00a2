package congestion

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

const us = time.Microsecond

// acked feeds a train the acknowledgements of two datagrams each that come after the
// given pauses. The datagrams were sent over spread, evenly.
func (t *train) acked(spread time.Duration, pauses ...time.Duration) {
	now, sent := t.last.Add(time.Hour), t.last
	t.onAck(now, sent, 2*mds, mds)
	for _, p := range pauses {
		now, sent = now.Add(p), sent.Add(spread/time.Duration(len(pauses)))
		t.onAck(now, sent, 2*mds, mds)
	}
}

func TestTrainTellsHowFastALinkIs(t *testing.T) {
	const even = 200 * us
	rate := func(bytes int, took time.Duration) uint64 { return uint64(bytes) * uint64(time.Second) / uint64(took) }
	for _, tt := range []struct {
		what   string
		spread time.Duration
		pauses []time.Duration
		want   uint64
	}{
		{"ten datagrams", 0, []time.Duration{even, even, even, even}, rate(8*mds, 4*even)},
		{"jitter", 0, []time.Duration{50 * us, 350 * us, even, even}, rate(8*mds, 4*even)},
		{"sent a little apart", even, []time.Duration{even, even, even, even}, rate(8*mds, 4*even)},
		{"too few", 0, []time.Duration{even, even, even}, 0},
		{"sent as they arrived", 4 * even, []time.Duration{even, even, even, even}, 0},
		{"sent half as far apart", 2*even + 8, []time.Duration{even, even, even, even}, 0},
		{"all at once", 0, []time.Duration{us, us, us, us}, 0},
		{"two bunches", 0, []time.Duration{us, us, 2 * time.Millisecond, us}, 0},
	} {
		tr := train{last: clock.Time(time.Hour)}
		tr.acked(tt.spread, tt.pauses...)
		if tr.rate != tt.want {
			t.Errorf("%s: %d bytes a second, want %d", tt.what, tr.rate, tt.want)
		}
	}
}

// Who wakes up late for the first acknowledgement takes the link for faster than it is.
func TestSlowestTrainIsBelieved(t *testing.T) {
	tr := train{last: clock.Time(time.Hour)}
	tr.acked(0, 100*us, 100*us, 100*us, 100*us)
	fast := tr.rate
	tr.acked(0, 200*us, 200*us, 200*us, 200*us)
	if tr.rate != fast/2 {
		t.Errorf("%d after %d: the slower train is not believed", tr.rate, fast)
	}
	tr.acked(0, 100*us, 100*us, 100*us, 100*us)
	if tr.rate != fast/2 {
		t.Errorf("%d: the faster train is believed", tr.rate)
	}
}

// A path that carries much for its length is half full a round trip after the first
// datagrams have returned, and has no queue then.
func TestStartupLeapsToWhatTrainsTell(t *testing.T) {
	for _, rate := range []int{1_000_000, 6_000_000, 12_500_000} {
		const rtt = 200 * ms
		p := newPipe(rate, rtt)
		p.run(rtt + 20*ms)
		before := p.got
		p.queue = 0
		p.run(rtt - 20*ms)
		full := rate / int(time.Second/rtt)
		if got := p.got + p.fly - before; got < full*4/10 {
			t.Errorf("%d bytes/s: %d bytes sent in the second round trip, of %d that it carries", rate, got, full)
		}
		if p.queue > 15*ms { // of trains
			t.Errorf("%d bytes/s: a queue of %v", rate, p.queue)
		}
		p.run(3 * time.Second)
		if !near(int(p.c.bbr.rate()), rate, 3) {
			t.Errorf("%d bytes/s: the model says %d", rate, p.c.bbr.rate())
		}
	}
}

// A leap fills half of what a train has told, at half of the rate.
func TestLeapIsBounded(t *testing.T) {
	p := newPipe(1_000_000, 100*ms)
	b := &p.c.bbr
	b.minRTT, b.train.rate = 100*ms, 4_000_000
	b.tryTrain()
	if w, r := p.c.Window(), p.c.Rate(100*ms); w != 200_000 || r != 2_000_000 {
		t.Errorf("a window of %d bytes, sent at %d bytes/s", w, r)
	}
}

// Over a long round trip Startup has several trains to tell by, not the initial window
// alone.
func TestStartupSendsTrains(t *testing.T) {
	p := newPipe(6_000_000, 200*ms)
	p.run(150 * ms)
	trains, n := 0, 0
	for i, d := range p.flying {
		if n++; i+1 == len(p.flying) || p.flying[i+1].sent != d.sent {
			if n >= trainAcks+trainBytes/2 {
				trains++
			}
			n = 0
		}
	}
	if trains < 3 {
		t.Errorf("%d trains among %d datagrams", trains, len(p.flying))
	}
	p.run(100 * ms)
	if p.c.train() != 0 {
		t.Error("more trains are wanted when one has told the rate")
	}
}

// Where none tells anything, and jitter has Startup begin again and again, there are no more.
func TestTrainsAreFew(t *testing.T) {
	p := newPipe(6_000_000, 50*ms)
	p.bunch = 20 * ms
	p.run(200 * ms)
	if rate := p.c.bbr.train.rate; rate != 0 {
		t.Fatalf("bunches tell of %d bytes/s", rate)
	}
	p.c.bbr.enter(p.now, startup)
	if p.c.train() != 0 {
		t.Error("trains after several round trips")
	}
}

// A leap lasts for a round trip, also where a mark ends Startup meanwhile: a Startup that
// follows much later is not held to what a train told.
func TestLeapEndsWithItsRoundTrip(t *testing.T) {
	p := newPipe(6_000_000, 100*ms)
	for range 200 {
		if p.c.bbr.leap == leaping {
			break
		}
		p.run(ms)
	}
	p.c.OnMark(p.now, p.now)
	p.run(250 * ms)
	if p.c.bbr.leap != landed {
		t.Errorf("leap %d", p.c.bbr.leap)
	}
}
