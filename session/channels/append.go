package channels

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Append appends to b the chunks that are due, as far as b stays within limit,
// and to refs the name of each of them. With RoomMin bytes of room it always
// makes progress if Pending.
func (s *Set) Append(now clock.Time, b []byte, limit int, refs []recovery.Ref) ([]byte, []recovery.Ref) {
	s.HandleTimeout(now)
	if !s.sending {
		return b, refs
	}
	b, refs = s.appendControl(b, limit, refs)
	return s.appendMessages(now, b, limit, refs, false)
}

// AppendUrgent is Append for a frame that nothing but Urgent gives leave to send.
func (s *Set) AppendUrgent(now clock.Time, b []byte, limit int, refs []recovery.Ref) ([]byte, []recovery.Ref) {
	s.HandleTimeout(now)
	return s.appendMessages(now, b, limit, refs, true)
}

// appendMessages appends message chunks as far as they fit, of short low-latency
// messages alone if urgent.
func (s *Set) appendMessages(now clock.Time, b []byte, limit int, refs []recovery.Ref, urgent bool) ([]byte, []recovery.Ref) {
	start := len(b)
	for copies := true; ; {
		ch := s.nextChannel()
		if copies && (ch != nil && !urgent || len(b) > start) && (ch == nil || !ch.urgent()) {
			copies = false // the rest of the frame may wait for them
			b, refs = s.appendCopies(now, b, limit, refs)
		}
		if ch == nil || urgent && !ch.urgent() {
			return b, refs
		}
		st, before := ch.nextStream(), len(b)
		var ref recovery.Ref
		b, ref = s.appendFrom(now, st, b, limit, before == start)
		if len(b) == before {
			return b, refs
		}
		refs = append(refs, ref)
		ch.charge(st, len(b)-before)
		s.schedule(ch)
		if len(b) == limit {
			return b, refs
		}
	}
}

// appendControl appends CREDIT, SKIP and READ chunks: they are few and short,
// and the peer waits for them.
func (s *Set) appendControl(b []byte, limit int, refs []recovery.Ref) ([]byte, []recovery.Ref) {
	for s.credits.Len() > 0 && limit-len(b) >= wire.ControlLenMax {
		ch, _ := s.credits.Pop()
		ch.creditDue = false
		c := wire.Credit{Channel: ch.id, Limit: ch.granted}
		b = c.Append(b)
		refs = append(refs, recovery.Ref{Kind: wire.TypeCredit, Channel: ch.id, Seq: ch.granted})
	}
	for s.skips.n > 0 && limit-len(b) >= wire.ControlLenMax {
		m := s.skips.first()
		m.resend.remove()
		c := wire.Skip{Channel: m.stream.channel.id, Mode: m.stream.mode, Seq: m.seq, Sent: uint64(m.sent) + MessageOverhead}
		b = c.Append(b)
		refs = append(refs, recovery.Ref{Kind: wire.TypeSkip, Channel: c.Channel, Mode: c.Mode, Seq: c.Seq})
	}
	for s.reads.Len() > 0 && limit-len(b) >= wire.ControlLenMax {
		r, _ := s.reads.Pop()
		b = r.Append(b)
		refs = append(refs, recovery.Ref{Kind: wire.TypeRead, Channel: r.Channel, Mode: r.Mode, Seq: r.Seq})
	}
	return b, refs
}

// appendFrom appends one chunk of a stream that has something to send, if it
// fits. First says that no other message is in the frame.
func (s *Set) appendFrom(now clock.Time, st *outStream, b []byte, limit int, first bool) ([]byte, recovery.Ref) {
	if m := st.resend.first(); m != nil {
		return s.appendAgain(now, m, b, limit)
	}
	m := st.queue.first()
	end, isWhole := s.cut(m, limit-len(b), first)
	if !isWhole && end == m.sent {
		return b, recovery.Ref{}
	}
	if !m.started {
		st.start(m)
		st.take(MessageOverhead)
	}
	st.take(end - m.sent)
	if isWhole {
		s.noteSent(now, m)
	}
	b, ref := m.appendChunk(b, m.sent, end)
	m.sent = end
	if end == m.total {
		s.whollySent(m)
	}
	return b, ref
}

// take uses up credit.
func (st *outStream) take(n int) {
	if reliable(st.mode) {
		st.channel.used += uint64(n)
	}
}

