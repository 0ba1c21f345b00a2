package congestion

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// Constants of draft-ietf-ccwg-bbr-04, as 256ths where they are fractions.
const (
	one           = 256
	gainDown      = 231 // 0.9
	gainUp        = 320 // 1.25
	gainEase      = 251
	gainHold      = 192
	gainDrain     = 128 // 0.5: what a start that triples leaves behind is a whole BDP; also for Down when calm
	gainMargin    = 255 // of what is measured (§5.6.2); the draft has 253, which is not needed where Cruise eases
	cwndGain      = 2 * one
	cwndGainUp    = 576 // 2.25
	headroom      = 218 // 0.85 of what was too much
	beta          = 179 // 0.7
	startupLosses = 6   // datagrams
	lossThresh    = 50  // 1/50: 2 % lost in a round trip is too much
	plateau       = 320 // growth by less than 1.25 in a round trip is none
	plateauTurns  = 3

	probeRTTEvery = 5 * time.Second
	probeRTTTime  = 200 * time.Millisecond
	probeRTTGain  = one / 2
	probeWait     = 2 * time.Second // and up to a second more
	probeRounds   = 63              // as often as Reno would need to regain what a loss takes
)

// Constants of this implementation (SPEC §5.2).
const (
	// startupGrowth is how much more than what was acknowledged is sent in
	// Startup.
	startupGrowth = 3
	// startupRate lets the first round trip begin with more than the initial
	// window if it is long: what this many bytes a second send in it.
	startupRate    = 250_000
	startupMax     = 40 // datagrams
	startupLoss    = 5  // 1/5 lost in a round trip ends Startup: it may overshoot by more
	leapShare      = 2  // parts of the path, one of which a leap fills
	trainTurns     = 2  // round trips that are sent in trains
	shortRTT       = time.Millisecond
	shortMax       = 512 << 10            // bytes that it accounts for at most
	upQueue        = 8 * time.Millisecond // what a round trip of gentle probing queues
	calmUpQueue    = 3 * time.Millisecond
	upLeast        = 4                    // in 256ths, by which the rate grows at least: less would be lost in what is measured
	calmMargin     = 8                    // in 256ths, of the rate, that Cruise leaves free when calm
	partsMax       = 4                    // as many of its rates as a flow takes the path to carry at most
	gentleTurns    = 3                    // in which it would show
	queueMin       = 4 * time.Millisecond // RTT_THRESH of RFC 9406 §4.3
	queueMax       = 16 * time.Millisecond
	crowdedLeast   = 16 * time.Millisecond // that a queue of others may last, however short the path
	queueSamples   = 8
	easeTurns      = 8    // in which Cruise at gainEase drains a queue, if it is its own
	crowdedTurns   = 32   // after which the rate is measured anew where others fill the queue
	crowdedMax     = 6    // least round trips
	arrivesShare   = 250  // in 256ths, of what was sent, that arrives unless the path carries less
	longQueue      = 2    // least round trips: a queue that makes them so long tells at once that it does
	lessTurns      = 3    // with a queue, after which a path is taken to carry less than it did
	firstWait      = 3    // round trips
	probedTurns    = 2    // after probing, in which what was lost in it is missed
	youngCycles    = 16   // of probing follow Startup sooner: a flow that came late gets its share
	youngHaste     = 3    // times as often as later there is probing meanwhile
	drainTurns     = 4    // in which Down has drained what Up had queued
	probeRoundsMin = 12   // where few datagrams fill the path
	baselineMemory = 1000 // datagrams
	baselineMax    = one / 4
)

const (
	noBound   = math.MaxInt
	noRate    = math.MaxUint64
	noRTTYet  = time.Duration(math.MaxInt64)
	pipeFloor = 4 // datagrams
)

// A phase is a state of BBR (§5.1.1), ProbeBW being four.
//
//	startup -> hold -> drain -> down -> cruise -> refill -> up
//	               \            ^                            |
//	                <- jitter   +----------------------------+
//
// probeRTT may come at any time after drain and leads back to down.
type phase uint8

const (
	startup phase = iota
	hold          // a round trip at what was measured: is the queue real?
	drain
	down
	cruise
	refill
	up
	probeRTT
)

// bounds are what losses have taught, and what a spurious loss gives back.
type bounds struct {
	long      int    // inflight_longterm: what was in flight when it was too much
	short     int    // inflight_shortterm, until the next probing
	shortRate uint64 // bw_shortterm
}

