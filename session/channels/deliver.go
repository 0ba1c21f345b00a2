package channels

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// deliver queues a complete message for the application, unless the front of it is
// queued already.
func (s *Set) deliver(in *incoming) {
	if in.unread.on != nil {
		return
	}
	if !in.packed {
		in.ready = 1
	}
	ch := in.channel
	if ch.unread.n == 0 && !ch.announced {
		ch.announced = true
		s.readable.Push(ch.id)
	}
	ch.unread.pushBack(&in.unread)
	if !reliable(in.mode) {
		s.unread.pushBack(&in.age)
		s.unreadBytes += in.total
	}
}

// deliverFront queues what has come of an incomplete message that has its turn: if it
// is a pack, the first of its messages may all be there.
func (s *Set) deliverFront(st *inStream, in *incoming) {
	if in.ready > 0 && (in.mode == wire.Unordered || in.seq == st.done.base) {
		s.deliver(in)
	}
}

// boundUnread drops the oldest unreliable messages until the rest is within
// bounds: their sender is not held back by credit.
func (s *Set) boundUnread() {
	for s.unread.n > unreadMessages || s.unreadBytes > unreliableQueueBytes {
		in := s.unread.first()
		s.stats.DroppedUnread += uint64(in.ready)
		s.dequeue(in)
		s.pool.recycleIncoming(in)
	}
}

func (s *Set) dequeue(in *incoming) {
	in.unread.remove()
	if in.age.on != nil {
		in.age.remove()
		s.unreadBytes -= in.total
	}
}

// Recv takes the next message of a channel.
func (s *Set) Recv(now clock.Time, ch uint16) (Received, bool) {
	in := s.next(ch)
	if in == nil {
		return Received{}, false
	}
	r := Received{Channel: ch, Mode: in.mode}
	begin, end := in.next()
	if in.packed {
		r.Data = make([]byte, end.off-begin.off)
		in.copyFrom(begin, r.Data)
	} else {
		r.Data = in.detach()
	}
	s.take(now, in, end)
	return r, true
}

// RecvInto takes the next message of a channel and copies it into buf. If buf
// is too short, n is the length of the message, which stays queued, and err is
// ErrShortBuffer.
func (s *Set) RecvInto(now clock.Time, ch uint16, buf []byte) (n int, mode wire.Mode, ok bool, err error) {
	in := s.next(ch)
	if in == nil {
		return 0, 0, false, nil
	}
	begin, end := in.next()
	n, mode = end.off-begin.off, in.mode
	if len(buf) < n {
		return n, mode, false, ErrShortBuffer
	}
	in.copyFrom(begin, buf[:n])
	s.take(now, in, end)
	return n, mode, true, nil
}

func (s *Set) next(id uint16) *incoming {
	ch := s.find(id)
	if ch == nil {
		return nil
	}
	return ch.unread.first()
}

// take takes note that the application has the next message of in, which ends at a
// place. With the last one in is freed, and the credit that it used.
func (s *Set) take(now clock.Time, in *incoming, end cursor) {
	s.stats.MessagesReceived++
	in.taken = end
	in.ready--
	if in.ready > 0 {
		return
	}
	s.dequeue(in)
	if end.off < in.total {
		return // it comes back with the rest
	}
	ch := in.channel
	if in.receipt {
		s.queueRead(wire.Read{Channel: ch.id, Mode: in.mode, Seq: in.seq})
	}
	if reliable(in.mode) {
		ch.consumed += in.cost()
		s.updateCredit(now, ch)
	}
	s.pool.recycleIncoming(in)
}

// queueRead queues a receipt. A peer that asks for many and acknowledges none
// loses the oldest.
func (s *Set) queueRead(r wire.Read) {
	if s.reads.Len() == readsMax {
		s.reads.Pop()
	}
	s.reads.Push(r)
}
