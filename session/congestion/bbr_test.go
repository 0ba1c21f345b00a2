package congestion

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A pipe delivers at a rate what a controller sends, one datagram after the
// other, and acknowledges each after a round trip: a path with an endless queue.
type pipe struct {
	c       Controller
	s       Sampler
	p       Pacer
	now     clock.Time
	rate    int // bytes a second
	rtt     time.Duration
	free    clock.Time // when the last datagram has passed
	flying  []datagram
	fly     int // bytes
	pn      uint64
	lose    func(pn uint64) bool
	limited bool
	bunch   time.Duration // acknowledgements come together, each so often; 0 is never
	got     int
	queue   time.Duration // longest since it was last reset
}

type datagram struct {
	pn         uint64
	sent, back clock.Time
	stamp      Stamp
	lost       bool
}

func newPipe(rate int, rtt time.Duration) *pipe {
	p := &pipe{now: clock.Time(time.Hour), rate: rate, rtt: rtt, lose: func(uint64) bool { return false }}
	p.free = p.now
	p.c.Init(BBR, mds)
	return p
}

func (p *pipe) send() {
	p.c.OnSent(p.now, p.pn, p.fly, time.Second, p.rtt)
	p.p.OnSent(p.now, mds, p.fly, &p.c, p.rtt)
	d := datagram{pn: p.pn, sent: p.now, stamp: p.s.OnSent(p.now, p.fly), lost: p.lose(p.pn)}
	if !d.lost {
		p.free = max(p.free, p.now).Add(time.Duration(mds) * time.Second / time.Duration(p.rate))
		p.queue = max(p.queue, p.free.Sub(p.now))
	}
	d.back = max(p.free, p.now).Add(p.rtt)
	if p.bunch > 0 {
		d.back += clock.Time(p.bunch) - d.back%clock.Time(p.bunch)
	}
	p.flying = append(p.flying, d)
	p.fly += mds
	p.pn++
}

// run keeps the window full for a while, or sends one datagram each 20 ms.
func (p *pipe) run(d time.Duration) {
	end := p.now.Add(d)
	tick := p.now
	for p.now < end {
		next := end
		if p.limited {
			if p.now >= tick {
				p.send()
				p.s.OnLimited(p.fly)
				tick = tick.Add(20 * ms)
			}
			next = min(next, tick)
		} else {
			for p.fly+mds <= p.c.Window() {
				if at := p.p.Until(p.now, p.fly, &p.c, p.rtt, true); at > p.now {
					next = min(next, at)
					break
				}
				p.send()
			}
		}
		if len(p.flying) > 0 {
			next = min(next, p.flying[0].back)
		}
		p.now = max(p.now, next)
		for len(p.flying) > 0 && p.flying[0].back <= p.now {
			p.settle()
		}
	}
}

func (p *pipe) settle() {
	d := p.flying[0]
	p.flying = p.flying[1:]
	before := p.fly
	p.fly -= mds
	if d.lost {
		p.c.OnLoss(p.now, d.sent, mds)
		return
	}
	p.got += mds
	p.s.OnDelivered(p.now, d.sent, mds, d.stamp)
	p.c.OnAck(p.now, Ack{Largest: d.pn, InFlight: before, Left: p.fly, Sample: p.now.Sub(d.sent), Smoothed: p.rtt, Rate: p.s.Take(p.rtt)})
}

func near(got, want, percent int) bool {
	return got >= want-want*percent/100 && got <= want+want*percent/100
}

func TestModelFindsRateAndRoundTrip(t *testing.T) {
	for _, rate := range []int{50_000, 1_000_000, 20_000_000} {
		for _, rtt := range []time.Duration{5 * ms, 50 * ms, 300 * ms} {
			p := newPipe(rate, rtt)
			p.run(20*rtt + 2*time.Second)
			b := &p.c.bbr
			if !near(int(b.rate()), rate, 3) || b.minRTT < rtt || b.minRTT > rtt+rtt/10+2*mds*time.Second/time.Duration(rate) {
				t.Errorf("%d bytes/s, RTT %v: the model says %d, %v", rate, rtt, b.rate(), b.minRTT)
			}
			if b.phase < down || b.phase > probeRTT {
				t.Errorf("%d bytes/s, RTT %v: phase %d", rate, rtt, b.phase)
			}
		}
	}
}

