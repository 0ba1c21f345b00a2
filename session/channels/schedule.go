package channels

import (
	"math/bits"
	"slices"
)

// A class is the channels of one priority. They share it by start-time fair
// queueing: the channel whose virtual time is least sends next, and its virtual
// time then advances by the bytes sent over its weight.
type class struct {
	priority    int8
	ready       heap[*channel] // channels that have something to send now
	virtualTime uint64         // of the channel that sent last
}

// virtualShift keeps fractions of a byte when bytes are divided by a weight.
const virtualShift = 16

func (c *channel) before(o *channel) bool {
	if c.virtualTime != o.virtualTime {
		return c.virtualTime < o.virtualTime
	}
	return c.id < o.id
}

func (c *channel) place() *int { return &c.ready }

// class returns the class of a priority, made if it is new.
func (s *Set) class(priority int8) *class {
	i, found := slices.BinarySearchFunc(s.classes, priority, func(c *class, p int8) int {
		return int(p) - int(c.priority)
	})
	if !found {
		s.classes = slices.Insert(s.classes, i, &class{priority: priority})
	}
	return s.classes[i]
}

// nextChannel returns the channel to send from, or nil.
func (s *Set) nextChannel() *channel {
	for _, c := range s.classes {
		if len(c.ready) > 0 {
			return c.ready[0]
		}
	}
	return nil
}

// schedule puts a channel where it belongs after what it can send has changed.
func (s *Set) schedule(ch *channel) {
	ready := s.sending && ch.nextStream() != nil
	switch {
	case ready && ch.ready < 0:
		// Having been silent earns no credit for later.
		ch.virtualTime = max(ch.virtualTime, ch.class.virtualTime)
		ch.class.ready.push(ch)
	case !ready:
		s.unschedule(ch)
	}
}

func (s *Set) unschedule(ch *channel) {
	if ch.ready >= 0 {
		ch.class.ready.remove(ch)
	}
}

// charge accounts for n bytes sent from a channel in turn.
func (ch *channel) charge(st *outStream, n int) {
	st.served += uint64(n)
	ch.class.virtualTime = ch.virtualTime
	ch.virtualTime += uint64(n) << virtualShift / uint64(max(ch.options.Weight, 1))
	if ch.ready >= 0 {
		ch.class.ready.fix(ch)
	}
}

// nextStream returns the stream of the channel that sends next: one with
// something to send again, else the one served least so far. It returns nil if
// none can send.
func (ch *channel) nextStream() *outStream {
	var next *outStream
	for modes := ch.modes; modes != 0; modes &= modes - 1 {
		st := &ch.out[bits.TrailingZeros8(modes)]
		if st.resend.n > 0 {
			return st
		}
		if st.canStart() && (next == nil || st.served < next.served) {
			next = st
		}
	}
	return next
}

// canStart reports whether the stream can send something for the first time.
func (st *outStream) canStart() bool {
	m := st.queue.first()
	if m == nil || !m.started && st.full() {
		return false
	}
	return !reliable(st.mode) || st.channel.limit-st.channel.used >= m.creditMin()
}

// creditMin is the credit without which a message does not go on: waiting for
// it keeps a nearly used up credit from being spent on slivers.
func (m *outgoing) creditMin() uint64 {
	n := uint64(min(m.total-m.sent, fragmentMin))
	if !m.started {
		n += MessageOverhead
	}
	return n
}