// cut decides up to where m is sent in the given room; isWhole says that it
// goes as one chunk. If nothing fits, end is m.sent.
func (s *Set) cut(m *outgoing, room int, first bool) (end int, isWhole bool) {
	rest, st := m.total-m.sent, m.stream
	if reliable(st.mode) {
		credit := st.channel.limit - st.channel.used
		if !m.started {
			credit -= MessageOverhead // canStart has seen that it is there
		}
		rest = int(min(uint64(rest), credit))
	}
	if m.sent == 0 && rest == m.total && m.headerLen(0, m.total)+m.total <= room {
		return m.total, true
	}
	if !reliable(st.mode) && m.sent == 0 && !first {
		return m.sent, false // cut in two it would be lost twice as often
	}
	return m.fragmentEnd(m.sent, m.sent+rest, m.total, room), false
}

// fragmentEnd returns up to where the bytes from lo up to hi fit in the room as
// a fragment. A piece shorter than fragmentMin is not worth a header, unless it
// ends at last: nor is one made by leaving it over. If nothing fits, the result
// is lo.
func (m *outgoing) fragmentEnd(lo, hi, last, room int) int {
	n := min(hi-lo, room)
	if n > 0 {
		n = min(n, room-m.fragmentHeaderLen(lo, n))
	}
	if left := hi - lo - n; left > 0 && left < fragmentMin {
		n -= fragmentMin - left
	}
	if n <= 0 || n < fragmentMin && lo+n != last {
		return lo
	}
	return lo + n
}

// whollySent moves a message on after its last byte has been sent for the first
// time.
func (s *Set) whollySent(m *outgoing) {
	m.queued.remove()
	if reliable(m.stream.mode) {
		return
	}
	s.leaveUnsent(m)
	s.freeData(m)
	if m.due >= 0 {
		s.due.remove(m)
	}
	if !m.receipt {
		s.settle(m)
		s.retire(m)
	}
}

// appendAgain appends the first lost bytes of m, as many as fit.
func (s *Set) appendAgain(now clock.Time, m *outgoing, b []byte, limit int) ([]byte, recovery.Ref) {
	room := limit - len(b)
	lo, hi := 0, 0
	if len(m.lost) > 0 {
		lo, hi = m.lost[0].lo, m.lost[0].hi
	}
	end := hi
	if hi-lo != m.total || m.headerLen(lo, hi)+m.total > room {
		if end = m.fragmentEnd(lo, hi, hi, room); end == lo {
			return b, recovery.Ref{}
		}
	}
	s.stats.RetransmittedBytes += uint64(end - lo)
	m.lost.remove(lo, end)
	if len(m.lost) == 0 {
		m.resend.remove()
	}
	if end-lo == m.total {
		s.noteSent(now, m)
	}
	return m.appendChunk(b, lo, end)
}

// header is the chunk that carries the bytes from lo up to hi, without them.
func (m *outgoing) header(lo, hi int) wire.Message {
	return wire.Message{
		Channel:  m.stream.channel.id,
		Mode:     m.stream.mode,
		Fragment: hi-lo != m.total,
		Receipt:  m.receipt,
		Urgent:   m.stream.channel.options.LowLatency && hi == m.total,
		Packed:   m.packed(),
		Seq:      m.number(),
		Offset:   uint64(lo),
		Total:    uint64(m.total),
	}
}

// number is the number of the message, or the one it would get now.
func (m *outgoing) number() uint64 {
	if m.started {
		return m.seq
	}
	return m.stream.next
}

func (m *outgoing) headerLen(lo, hi int) int {
	h := m.header(lo, hi)
	return h.HeaderLen(hi - lo)
}

// fragmentHeaderLen is the length of the header of n bytes from lo on that are
// known not to be the whole message, however many will be left of them.
func (m *outgoing) fragmentHeaderLen(lo, n int) int {
	h := m.header(lo, lo+n)
	h.Fragment = true
	return h.HeaderLen(n)
}

func (m *outgoing) appendChunk(b []byte, lo, hi int) ([]byte, recovery.Ref) {
	h := m.header(lo, hi)
	b = h.AppendHeader(b, hi-lo)
	return append(b, m.data[lo:hi]...), m.ref(lo, hi)
}

// ref names the chunk that carries the bytes from lo up to hi.
func (m *outgoing) ref(lo, hi int) recovery.Ref {
	ref := recovery.Ref{
		Kind: wire.TypeMessage, Mode: m.stream.mode, Channel: m.stream.channel.id,
		Seq: m.seq, Off: uint32(lo), Len: uint32(hi - lo),
	}
	if hi-lo == m.total {
		ref.Copy = m.copy
	}
	return ref
}
