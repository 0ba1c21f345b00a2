package channels

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Join makes a both of two chunks for OnAcked, if b is the piece of a message that comes
// after a: so are most of those that a peer acknowledges at once.
func Join(a, b *recovery.Ref) bool {
	if b.Off == 0 || b.Off != a.Off+a.Len || b.Kind != a.Kind || b.Seq != a.Seq || b.Channel != a.Channel || b.Mode != a.Mode {
		return false
	}
	a.Len += b.Len
	return true
}

// OnAcked tells that the peer has received a chunk. A chunk that was reported
// lost may still be acknowledged.
func (s *Set) OnAcked(_ clock.Time, ref *recovery.Ref) {
	m := s.sentMessage(ref)
	if m == nil {
		return
	}
	if m.skipped {
		if ref.Kind == wire.TypeSkip {
			s.retire(m)
		}
		return
	}
	ch := m.stream.channel
	if m.ack(int(ref.Off), int(ref.Off+ref.Len)) {
		s.stored(m)
	}
	s.schedule(ch)
}

// OnLost tells that a chunk was lost. It is sent again if it still matters and no
// later copy is under way: that one's fate decides. It may come more than once for
// a chunk.
func (s *Set) OnLost(now clock.Time, ref *recovery.Ref) {
	if ref.Copy != 0 {
		if m := s.sentMessage(ref); m != nil && m.copy != ref.Copy {
			return
		}
	}
	s.SendAgain(now, ref)
}

// SendAgain has a chunk sent again, if it still matters, whatever became of it and
// its copies. It may come more than once for a chunk.
func (s *Set) SendAgain(_ clock.Time, ref *recovery.Ref) {
	switch ref.Kind {
	case wire.TypeCredit:
		if ch := s.find(ref.Channel); ch.granted == ref.Seq {
			s.creditDue(ch)
		}
		return
	case wire.TypeRead:
		s.queueRead(wire.Read{Channel: ref.Channel, Mode: ref.Mode, Seq: ref.Seq})
		return
	}
	m := s.sentMessage(ref)
	if m == nil {
		return
	}
	ch := m.stream.channel
	switch {
	case m.skipped:
		if ref.Kind == wire.TypeSkip && m.resend.on == nil {
			s.skips.pushBack(&m.resend)
		}
	case !reliable(m.stream.mode):
		s.withdraw(m, Lost)
	default:
		m.lose(int(ref.Off), int(ref.Off+ref.Len))
	}
	s.schedule(ch)
}

// sentMessage returns the message that a chunk belongs to, or nil if the chunk
// is of another kind or the message is retired.
func (s *Set) sentMessage(ref *recovery.Ref) *outgoing {
	if ref.Kind != wire.TypeMessage && ref.Kind != wire.TypeSkip {
		return nil
	}
	return s.find(ref.Channel).out[ref.Mode].find(ref.Seq)
}

// ack marks bytes as received by the peer and reports whether all are.
func (m *outgoing) ack(lo, hi int) (all bool) {
	if hi-lo == m.total {
		return true
	}
	m.acked.add(lo, hi)
	m.lost.remove(lo, hi)
	if len(m.lost) == 0 {
		m.resend.remove()
	}
	return m.acked.covers(m.total)
}

// lose marks bytes to be sent again, but for those that have arrived.
func (m *outgoing) lose(lo, hi int) {
	m.lost.addExcept(lo, hi, m.acked)
	if (len(m.lost) > 0 || m.total == 0) && m.resend.on == nil {
		m.stream.resend.pushBack(&m.resend)
	}
}

// stored ends a message that the peer has wholly received.
func (s *Set) stored(m *outgoing) {
	if m.receipt {
		s.report(m.id, Stored)
		s.awaitRead(wire.Read{Channel: m.stream.channel.id, Mode: m.stream.mode, Seq: m.seq}, m.id)
	}
	s.settle(m)
	s.retire(m)
}

// awaitRead remembers a stored message until the peer's application takes it.
// An unreliable message may never be taken, so the oldest are forgotten.
func (s *Set) awaitRead(name wire.Read, id MessageID) {
	if s.awaitingOrder.Len() == awaitingMax {
		oldest, _ := s.awaitingOrder.Pop()
		delete(s.awaiting, oldest)
	}
	if s.awaiting == nil {
		s.awaiting = make(map[wire.Read]MessageID)
	}
	s.awaiting[name] = id
	s.awaitingOrder.Push(name)
}

// HandleRead tells that the peer's application has taken a message. An error
// means that the peer broke the protocol.
func (s *Set) HandleRead(_ clock.Time, r *wire.Read) error {
	ch := s.find(r.Channel)
	if ch == nil || r.Seq >= ch.out[r.Mode].next {
		return errRead
	}
	if m := ch.out[r.Mode].find(r.Seq); m != nil && !m.skipped {
		if !m.receipt || !m.wholly() {
			return errRead
		}
		s.stored(m) // read implies stored, even if the acknowledgement was lost
		s.schedule(ch)
	}
	if id, ok := s.awaiting[*r]; ok {
		delete(s.awaiting, *r)
		s.report(id, Read)
		s.trimAwaiting()
	}
	return nil
}

// trimAwaiting forgets the order of messages at the front that are read.
func (s *Set) trimAwaiting() {
	for s.awaitingOrder.Len() > 0 {
		oldest, _ := s.awaitingOrder.Peek()
		if _, waits := s.awaiting[oldest]; waits {
			return
		}
		s.awaitingOrder.Pop()
	}
}

// HandleCredit takes the credit that the peer grants a channel. An error means
// that the peer broke the protocol.
func (s *Set) HandleCredit(_ clock.Time, c *wire.Credit) error {
	ch := s.find(c.Channel)
	if ch == nil || !ch.opened {
		return errCreditChannel
	}
	if c.Limit > ch.limit { // an older CREDIT may arrive late
		ch.limit = c.Limit
		s.schedule(ch)
	}
	return nil
}