// bbr is the model of a path and what follows from it. Rates are in bytes a
// second.
type bbr struct {
	phase  phase
	filled bool // full_bw_reached
	calm   bool // somebody waits for short messages: queues are to be shorter still
	mds    int
	window int
	gain   int // of pacing

	rates  [2]uint64 // the most delivered in the last cycle of probing, and in this
	minRTT time.Duration
	fresh  clock.Time // when the RTT was last seen to be about that
	high   int        // samples in a row that show a queue
	bounds
	undo bounds

	turn  turn  // the round trip that goes on
	train train // what the path tells of itself as Startup begins
	leap  leap  // whether it has been tried

	best     uint64 // full_bw
	stale    int    // full_bw_count
	atPeak   bool   // full_bw_now
	rounds   int    // of the phase
	since    clock.Time
	foot     uint64        // rate when Up began
	steep    bool          // probing has found no queue yet and goes as fast as it may
	hasteAt  int           // round trip in which it goes faster
	crowded  bool          // the queue stays when this flow cruises: others fill it
	standing int           // round trips in a row that saw a queue all the time
	stood    bool          // one has, since the last probing ended
	voided   bool          // the rate is what arrived since the queue came to stand
	last     uint64        // most delivered in the last round trip
	lastGain int           // turn.gain of that
	usual    time.Duration // mean RTT when it cruises; 0 if not known

	young      int        // cycles still to come that are shorter
	cycle      clock.Time // when down began
	cycleTurns int
	wait       time.Duration
	stopping   bool // acknowledgements still tell of the last probing

	lost, seen int // bytes, of round trips without a queue: the loss that has other causes

	saved     int        // window before probeRTT
	probeDone clock.Time // 0 until little enough is in flight

	aggregated [2]int // most bytes acknowledged beyond the rate
	burstAt    clock.Time
	burst      int
	aggTurns   int
}

// A turn is a packet-timed round trip (§5.5.1).
type turn struct {
	end       uint64 // of delivery, when what was in flight at its start has been
	delivered int
	lost      int
	rate      uint64 // most in it: bw_latest
	most      int    // inflight_latest
	rateSum   uint64
	rates     uint64 // samples in rateSum
	samples   int
	least     time.Duration
	sum       time.Duration
	gain      int // the least of sends in it
	limited   bool
	marked    bool // the network says that there is a queue
}

func (t *turn) mean() time.Duration { return t.sum / time.Duration(max(t.samples, 1)) }

// usual is the mean of the samples of the rate. Single ones are too high where
// acknowledgements come in bunches, and the most of many always is.
func (t *turn) usual() uint64 { return t.rateSum / max(t.rates, 1) }

func (b *bbr) init(mds int) {
	*b = bbr{
		mds: mds, window: InitialWindow(mds), gain: one, young: youngCycles,
		minRTT: noRTTYet, bounds: bounds{noBound, noBound, noRate},
		turn: turn{least: noRTTYet},
	}
}

func (b *bbr) setMDS(mds int) {
	b.mds = mds
	if b.phase != startup {
		b.window = b.floored(b.window)
	}
}

// rate is what the path is taken to carry.
func (b *bbr) rate() uint64 { return min(max(b.rates[0], b.rates[1]), b.shortRate) }

// sendRate is how fast to send so that rate arrives. Where loss has other causes
// than a queue, what is lost has to be sent on top. It falls short of that by an
// eighth: should the loss be a policer's after all, it dies down.
func (b *bbr) sendRate() uint64 {
	p := uint64(b.baseline()) * 7 / 8
	return mulDiv(b.rate(), one, one-p)
}

// pace returns the pacing rate (§5.6.2).
func (b *bbr) pace(srtt time.Duration) uint64 {
	rtt := max(min(b.minRTT, srtt), 1)
	if b.phase == startup {
		// Enough for the window to grow by startupGrowth in a round trip.
		rate := mulDiv(2*uint64(b.window), uint64(time.Second), uint64(rtt))
		if b.leap == leaping {
			rate = min(rate, b.train.rate/leapShare)
		}
		return rate
	}
	rate := mulDiv(b.sendRate(), uint64(b.gain)*gainMargin, one*one)
	return max(rate, mulDiv(uint64(b.mds), uint64(time.Second), uint64(rtt)))
}

// inflight is gain times the bandwidth-delay product (§5.6.4.2).
func (b *bbr) inflight(gain int) int {
	if b.minRTT == noRTTYet {
		return InitialWindow(b.mds)
	}
	return min(max(perTime(b.minRTT, b.sendRate()), b.slack()), MaxWindow) * gain / one
}

// unpaced reports whether only the window bounds what is sent.
func (b *bbr) unpaced() bool { return b.minRTT < unpacedRTT }

// slack is what a short path is taken to hold at least. Round trips shorter than shortRTT
// are those of schedulers, for which something has to be in flight; but what does not fit
// the processor's caches on its way through them costs more than it brings.
func (b *bbr) slack() int {
	if b.minRTT >= shortRTT {
		return 0
	}
	return min(perTime(shortRTT, b.sendRate()), shortMax)
}

// floored is n, or as many bytes as keep acknowledgements coming.
func (b *bbr) floored(n int) int { return max(n, pipeFloor*b.mds) }

