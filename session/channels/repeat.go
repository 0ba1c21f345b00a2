package channels

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/recovery"
)

// A message of a low-latency channel that is lost should cost its receiver less
// than a round trip. So a short one rides along again in the next few frames
// that have room, until it is acknowledged, and the last one is sent again
// early if nothing follows it.
//
// All copies are the same chunk to the peer, which ignores the ones it does not
// need; they use no credit. Any copy that arrives settles the message. Only the
// newest one says by its loss that the message must be sent anew.
const (
	// ShortMessage is the longest message that is repeated before it is known to
	// be lost, and that may be let past a full congestion window.
	ShortMessage = 256
	// repeatGap is the least time between two copies: what is lost together
	// was sent together. Where the round trip is shorter there are none.
	repeatGap = 3 * time.Millisecond
	// sparse is how many unacknowledged messages of a session, at most, are few.
	sparse = 32
	// recentMax is how many unacknowledged messages are held for repetition.
	recentMax = 32
)

// AllowCopies sets what Append may repeat of messages that are not known to be
// lost: each at most so often, and so many bytes of frame in all.
func (s *Set) AllowCopies(each, bytes int) { s.copiesEach, s.copiesBytes = each, bytes }

// CopiesLeft returns how many of the bytes of AllowCopies are not used.
func (s *Set) CopiesLeft() int { return s.copiesBytes }

// worthCopies reports whether m is to be repeated. Where few messages are under way
// no channel has to ask for it: their copies are hardly any traffic.
func (s *Set) worthCopies(m *outgoing) bool {
	return reliable(m.stream.mode) && (m.stream.channel.options.LowLatency || s.unfinished <= sparse)
}

// noteSent remembers that all of m was sent in one chunk.
func (s *Set) noteSent(now clock.Time, m *outgoing) {
	m.copy++
	m.sentAt = now
	if !s.worthCopies(m) {
		return
	}
	if m.stream.channel.options.LowLatency {
		s.tail = m
	}
	if m.recent.on == nil {
		if s.flying.n == recentMax {
			s.flying.head.remove()
		}
		s.flying.pushBack(&m.recent)
	}
}

// appendCopies appends short messages that were sent a while ago, as many as fit,
// the oldest first: those after it may wait for it.
func (s *Set) appendCopies(now clock.Time, b []byte, limit int, refs []recovery.Ref) ([]byte, []recovery.Ref) {
	if s.copiesEach == 0 {
		return b, refs
	}
	for n := s.flying.head; n != nil; n = n.next {
		m := n.item
		if m.repeated >= s.copiesEach || m.total > ShortMessage || m.resend.on != nil || now.Sub(m.sentAt) < repeatGap {
			continue
		}
		size := m.headerLen(0, m.total) + m.total
		if size > min(limit-len(b), s.copiesBytes) {
			continue
		}
		m.repeated++
		s.noteSent(now, m)
		var ref recovery.Ref
		b, ref = m.appendChunk(b, 0, m.total)
		refs = append(refs, ref)
		s.copiesBytes -= size
		s.stats.RepeatedBytes += uint64(size)
	}
	return b, refs
}

// Urgent reports whether the next thing to send is a whole short message of a
// low-latency channel.
func (s *Set) Urgent() bool {
	if !s.sending {
		return false
	}
	ch := s.nextChannel()
	return ch != nil && ch.urgent()
}

// urgentMemory is how long low latency is asked for after the last message of it.
const urgentMemory = 2 * time.Second

// AsksLowLatency reports whether the application sends short messages of low latency.
func (s *Set) AsksLowLatency(now clock.Time) bool {
	return s.urgentAt != 0 && now.Sub(s.urgentAt) < urgentMemory
}

func (ch *channel) urgent() bool {
	if !ch.options.LowLatency {
		return false
	}
	st := ch.nextStream()
	m := st.resend.first()
	if m == nil {
		m = st.queue.first()
	}
	return m.total <= ShortMessage
}

// Tail returns when the message of a low-latency channel that was sent last was
// sent, unless it has been acknowledged, or repeated for being the last.
func (s *Set) Tail() (sentAt clock.Time, ok bool) {
	m := s.tail
	if m == nil || m.probed || m.resend.on != nil {
		return 0, false
	}
	return m.sentAt, true
}

// RepeatTail has what Tail speaks of sent again, and with it the others that
// were sent at the same time. It counts as no loss.
func (s *Set) RepeatTail() {
	at, ok := s.Tail()
	if !ok {
		return
	}
	for n := s.flying.head; n != nil; n = n.next {
		if m := n.item; m.sentAt == at && m.resend.on == nil && m.stream.channel.options.LowLatency {
			m.probed = true
			m.lose(0, m.total)
			s.schedule(m.stream.channel)
		}
	}
}
