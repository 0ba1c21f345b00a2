package congestion

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

func (b *bbr) enter(now clock.Time, p phase) {
	b.phase, b.since, b.rounds = p, now, 0
	switch p {
	case startup, refill, probeRTT:
		b.gain = one
	case cruise:
		b.gain = b.cruiseGain()
	case hold:
		b.gain = gainHold
	case drain:
		b.gain = gainDrain
	case down:
		b.gain = gainDown
		if b.calm && !b.crowded {
			b.gain = gainDrain
		}
	case up:
		b.steep = b.crowded
		b.gain = b.steepGain()
		if !b.steep {
			b.gain = b.gentleGain()
			b.hasteAt = gentleTurns
		}
	}
	b.turn.gain = min(b.turn.gain, b.sends())
}

// sends is what part of the rate is sent, in 256ths, or 0 if that is not known.
func (b *bbr) sends() int {
	if b.phase == probeRTT {
		return 0
	}
	return min(b.gain, one)
}

// gentleGain is what probing begins with: what it sends more queues upQueue in a round
// trip, whatever part of the path this flow has.
func (b *bbr) gentleGain() int {
	queued := int(b.upQueue() * one / max(b.minRTT, 1))
	if parts, known := b.parts(); known && !b.calm {
		queued = queued * parts / one
	}
	return one + min(gainUp-one, max(queued, upLeast))
}

// steepGain is that of probing among others.
func (b *bbr) steepGain() int {
	parts, known := b.parts()
	if !known {
		return gainUp
	}
	return one + (gainUp-one)*parts/(2*one)
}

// parts is how many times the rate of this flow the path carries, in 256ths, by what a
// train has told. Who has a smaller part of it probes by a larger part of that, so that
// each flow asks for as much more as any other, but loses in proportion to what it has:
// which is what makes them equal in the end.
func (b *bbr) parts() (n int, known bool) {
	r := b.rate()
	if r == 0 || b.train.rate == 0 {
		return one, false
	}
	return int(max(one, min(mulDiv(b.train.rate, one, r), partsMax*one))), true
}

// fill ends Startup: the pipe is full.
func (b *bbr) fill(now clock.Time) {
	if !b.filled {
		b.filled, b.cycleTurns = true, 0
		b.enter(now, drain)
	}
}

func (b *bbr) beginDown(now clock.Time) {
	b.stopping = b.phase == up
	b.cycle, b.cycleTurns = now, 0
	b.wait = probeWait + time.Duration(shuffle(uint64(now))%uint64(time.Second))
	if b.young > 0 && !b.calm {
		b.young--
		b.wait /= youngHaste
	}
	b.enter(now, down)
}