// queueThresh is how much more delay than the least is taken for a queue.
func (b *bbr) queueThresh() time.Duration {
	return max(b.noise(), min(b.minRTT/8, queueMax))
}

// noise is what the RTT varies by without a queue to speak of: the peer
// acknowledges every second datagram.
func (b *bbr) noise() time.Duration {
	r := b.rate()
	if !b.filled || r == 0 {
		return queueMin
	}
	return max(queueMin, time.Duration(min(mulDiv(2*uint64(b.mds), uint64(time.Second), r), uint64(time.Second))))
}

// swelling reports whether probing has made a queue. It compares means, so that
// jitter does not look like one.
func (b *bbr) swelling() bool {
	return b.turn.samples >= queueSamples && b.turn.mean() > max(b.usual, b.minRTT)+max(b.noise(), b.upQueue())
}

func (b *bbr) onRestart(now clock.Time) {
	b.burst, b.burstAt = 0, now
	if b.phase == probeRTT {
		b.checkProbeRTT(now, 0)
	}
}

// onRTT learns the RTT that was measured before anything was sent, by a handshake
// or a challenge.
func (b *bbr) onRTT(now clock.Time, rtt time.Duration) {
	b.minRTT, b.fresh = rtt, now
	if b.phase == startup {
		n := int(mulDiv(startupRate, uint64(rtt), uint64(time.Second)))
		b.window = max(b.window, min(n, startupMax*b.mds))
	}
}

// onAck updates the model and then what follows from it (§5.2.3).
func (b *bbr) onAck(now clock.Time, a Ack) {
	b.learnRTT(now, a)
	s := a.Rate
	t := &b.turn
	t.delivered += s.Acked
	if s.Rate > 0 {
		t.rate = max(t.rate, s.Rate)
		t.most = max(t.most, s.Bytes)
		if !s.Limited || s.Rate >= max(b.rates[0], b.rates[1]) {
			t.rateSum += s.Rate
			t.rates++
			if !b.filled || b.crowded {
				b.rates[1] = max(b.rates[1], s.Rate)
			}
		}
	}
	t.limited = t.limited || s.Limited
	b.aggregate(now, s)
	if b.phase == startup && b.leap != landed && s.Acked > 0 {
		b.train.onAck(now, s.sent, s.Acked, b.mds)
	}
	if s.prior >= t.end && s.Acked > 0 {
		b.endTurn(now, a)
	}
	b.step(now, a)
	b.setWindow(a)
}

// learnRTT keeps the least RTT. It is fresh as long as the RTT comes near to it:
// then the path is seen without a queue, and nothing need be done for that.
func (b *bbr) learnRTT(now clock.Time, a Ack) {
	if a.Sample == 0 {
		return
	}
	rtt := a.Sample
	if b.minRTT == noRTTYet {
		b.onRTT(now, rtt)
	}
	if rtt < b.minRTT || rtt <= b.minRTT+b.minRTT/32 {
		b.minRTT = min(b.minRTT, rtt)
		b.fresh = now
	}
	t := &b.turn
	t.samples++
	if rtt-a.Delay >= b.minRTT {
		rtt -= a.Delay
	}
	t.least = min(t.least, rtt)
	t.sum += rtt
	if b.high++; rtt <= b.minRTT+b.queueThresh() {
		b.high = 0
	}
}

// aggregate measures how much more is acknowledged at once than the rate
// accounts for (§5.5.9).
func (b *bbr) aggregate(now clock.Time, s Sample) {
	if !b.filled {
		b.burst, b.burstAt = 0, now
		return
	}
	expected := int(min(mulDiv(b.rate(), uint64(now.Sub(b.burstAt)), uint64(time.Second)), MaxWindow))
	if b.burst <= expected {
		b.burst, b.burstAt, expected = 0, now, 0
	}
	b.burst = min(b.burst+s.Acked, MaxWindow)
	extra := min(b.burst-expected, b.window)
	b.aggregated[1] = max(b.aggregated[1], extra)
}

