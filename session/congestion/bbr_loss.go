package congestion

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// baseline is the share of losses, in 256ths, that there are without a queue.
func (b *bbr) baseline() int {
	return min(b.lost*one/max(b.seen, 50*b.mds), baselineMax)
}

// learnBaseline counts the losses of a round trip without a queue.
func (b *bbr) learnBaseline(t *turn) {
	b.lost += t.lost
	b.seen += t.lost + t.delivered
	if b.seen > baselineMemory*b.mds {
		b.lost /= 2
		b.seen /= 2
	}
}

// acquit forgets how much is usually lost.
func (b *bbr) acquit() { b.lost, b.seen, b.turn.lost = 0, 0, 0 }

// congested reports whether anything was marked, or more was lost than 2 % and what
// is usual, by more than chance explains: two standard deviations with a queue,
// three without, and one datagram. In Startup, which has yet to learn what is usual,
// it takes a fifth and a queue. Where others keep the queue full, anything beyond
// chance is too much.
func (b *bbr) congested(t *turn, queued bool) bool {
	all := t.lost + t.delivered
	switch {
	case t.marked:
		return true
	case t.lost == 0:
		return false
	case !b.filled:
		return queued && t.lost > max(all/startupLoss, startupLosses*b.mds)
	}
	if !queued {
		return t.lost > all/lossThresh+b.usualLoss(all, 3)+b.mds
	}
	if b.crowded {
		return t.lost > b.usualLoss(all, 2)
	}
	return t.lost > all/lossThresh+b.usualLoss(all, 2)+b.mds
}

// usualLoss is how many of so many bytes are lost where nothing is unusual, with chance
// in so many standard deviations.
func (b *bbr) usualLoss(all, deviations int) int {
	usual := b.baseline() * all / one
	return usual + int(sqrt(uint64(deviations*deviations*(usual/b.mds))))*b.mds
}

// onCongestion lowers the bounds (§5.5.10).
func (b *bbr) onCongestion(now clock.Time, t *turn, queued bool) {
	switch b.phase {
	case up, refill:
		share := beta
		if !queued {
			share = one // what the model asks for was not too much
		}
		b.long = b.floored(max(t.most, b.target()*share/one))
		b.beginDown(now)
	case startup, hold, drain:
		b.long = max(b.inflight(one), t.most)
	default:
		if b.shortRate == noRate {
			b.shortRate = b.rate()
		}
		if b.short == noBound {
			b.short = b.window
		}
		b.shortRate = max(t.rate, b.shortRate/one*beta)
		b.short = b.floored(max(t.most, b.short*beta/one))
	}
}

func (b *bbr) undoBounds() bool {
	before := b.bounds
	b.long = max(b.long, b.undo.long)
	b.short = max(b.short, b.undo.short)
	b.shortRate = max(b.shortRate, b.undo.shortRate)
	b.stale = 0
	return b.bounds != before
}

func (b *bbr) onLoss(size int) { b.turn.lost += size }

// onMark notes that the round trip was marked. Startup ends at once: until the end
// of the round trip, which the queue makes longer, it would go on tripling.
func (b *bbr) onMark(now clock.Time) {
	b.turn.marked = true
	if max(b.rates[0], b.rates[1]) > 0 {
		if !b.filled { // by what is in flight, which no sample tells of yet
			sent := mulDiv(uint64(b.window), uint64(time.Second), uint64(b.minRTT))
			b.rates[1] = max(b.rates[1], min(sent, b.train.rate))
			b.long = max(b.inflight(one), b.turn.most)
		}
		b.fill(now)
	}
}

// roomy is what leaves room for others below what was too much.
func (b *bbr) roomy() int {
	if b.long == noBound {
		return noBound
	}
	return b.floored(b.long / one * headroom)
}

// sqrt returns the integer square root, by Newton's method.
func sqrt(n uint64) uint64 {
	if n < 2 {
		return n
	}
	x := n
	for y := (x + 1) / 2; y < x; y = (x + n/x) / 2 {
		x = y
	}
	return x
}