// §5.1: Startup, Drain and the cycle of ProbeBW, in their order.
func TestPhasesFollowEachOther(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	var seen []phase
	for range 6000 {
		p.run(ms)
		if n := len(seen); n == 0 || seen[n-1] != p.c.bbr.phase {
			seen = append(seen, p.c.bbr.phase)
		}
	}
	for len(seen) > 2 && seen[1] == hold && seen[2] == startup {
		seen = seen[2:] // Hold has drained the queue that it was to measure
	}
	want := []phase{startup, hold, drain, cruise, refill, up, down, cruise, refill, up, down, cruise}
	for i, w := range want {
		if i >= len(seen) || seen[i] != w {
			t.Fatalf("phases %v, want %v", seen, want)
		}
	}
}

func TestRateFollowsThePath(t *testing.T) {
	p := newPipe(1_000_000, 40*ms)
	p.run(3 * time.Second)
	for _, rate := range []int{4_000_000, 500_000} {
		p.rate = rate
		p.run(15 * time.Second)
		if got := int(p.c.bbr.rate()); !near(got, rate, 5) {
			t.Errorf("%d bytes/s after the path has come to carry %d", got, rate)
		}
	}
}

// §4.5: a flow that the application limits says nothing about the path.
func TestLimitedSamplesNeverLowerTheRate(t *testing.T) {
	p := newPipe(1_000_000, 40*ms)
	p.run(3 * time.Second)
	before := p.c.bbr.rate()
	p.limited = true
	p.run(2 * time.Minute)
	if got := p.c.bbr.rate(); got < before {
		t.Errorf("the rate fell from %d to %d", before, got)
	}
	if got := p.c.Rate(p.rtt); got < before*8/10 || got > before*13/10 {
		t.Errorf("paced at %d, the path carries %d", got, before)
	}
	p.limited = false
	p.got, p.queue = 0, 0
	p.run(time.Second)
	if p.got < p.rate*9/10 || p.queue > 40*ms {
		t.Errorf("%d bytes in the first second of bulk again, a queue of %v", p.got, p.queue)
	}
}

// The queue is drained after Startup, and probing fills it only a little.
func TestQueueStaysShort(t *testing.T) {
	for _, rtt := range []time.Duration{20 * ms, 50 * ms, 200 * ms} {
		p := newPipe(2_000_000, rtt)
		p.run(3 * time.Second)
		p.queue = 0
		p.run(20 * time.Second)
		if p.queue > 35*ms {
			t.Errorf("RTT %v: a queue of %v", rtt, p.queue)
		}
	}
}

// Where short messages wait behind what is sent the queue is shorter still, at the price of
// a little of the rate.
func TestCalmKeepsTheQueueShorter(t *testing.T) {
	for _, rtt := range []time.Duration{20 * ms, 50 * ms, 200 * ms} {
		p := newPipe(2_000_000, rtt)
		p.run(3 * time.Second)
		p.c.SetCalm(p.now, true)
		p.run(4 * rtt)
		p.queue, p.got = 0, 0
		cruising := uint64(0) // at the fastest
		for range 20_000 {
			if p.run(ms); p.c.bbr.phase == cruise {
				cruising = max(cruising, p.c.Rate(rtt))
			}
		}
		if p.queue > 13*ms {
			t.Errorf("RTT %v: a queue of %v", rtt, p.queue)
		}
		if share := int(cruising) * 100 / p.rate; share < 95 || share > 98 {
			t.Errorf("RTT %v: cruises at up to %d%% of what the path carries: that drains no queue, or too much is left free", rtt, share)
		}
		if share := p.got * 100 / (20 * p.rate); share < 95 {
			t.Errorf("RTT %v: %d%% of what the path carries", rtt, share)
		}
	}
}

// A queue that probing has made goes at once when somebody waits behind it.
func TestCalmEndsProbing(t *testing.T) {
	const rtt = 200 * ms
	for _, after := range []bool{false, true} {
		p := newPipe(2_000_000, rtt)
		p.run(3 * time.Second)
		for tries := 0; p.c.bbr.phase != up || p.free.Sub(p.now) < 6*ms; tries++ {
			if p.run(ms); tries == 10_000 {
				t.Fatal("probing makes no queue")
			}
		}
		if after {
			p.c.bbr.beginDown(p.now)
		}
		p.c.SetCalm(p.now, true)
		p.run(rtt / 8)
		if queue := p.free.Sub(p.now); queue > ms {
			t.Errorf("there is a queue of %v still; probing had ended: %v", queue, after)
		}
	}
}