// endTurn draws the conclusions of a round trip and begins the next.
func (b *bbr) endTurn(now clock.Time, a Ack) {
	t := b.turn
	b.rounds++
	b.cycleTurns++
	if b.aggTurns++; b.aggTurns >= 5 {
		b.aggTurns = 0
		b.aggregated[0], b.aggregated[1] = b.aggregated[1], 0
	}
	if b.filled {
		b.rates[1] = max(b.rates[1], t.usual())
		if b.train.rate > 0 {
			b.train.rate = max(b.train.rate, t.usual()) // so much it carries
		}
	}
	queued := b.queued(&t)
	congested := b.congested(&t, queued)
	if b.filled && !queued && b.phase != up && b.phase != probeRTT && b.cycleTurns > probedTurns {
		b.learnBaseline(&t)
	}
	if (b.phase == up || b.stopping) && t.lost > b.usualLoss(t.lost+t.delivered, 2)+b.mds {
		b.young = 0 // probing costs datagrams here
	}
	b.checkPlateau(&t)
	if b.stopping && !a.Rate.Limited && b.rounds > 0 {
		b.stopping = false
		if b.rates[1] > 0 {
			if b.calm && !b.stood {
				b.rates[1] = max(b.rates[0], b.rates[1]) // nothing has tried that
			}
			b.rates[0], b.rates[1] = b.rates[1], 0
		}
		b.stood = false
	}
	if b.filled && b.phase != drain && b.phase != probeRTT {
		b.ease(&t)
	}
	b.last = t.rate
	if b.train.rate > 0 {
		b.leap = landed
	}
	switch b.phase {
	case startup:
		if congested {
			b.fill(now)
		}
	case down, cruise:
		if t.samples > 0 && (b.standing == 0 || b.standing >= easeTurns || b.phase == down && b.rounds >= drainTurns) {
			b.crowded = t.least > b.minRTT+b.queueThresh() // what this flow has queued is gone by now
			if m := t.mean(); b.usual == 0 || m < b.usual {
				b.usual = m
			} else {
				b.usual += (m - b.usual) / 4
			}
		}
	}
	if congested {
		if b.crowded && t.rates > 0 {
			n := max(t.usual(), b.rate()/one*beta)
			b.rates = [2]uint64{n, n}
		}
		b.onCongestion(now, &t, queued)
		if t.marked {
			b.undo = b.bounds // a mark is no mistake
		}
	}
	b.lastGain = t.gain
	b.turn = turn{end: a.Rate.total, least: noRTTYet, gain: b.sends()}
}

// queued reports whether the round trip has seen a queue.
func (b *bbr) queued(t *turn) bool {
	return t.marked || t.samples > 0 && t.mean() > b.minRTT+b.queueThresh()
}

func (b *bbr) target() int { return min(b.inflight(one), b.window) }

// setWindow lets the window grow by what was acknowledged, up to what the model
// asks for (§5.6.4.6).
func (b *bbr) setWindow(a Ack) {
	gain := cwndGain
	if b.phase == up {
		gain = cwndGainUp
	}
	most := b.inflight(gain)
	if perTime(b.minRTT, b.sendRate()) >= b.slack() { // else that allows for much already
		most += max(b.aggregated[0], b.aggregated[1])
	}
	if b.crowded {
		most = max(most, b.among(a.Smoothed))
	}
	quantum := min(perTime(time.Millisecond, b.sendRate()), maxBurst)
	most = b.floored(max(most, 3*quantum))
	if b.unpaced() && (b.phase == drain || b.phase == down) { // the pace drains nothing there
		most = b.floored(b.inflight(one))
	}
	switch {
	case b.filled:
		b.window = min(b.window+a.Rate.Acked, most)
	case b.phase == startup && 2*a.InFlight >= b.window:
		b.window += (startupGrowth - 1) * a.Rate.Acked
		b.tryTrain()
	}
	b.window = b.floored(b.window)
	bound := noBound
	switch b.phase {
	case startup, hold, drain:
	case probeRTT:
		bound = b.probeRTTWindow()
	case cruise:
		bound = b.roomy()
	default:
		bound = b.long
	}
	bound = min(bound, b.short)
	b.window = min(b.window, b.floored(bound), MaxWindow)
}

// A leap is how far Startup has come with what a train tells.
type leap uint8

const (
	waiting leap = iota // for one that tells something
	leaping             // for the rest of the round trip
	landed
)

// tryTrain lets the window grow at once to what fills a share of the path, where a train
// has told how much that carries. As long as it was not wrong by more than that, no queue
// comes of it.
func (b *bbr) tryTrain() {
	if share := b.told(); b.leap != landed && share > b.window {
		b.window, b.leap = share, leaping
	}
}

// told is a share of the bandwidth-delay product as a train has told it.
func (b *bbr) told() int {
	if b.minRTT == noRTTYet {
		return 0
	}
	return int(min(mulDiv(b.train.rate/leapShare, uint64(b.minRTT), uint64(time.Second)), MaxWindow))
}

// wantsTrain reports whether Startup is to send a few datagrams at once.
func (b *bbr) wantsTrain() bool {
	return b.phase == startup && b.train.rate == 0 && b.cycleTurns < trainTurns
}

// among is the window among others who fill the queue: what the rate needs there. Twice
// the bandwidth-delay product would be less and less if the queue is longer than that.
func (b *bbr) among(srtt time.Duration) int {
	n := min(perTime(min(srtt, max(crowdedMax*b.minRTT, crowdedLeast)), b.sendRate()), MaxWindow)
	if b.phase == up {
		n = n / one * b.gain
	}
	return n
}
