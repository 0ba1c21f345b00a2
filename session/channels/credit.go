package channels

import "github.com/seed-67dce94e/holdfast/session/clock"

// count counts n more units of credit as used by the peer.
func (ch *channel) count(n uint64) error {
	if n > ch.granted-ch.received {
		return errCredit
	}
	ch.received += n
	return nil
}

// windowEnd is how far the window alone lets the peer go.
func (ch *channel) windowEnd() uint64 { return ch.consumed + uint64(ch.window) }

// needed is the credit with which the peer can finish the messages that it has
// partly sent on a channel. Those are the last ones that it numbered; all others
// are wholly sent, and counted as they arrive.
func (ch *channel) needed() uint64 {
	n := ch.received
	for i := range ch.in {
		if in := ch.in[i].last; in != nil {
			n += uint64(in.total - in.have)
		}
	}
	return n
}

// updateCredit grants the peer more credit on a channel if that is due. It is
// called after credit was freed, or a message that is not complete has changed.
func (s *Set) updateCredit(now clock.Time, ch *channel) {
	s.growWindow(now, ch)
	s.reserve(ch)
	s.grantDue(ch)
	for s.waiting.Len() > 0 && s.extended < extendedMax {
		next, _ := s.waiting.Pop()
		next.waits = false
		s.reserve(next)
		s.grantDue(next)
	}
}

// reserve lets the messages in progress on a channel be finished even if they
// are longer than its window. Reservations are what lets a peer make us hold
// more than the windows, so only a few channels at a time may go beyond; the
// next ones wait until the application has read from those. What a channel may
// then use is enough for one message of each reliable mode, since both draw on
// its credit: half of each would wait for the other for ever.
func (s *Set) reserve(ch *channel) {
	need := ch.needed()
	ch.reserved = min(ch.reserved, need)
	s.measure(ch)
	beyond := need > ch.windowEnd() && need-ch.windowEnd() <= 2*uint64(s.cfg.MaxMessage)
	if !beyond || ch.waits {
		return
	}
	if !ch.extended && s.extended == extendedMax {
		ch.waits = true
		s.waiting.Push(ch)
		return
	}
	ch.reserved = need
	s.measure(ch)
}

// measure counts the channels that are, or may go, beyond their windows.
func (s *Set) measure(ch *channel) {
	if ch.extended {
		s.extended--
	}
	ch.extended = max(ch.granted, ch.reserved) > ch.windowEnd()
	if ch.extended {
		s.extended++
	}
}

// grantDue grants the window, and a reservation a window at a time so that
// little of it is left over if the message is given up. It waits for half a
// window to be due, so that CREDIT chunks are few, unless the peer may be about
// to run out in the middle of a message.
func (s *Set) grantDue(ch *channel) {
	half := uint64(ch.window) / 2
	short := ch.granted-ch.received <= half && ch.needed() > ch.granted
	if limit := ch.grantable(); limit >= ch.granted+half || short && limit > ch.granted {
		ch.granted = ch.grantable()
		s.creditDue(ch)
		s.measure(ch)
	}
}

// grantable is the most that the peer may be granted now.
func (ch *channel) grantable() uint64 {
	return max(ch.windowEnd(), min(ch.reserved, ch.received+uint64(ch.window)))
}

// growWindow keeps the window of a channel at windowTurns times what its peer uses in a
// round trip: then neither the path nor a sender that begins, and sends three times as
// much in each round trip, has to wait for credit. Who has just begun may soon send far
// more than that. It grows by half if not to its largest, since each step is a CREDIT of
// its own.
func (s *Set) growWindow(now clock.Time, ch *channel) {
	if now.Sub(ch.turn) >= s.rtt {
		ch.turn, ch.turnFrom = now, ch.consumed
	}
	used := ch.consumed - ch.turnFrom
	want := windowTurns * used
	if ch.consumed <= uint64(s.cfg.Window) {
		want = max(want, min(earlyTurns*used, uint64(earlyWindow*s.cfg.Window)))
	}
	want = min(want, uint64(s.cfg.WindowMax))
	by := int(want) - ch.window
	if by <= 0 || by < ch.window/2 && ch.window+by < s.cfg.WindowMax || s.grown+by > growthMax*(s.cfg.WindowMax-s.cfg.Window) {
		return
	}
	ch.window += by
	s.grown += by
}

func (s *Set) creditDue(ch *channel) {
	if !ch.creditDue {
		ch.creditDue = true
		s.credits.Push(ch)
	}
}