// Who sends a short message now and then finds that the path carries more all the same.
func TestCalmThatComesAndGoesDoesNotStopProbing(t *testing.T) {
	for _, pause := range []time.Duration{500 * ms, time.Second} {
		p := newPipe(2_000_000, 150*ms)
		p.run(3 * time.Second)
		p.rate *= 4
		for range 30 {
			p.c.SetCalm(p.now, true)
			p.run(2 * time.Second)
			p.c.SetCalm(p.now, false)
			p.run(pause)
		}
		if got := int(p.c.bbr.rate()); !near(got, p.rate, 5) {
			t.Errorf("pauses of %v: %d bytes/s, the path carries %d", pause, got, p.rate)
		}
	}
}

// So that it finds a path that has come to carry more, and surprises nobody.
func TestCalmProbingGoesFasterByDegrees(t *testing.T) {
	for _, rtt := range []time.Duration{100 * ms, 300 * ms, 600 * ms} {
		p := newPipe(2_000_000, rtt)
		p.run(30 * rtt)
		p.c.SetCalm(p.now, true)
		p.run(10 * rtt)
		p.rate *= 8
		p.queue = 0
		excess := 0
		for end := p.now.Add(200 * rtt); p.now < end; {
			p.run(ms)
			b := &p.c.bbr
			if b.phase != up {
				excess = 0
				continue
			}
			if n := b.gain - one; excess > 0 && n > 2*excess {
				t.Fatalf("RTT %v: probing sends %d 256ths too much after %d", rtt, n, excess)
			}
			excess = b.gain - one
		}
		if got := int(p.c.bbr.rate()); !near(got, p.rate, 5) {
			t.Errorf("RTT %v: %d bytes/s after 200 round trips, the path carries %d", rtt, got, p.rate)
		}
		if p.queue > rtt/4+10*ms {
			t.Errorf("RTT %v: a queue of %v", rtt, p.queue)
		}
	}
}

// What is left free is not forgotten: the rate does not fall further with each probing that
// comes to no queue, be it for acknowledgements in bunches or because it is broken off.
func TestCalmKeepsTheRate(t *testing.T) {
	for _, bunch := range []time.Duration{0, 20 * ms} {
		for _, pause := range []time.Duration{0, time.Second} { // of calm, after two seconds of it
			p := newPipe(2_000_000, 200*ms)
			p.bunch = bunch
			p.run(3 * time.Second)
			for range 60 {
				p.c.SetCalm(p.now, true)
				p.got = 0
				p.run(2 * time.Second)
				if p.c.SetCalm(p.now, pause == 0); pause > 0 {
					p.run(pause)
				}
			}
			if share := p.got * 100 / (p.rate * int((2*time.Second+pause)/time.Second)); share < 85 {
				t.Errorf("bunches of %v, pauses of %v: %d%% of what the path carries after 2 minutes", bunch, pause, share)
			}
		}
	}
}

// Where acknowledgements come in bunches more has to be in flight than the model says. On
// the shortest paths a millisecond is allowed for that already: more would be a queue.
func TestBunchesDoNotSwellTheWindowOfAShortPath(t *testing.T) {
	const rate = 100_000_000
	p := newPipe(rate, 200*time.Microsecond)
	p.bunch = 4 * ms
	p.run(2 * time.Second)
	if allowed := int(shortRTT.Seconds()*rate) * (cwndGainUp + one/4) / one; p.c.Window() > allowed {
		t.Errorf("window of %d, the model allows %d", p.c.Window(), allowed)
	}
}

// A path within one machine holds what fits the caches, and is full nevertheless.
func TestWindowOfAFastShortPathIsSmall(t *testing.T) {
	const rate = 2_000_000_000
	for rtt, most := range map[time.Duration]int{
		50 * time.Microsecond:  shortMax * cwndGainUp / one,
		100 * time.Microsecond: shortMax * cwndGainUp / one,
		500 * time.Microsecond: rate / 2000 * 10 / 9 * cwndGainUp / one, // what that path does hold
	} {
		p := newPipe(rate, rtt)
		p.run(200 * ms)
		p.got = 0
		seen := map[phase]bool{}
		for range 1000 {
			p.run(100 * time.Microsecond)
			seen[p.c.bbr.phase] = true
			if got := p.c.Window(); got > most {
				t.Fatalf("RTT %v: a window of %d bytes, want %d at most", rtt, got, most)
			}
		}
		if seen[startup] || seen[drain] || !seen[cruise] || !seen[up] {
			t.Errorf("RTT %v: phases %v", rtt, seen)
		}
		if p.got < rate/10*9/10 {
			t.Errorf("RTT %v: %d bytes in 100 ms, the path carries %d", rtt, p.got, rate/10)
		}
	}
}

