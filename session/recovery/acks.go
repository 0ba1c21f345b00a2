package recovery

import (
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// ackEvery is how many ack-eliciting frames are acknowledged at the latest
// (RFC 9000 §13.2.2).
const ackEvery = 2

// Acks knows which frames of the peer have arrived and when to say so (RFC 9000
// §13.2). The zero value is ready.
type Acks struct {
	ranges []wire.Range // newest first, not touching each other, at most MaxAckRanges

	any       bool
	largest   uint64     // received
	largestAt clock.Time // when
	counts    wire.ECNCounts
	eliciting uint64 // one more than the largest ack-eliciting number; 0 if none

	owed int        // ack-eliciting frames not acknowledged yet
	due  clock.Time // when they must be; meaningful if owed > 0
}

// OnReceived records an authentic frame that was not received before, in a datagram
// with the given mark. eliciting says that it must be acknowledged, urgent that this
// must not wait; nor must that of a frame which met congestion (RFC 9000 §13.2.1).
func (a *Acks) OnReceived(now clock.Time, pn uint64, mark wire.ECN, eliciting, urgent bool) {
	a.counts.Add(mark)
	if !a.any || pn > a.largest {
		a.any, a.largest, a.largestAt = true, pn, now
	}
	a.insert(pn)
	if !eliciting {
		return
	}
	a.owed++
	if a.owed == 1 {
		a.due = now.Add(MaxAckDelay)
	}
	if urgent || mark == wire.CE || a.owed >= ackEvery || a.outOfOrder(pn) {
		a.due = now
	}
	a.eliciting = max(a.eliciting, pn+1)
}

// outOfOrder reports whether the peer should learn at once of what pn tells: it
// came after a later one, or there is a gap since the last (RFC 9000 §13.2.1).
func (a *Acks) outOfOrder(pn uint64) bool {
	if pn < a.eliciting {
		return true
	}
	return a.ranges[0].Lo > a.eliciting
}

// insert adds pn to the ranges. Almost always it continues the first one.
func (a *Acks) insert(pn uint64) {
	i := 0
	for i < len(a.ranges) && pn < a.ranges[i].Lo {
		i++ // ranges before i are above pn
	}
	if i < len(a.ranges) && pn <= a.ranges[i].Hi {
		return
	}
	joinsAbove := i > 0 && a.ranges[i-1].Lo == pn+1
	joinsBelow := i < len(a.ranges) && a.ranges[i].Hi+1 == pn
	switch {
	case joinsAbove && joinsBelow:
		a.ranges[i-1].Lo = a.ranges[i].Lo
		a.ranges = slices.Delete(a.ranges, i, i+1)
	case joinsAbove:
		a.ranges[i-1].Lo = pn
	case joinsBelow:
		a.ranges[i].Hi = pn
	default:
		a.insertRange(i, wire.Range{Lo: pn, Hi: pn})
	}
}

// insertRange makes room by forgetting the oldest range, which the peer has long
// taken for acknowledged or lost.
func (a *Acks) insertRange(i int, r wire.Range) {
	if len(a.ranges) == wire.MaxAckRanges {
		if i == len(a.ranges) {
			return
		}
		a.ranges = a.ranges[:len(a.ranges)-1]
	}
	a.ranges = slices.Insert(a.ranges, i, r)
}

// Pending reports whether a frame that is sent anyway should carry an
// acknowledgement.
func (a *Acks) Pending() bool { return a.owed > 0 }

// Due reports whether an acknowledgement must be sent now.
func (a *Acks) Due(now clock.Time) bool { return a.owed > 0 && a.due <= now }

// Deadline returns when Due becomes true; Never if nothing is owed.
func (a *Acks) Deadline() clock.Time {
	if a.owed == 0 {
		return clock.Never
	}
	return a.due
}

// Append appends an ACK chunk to b, which must not grow beyond limit bytes, and
// counts it as sent. It returns b unchanged if nothing is owed or nothing fits.
func (a *Acks) Append(now clock.Time, b []byte, limit int) []byte {
	if a.owed == 0 || len(a.ranges) == 0 {
		return b
	}
	delay := max(now.Sub(a.largestAt), 0) / time.Microsecond
	out := wire.AppendAckECN(b, uint64(delay), a.ranges, a.counts, limit-len(b))
	if len(out) > len(b) {
		a.owed = 0
	}
	return out
}

// OnAckAcked learns that the peer has received an acknowledgement whose largest
// number was largest: what it covered need not be repeated (RFC 9000 §13.2.4).
func (a *Acks) OnAckAcked(largest uint64) {
	for i := range a.ranges {
		if r := &a.ranges[i]; r.Lo <= largest {
			if r.Hi > largest {
				r.Lo = largest + 1
				i++
			}
			a.ranges = a.ranges[:i]
			return
		}
	}
}

// Rest gives back the room for ranges that is not used.
func (a *Acks) Rest() { a.ranges = slices.Clip(slices.Clone(a.ranges)) }

// Largest returns the largest number received.
func (a *Acks) Largest() (pn uint64, ok bool) { return a.largest, a.any }