// shuffle spreads the bits of a number (SplitMix64).
func shuffle(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// step moves on from phase to phase.
func (b *bbr) step(now clock.Time, a Ack) {
	switch b.phase {
	case startup:
		if b.atPeak {
			b.fill(now)
		} else if b.high >= queueSamples && 2*a.InFlight >= b.window { // else the application makes the RTT what it is
			b.enter(now, hold)
		}
	case hold:
		if b.high == 0 {
			b.enter(now, startup) // it was jitter
		} else if a.Sample > 0 && now.Sub(b.since) > a.Sample {
			b.fill(now) // what was sent at its start has been delivered at the full rate
		}
	case drain:
		if a.Left <= b.floored(b.inflight(one)) {
			b.beginDown(now)
			b.wait = firstWait * b.minRTT // Startup may have ended early
			b.enter(now, cruise)
		}
	case down:
		if b.timeToProbe(now) {
			b.refill(now)
		} else if a.Left <= b.floored(min(b.inflight(one), b.roomy())) {
			b.enter(now, cruise)
		}
	case cruise:
		if b.timeToProbe(now) {
			b.refill(now)
		}
	case refill:
		if b.rounds > 0 {
			b.resetPlateau()
			b.best, b.foot = b.rate(), b.rate()
			b.enter(now, up)
		}
	case up:
		b.climb(now, a)
	case probeRTT:
		b.checkProbeRTT(now, a.Left)
		return
	}
	if b.filled && now.Sub(b.fresh) > probeRTTEvery && b.phase != drain {
		b.saved = b.window
		b.probeDone = 0
		b.enter(now, probeRTT)
	}
}

func (b *bbr) timeToProbe(now clock.Time) bool {
	rounds := max(min(b.inflight(one)/b.mds, probeRounds), probeRoundsMin)
	return now.Sub(b.cycle) >= b.wait || b.cycleTurns >= rounds
}

func (b *bbr) refill(now clock.Time) {
	b.short, b.shortRate = noBound, noRate
	b.enter(now, refill)
}

// climb goes on probing until the rate does not grow, a queue that was not there
// shows, or as much is in flight as was once too much.
func (b *bbr) climb(now clock.Time, a Ack) {
	if a.InFlight+b.mds >= b.long && b.window >= b.long {
		b.long = min(b.long+a.Rate.Acked, MaxWindow) // it carries more now
		b.stale = 0                                  // that the rate does not grow is the bound's doing
	}
	switch {
	case b.atPeak,
		!b.crowded && b.rounds > 0 && b.swelling(),
		b.crowded && b.rounds > 0 && a.InFlight >= b.inflight(gainUp)+2*b.mds:
		b.beginDown(now)
	case !b.steep && b.rounds >= b.hasteAt:
		b.hasten()
	case b.steep && !b.crowded && !b.calm && b.rate() > 2*b.foot:
		b.filled = false // the path carries far more than was known
		b.resetPlateau()
		b.enter(now, startup)
	}
}

// hasten makes probing faster that has found no queue: by degrees where its queue would
// delay others.
func (b *bbr) hasten() {
	b.hasteAt += gentleTurns
	b.gain = min(one+2*(b.gain-one), gainUp)
	if !b.calm {
		b.gain = gainUp
	}
	b.steep = b.gain == gainUp
}

// checkProbeRTT keeps little in flight for a while and a round trip (§5.3.4).
func (b *bbr) checkProbeRTT(now clock.Time, left int) {
	switch {
	case b.probeDone == 0:
		if left <= b.probeRTTWindow() {
			b.probeDone = now.Add(probeRTTTime)
			b.rounds = 0
			b.minRTT = noRTTYet
			if b.turn.samples > 0 {
				b.minRTT = b.turn.least
			}
		}
	case now >= b.probeDone && b.rounds > 0:
		b.fresh = now
		b.window = max(b.window, b.saved)
		b.short, b.shortRate = noBound, noRate
		b.enter(now, cruise)
	}
}

// probeRTTWindow goes by the last round trip: if the rate is out of date, as much
// as it asks for would keep the queue that is to be drained.
func (b *bbr) probeRTTWindow() int {
	n := b.inflight(probeRTTGain)
	if r := b.sendRate(); b.last > 0 && b.last < r {
		n = int(mulDiv(uint64(n), b.last, r))
	}
	return b.floored(n)
}

// checkPlateau looks whether the rate still grows (§5.3.1.2).
func (b *bbr) checkPlateau(t *turn) {
	if t.limited || b.atPeak || b.phase != startup && b.phase != up {
		return
	}
	growth := uint64(plateau)
	if b.phase == up {
		growth = one + uint64(b.gain-one)/2 // as much again would be had by sending so much more
	}
	if t.rate >= b.best/one*growth {
		b.best, b.stale = t.rate, 0
		return
	}
	b.stale++
	b.atPeak = b.stale >= plateauTurns
}

func (b *bbr) resetPlateau() { b.best, b.stale, b.atPeak = 0, 0, false }

// ease slows Cruise a little while a queue stands: the most that was ever
// measured is a little more than what the path carries if acknowledgements come in
// bunches. If that does not drain it, either others fill it or the path carries
// less than it did; in both cases what was measured long ago is void.
func (b *bbr) ease(t *turn) {
	if t.samples == 0 {
		return
	}
	if t.least <= b.minRTT+b.noise()*3/4 {
		if b.voided && !b.crowded {
			b.train.rate = min(b.train.rate, b.rate()) // it was the path
		}
		b.standing, b.voided = 0, false
	} else {
		b.standing++
		b.stood = true
		if !t.limited && t.rates > 0 {
			b.renew(t)
		}
	}
	if b.phase == cruise {
		b.gain = b.cruiseGain()
	}
}

// renew voids what was measured before a queue came to stand that does not go: soon if less
// arrives than is sent.
func (b *bbr) renew(t *turn) {
	every := easeTurns
	if b.crowded {
		every = crowdedTurns
	}
	sent, got := b.rate()/one*uint64(min(t.gain, b.lastGain)), t.usual()
	usual := min(t.lost, b.usualLoss(t.lost+t.delivered, 2))
	arrived := mulDiv(got, uint64(t.delivered+usual), uint64(max(t.delivered, 1)))
	switch {
	case !b.crowded && !b.voided && b.standing > 1 && t.least > longQueue*b.minRTT && arrived < sent/2:
		b.rates = [2]uint64{got, got}
		b.voided = true
	case !b.crowded && b.standing%lessTurns == 0 && arrived < sent/one*arrivesShare:
		n := max(got, b.rate()/one*beta)
		b.rates = [2]uint64{n, n}
	case b.standing%every == 0:
		b.rates[0], b.rates[1] = b.rates[1], got
	}
}

// setCalm says whether queues are to be shorter still. If so, what there is of one goes
// at once. Probing that is broken off for that is soon made good: else one message now and
// then would keep the flow from ever finding more.
func (b *bbr) setCalm(now clock.Time, calm bool) {
	if calm == b.calm {
		return
	}
	b.calm = calm
	if !calm || b.crowded {
		return
	}
	switch b.phase {
	case refill, up:
		b.beginDown(now)
		b.wait = firstWait * b.minRTT
	case down, cruise:
		b.enter(now, down)
	}
}

// cruiseGain is below one while a queue stands that is this flow's own, and where none
// is to come to be.
func (b *bbr) cruiseGain() int {
	g := one
	if b.crowded {
		return g
	}
	if b.standing > 0 {
		g = gainEase
	}
	if b.calm {
		g -= calmMargin
	}
	return g
}

// upQueue is what a round trip of gentle probing queues.
func (b *bbr) upQueue() time.Duration {
	if b.calm {
		return calmUpQueue
	}
	return upQueue
}