// Where more than the caches hold has to be in flight anyhow, bunches come on top.
func TestBunchesDoNotSlowAFastPath(t *testing.T) {
	const rate = 2_000_000_000
	p := newPipe(rate, 500*time.Microsecond)
	p.bunch = ms
	p.run(200 * ms)
	p.got = 0
	p.run(200 * ms)
	if p.got < rate/5*9/10 {
		t.Errorf("%d bytes in 200 ms, the path carries %d", p.got, rate/5)
	}
}

// Nothing is known to be full as long as nothing has been measured.
func TestNothingIsFullAtFirst(t *testing.T) {
	var c Controller
	c.Init(BBR, mds)
	for range 2 {
		if c.Fills(0) {
			t.Error("nothing in flight fills the path")
		}
		c.OnSent(clock.Time(time.Hour), 0, 0, time.Second, 50*ms)
	}
}

// Losses that do not come of a queue take a part of the rate and no more.
func TestUsualLossIsNoCongestion(t *testing.T) {
	for _, every := range []uint64{100, 20, 10} {
		p := newPipe(1_000_000, 50*ms)
		p.lose = func(pn uint64) bool { return shuffle(pn+1)%every == 0 }
		p.run(3 * time.Second)
		p.got = 0
		p.run(10 * time.Second)
		if p.got < 10*p.rate*92/100 {
			t.Errorf("one of %d lost: %d%% of the rate", every, p.got/(p.rate/10))
		}
	}
}

func TestUsualLossIsBounded(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	p.run(time.Second)
	p.lose = func(pn uint64) bool { return pn%2 == 0 }
	p.run(20 * time.Second)
	if got := p.c.bbr.baseline(); got > baselineMax {
		t.Errorf("%d/256 of losses are taken for usual", got)
	}
	if got := int(p.c.Rate(p.rtt)); got > 2*p.rate {
		t.Errorf("paced at %d", got)
	}
}

// What a spurious loss taught is forgotten.
func TestUndoLiftsTheBounds(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	p.run(3 * time.Second)
	before := p.c.bbr.bounds
	p.c.OnLoss(p.now, p.now, mds)
	p.c.bbr.short, p.c.bbr.shortRate = 10*mds, 1000
	if !p.c.Undo() || p.c.bbr.bounds != before {
		t.Errorf("bounds %v, want %v", p.c.bbr.bounds, before)
	}
}

// RFC 9002 §7.6.2: after persistent congestion nothing is known.
func TestPersistentCongestionStartsTheModelOver(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	p.run(3 * time.Second)
	p.c.OnPersistentCongestion()
	if p.c.Window() != 2*mds || !p.c.InSlowStart() {
		t.Fatalf("window %d", p.c.Window())
	}
	p.rate, p.flying, p.fly = 200_000, nil, 0
	p.run(3 * time.Second)
	if got := int(p.c.bbr.rate()); !near(got, p.rate, 5) {
		t.Errorf("%d bytes/s, want %d", got, p.rate)
	}
}

func TestWindowOfBBRIsBounded(t *testing.T) {
	var c Controller
	c.Init(BBR, mds)
	now := clock.Time(time.Hour)
	var s Sampler
	for i := range 1000 {
		now = now.Add(time.Microsecond)
		f := s.OnSent(now, 1)
		now = now.Add(time.Microsecond)
		s.OnDelivered(now, now-1000, MaxWindow, f)
		c.OnAck(now, Ack{InFlight: c.Window(), Left: 1, Sample: time.Duration(1 + i%7), Smoothed: time.Hour, Rate: s.Take(0)})
		if w := c.Window(); w < 2*mds || w > MaxWindow {
			t.Fatalf("window %d", w)
		}
		if i%50 == 49 {
			c.OnLoss(now, now, MaxWindow)
		}
		if i%300 == 299 {
			c.SetMDS(65507)
		}
	}
}

// What an application that sends little sees of the RTT ends no Startup: bulk that
// follows begins as on a new path.
func TestLightTrafficDoesNotEndStartup(t *testing.T) {
	p := newPipe(2_000_000, 40*ms)
	p.limited = true
	p.run(100 * ms)
	p.rtt = 60 * ms
	p.run(5 * time.Second)
	p.limited, p.rtt = false, 40*ms
	p.got = 0
	p.run(2 * time.Second)
	if p.got < 2*p.rate*80/100 {
		t.Errorf("%d%% of what the path carries in the first two seconds of bulk", p.got/(2*p.rate/100))
	}
}

// A path that has come to carry very much more is found in one probing.
func TestProbingBecomesStartup(t *testing.T) {
	p := newPipe(100_000, 40*ms)
	p.run(3 * time.Second)
	p.rate = 20_000_000
	p.run(5 * time.Second)
	if got := int(p.c.bbr.rate()); !near(got, p.rate, 5) {
		t.Errorf("%d bytes/s after 5 s, the path carries %d", got, p.rate)
	}
}

// Who has a smaller part of the path asks for a larger part of that: as much as who has
// all of it. Nobody does who does not know how much there is.
func TestProbingGoesByThePartOfThePath(t *testing.T) {
	for _, tt := range []struct {
		rate, told    uint64
		calm          bool
		gentle, steep int // in 256ths, beyond 1
	}{
		{1_000_000, 1_000_000, false, 10, 32}, // 8 of 200 ms; an eighth
		{500_000, 1_000_000, false, 20, 64},
		{250_000, 1_000_000, false, 40, 128},
		{10_000, 1_000_000, false, 40, 128},
		{1_000_000, 900_000, false, 10, 32},
		{250_000, 1_000_000, true, 4, 128}, // the least there is
		{250_000, 0, false, 10, 64},
	} {
		var b bbr
		b.init(mds)
		b.minRTT, b.rates[1], b.train.rate, b.calm = 200*ms, tt.rate, tt.told, tt.calm
		if got := b.gentleGain() - one; got != tt.gentle {
			t.Errorf("%+v: gentle probing sends %d/256 more", tt, got)
		}
		if got := b.steepGain() - one; got != tt.steep {
			t.Errorf("%+v: probing among others sends %d/256 more", tt, got)
		}
	}
}

// That less arrives than was sent, with a queue all the time, shows that the path carries
// less: slowly, or at once if the queue is long and it is less than half.
func TestRateIsVoidWhereAQueueStands(t *testing.T) {
	const sent = 1_000_000
	type model struct {
		standing        int // round trips
		voided, crowded bool
		lastGain        int
	}
	const long, short = 101 * ms, 99 * ms // the least is 50 ms
	for _, tt := range []struct {
		model
		rtt  time.Duration
		gain int
		got  uint64
		lost int // per cent, as always
		want uint64
	}{
		{model{2, false, false, one}, long, one, 400_000, 0, 400_000},
		{model{2, true, false, one}, long, one, 400_000, 0, sent}, // once
		{model{1, false, false, one}, long, one, 400_000, 0, sent},
		{model{2, false, false, one}, short, one, 400_000, 0, sent},
		{model{2, false, false, one}, long, one, 510_000, 0, sent},
		{model{2, false, true, one}, long, one, 400_000, 0, sent},
		{model{3, false, false, one}, short, one, 400_000, 0, 699_190}, // 0.7 at once
		{model{3, false, false, one}, short, one, 900_000, 0, 900_000},
		{model{3, false, false, one}, short, one, 980_000, 0, sent},
		{model{3, false, false, one}, short, gainDown, 890_000, 0, sent}, // as much as was sent
		{model{3, false, false, gainDown}, short, one, 890_000, 0, sent},
		{model{3, false, false, 0}, short, one, 400_000, 0, sent}, // nobody knows what was
		{model{3, false, false, one}, short, one, 850_000, 14, sent},
		{model{3, false, false, one}, short, one, 750_000, 14, 750_000},
		{model{3, false, true, one}, short, one, 400_000, 0, sent},
		{model{crowdedTurns, false, true, one}, short, one, 400_000, 0, 400_000},
	} {
		var b bbr
		b.init(mds)
		b.minRTT, b.rates[1] = 50*ms, sent
		b.standing, b.voided, b.crowded, b.lastGain = tt.standing, tt.voided, tt.crowded, tt.lastGain
		if tt.standing == crowdedTurns {
			b.rates = [2]uint64{sent, 300_000}
		}
		b.lost, b.seen = 10*mds*tt.lost, 1000*mds
		if got := b.renewed(&turn{
			least: tt.rtt, rateSum: tt.got, rates: 1, gain: tt.gain,
			lost: tt.lost * mds, delivered: (100 - tt.lost) * mds,
		}); !near(int(got), int(tt.want), 1) {
			t.Errorf("%+v: %d bytes/s", tt, got)
		}
	}
}

func (b *bbr) renewed(t *turn) uint64 {
	b.renew(t)
	return b.rate()
}

// What a train has told is out of date once the path is known to carry less, or more.
func TestWhatATrainToldIsKeptUpToDate(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	p.c.bbr.train.rate = 1_000_000
	p.run(3 * time.Second)
	p.rate = 100_000
	p.run(6 * time.Second)
	if got := int(p.c.bbr.train.rate); !near(got, p.rate, 10) {
		t.Errorf("%d bytes/s where the path has come to carry %d", got, p.rate)
	}
	p.rate = 500_000
	p.run(10 * time.Second)
	if got := int(p.c.bbr.train.rate); !near(got, p.rate, 10) {
		t.Errorf("%d bytes/s where the path has come to carry %d", got, p.rate)
	}
}

// That the queue goes shows that it was the path that carried less, unless there are others.
func TestQueueThatGoesTellsOfThePath(t *testing.T) {
	for _, crowded := range []bool{false, true} {
		var b bbr
		b.init(mds)
		b.filled, b.phase, b.crowded, b.standing, b.voided = true, cruise, crowded, 3, true
		b.minRTT, b.rates[1], b.train.rate = 50*ms, 100_000, 1_000_000
		b.ease(&turn{samples: 1, least: 51 * ms})
		if told := b.train.rate; (told == 100_000) == crowded || b.voided || b.standing != 0 {
			t.Errorf("crowded is %v: %d bytes/s, voided is still %v after %d round trips", crowded, told, b.voided, b.standing)
		}
	}
}

// What a round trip is measured by is the slowest that it, or the one before, was sent at.
func TestPhasesLowerWhatARoundTripIsMeasuredBy(t *testing.T) {
	var b bbr
	b.init(mds)
	b.turn.gain = one
	b.enter(1, down)
	b.enter(1, cruise)
	if b.turn.gain != gainDown {
		t.Errorf("%d/256 after Down", b.turn.gain)
	}
	b.enter(1, probeRTT)
	b.enter(1, cruise)
	if b.turn.gain != 0 {
		t.Errorf("%d/256 after ProbeRTT", b.turn.gain)
	}
}

// A mark in Startup ends it at once, and bounds what is in flight.
func TestMarkEndsStartup(t *testing.T) {
	p := newPipe(5_000_000, 50*ms)
	p.run(120 * ms)
	if p.c.bbr.phase != startup {
		t.Fatalf("phase %d after two round trips", p.c.bbr.phase)
	}
	p.c.OnMark(p.now, p.now)
	if p.c.bbr.phase != drain {
		t.Errorf("phase %d at a mark", p.c.bbr.phase)
	}
	p.run(50 * ms)
	if b := &p.c.bbr; b.phase == startup || b.long == noBound {
		t.Errorf("phase %d, a bound of %d bytes", b.phase, b.long)
	}
}

// Marks are answered round trip by round trip, each once, and losses that turn out
// to be none give nothing of that back.
func TestMarksBoundWhatIsInFlight(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	p.run(3 * time.Second)
	for p.c.bbr.phase != cruise {
		p.run(10 * ms)
	}
	rate, window := p.c.Rate(50*ms), p.c.Window()
	p.c.OnMark(p.now, p.now)
	p.c.OnMark(p.now, p.now)
	p.c.OnLoss(p.now, p.now, mds)
	p.run(70 * ms)
	once := p.c.bbr.bounds
	if once.short == noBound || p.c.Window() >= window || p.c.Rate(50*ms) > rate {
		t.Errorf("bounds %+v, a window of %d bytes that was %d, %d bytes/s that were %d", once, p.c.Window(), window, p.c.Rate(50*ms), rate)
	}
	if once.short < window*6/10 {
		t.Errorf("one round trip with marks leaves %d of %d bytes", once.short, window)
	}
	p.c.Undo()
	if p.c.bbr.bounds != once {
		t.Errorf("the bounds are %+v, and were %+v", p.c.bbr.bounds, once)
	}
}

// What is lost beside marks is congestion's, and not what the path usually loses.
func TestLossBesideMarksIsNotUsual(t *testing.T) {
	p := newPipe(1_000_000, 50*ms)
	p.run(3 * time.Second)
	before := p.c.bbr.seen
	p.lose = func(pn uint64) bool { return pn%10 == 0 }
	for range 100 {
		p.c.OnMark(p.now, p.now)
		p.run(10 * ms)
	}
	if b := &p.c.bbr; b.lost > 0 || b.seen > before {
		t.Errorf("%d of %d bytes are taken for what is usually lost", b.lost, b.seen)
	}
}
