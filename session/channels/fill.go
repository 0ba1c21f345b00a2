package channels

import (
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A covered is bytes of a message that a chunk header lies over.
type covered struct {
	was [wire.MessageHeaderMax]byte
	at  []byte // where they belong; empty if nothing is covered
}

const _ = uint(fragmentMin - wire.MessageHeaderMax) // see Fill

// Fill returns a chunk of just room bytes, which are at least RoomMin, if it is all that
// Append would put there and is neither the first nor the last piece of a message: so
// are most chunks of long ones. It is not copied: the header lies over bytes of the
// message that were sent before. PutBack is to be called before anything else of s.
func (s *Set) Fill(room int) (chunk []byte, ref recovery.Ref, ok bool) {
	if s.skips.n > 0 || s.Owes() || s.copiesEach > 0 && s.flying.n > 0 {
		return nil, ref, false
	}
	ch := s.nextChannel()
	if ch == nil {
		return nil, ref, false
	}
	st := ch.nextStream()
	m := st.queue.first()
	if st.resend.n > 0 || m.sent == 0 {
		return nil, ref, false
	}
	// fragmentMin bytes of the message are before the chunk, and as many stay behind it
	// with credit for them: so the header has room, says the right things although its
	// end is not known yet, and the channel stays where it is scheduled.
	h := m.header(m.sent, m.sent+room)
	lo, begin := m.sent, m.sent-h.HeaderLen(room)
	hi := begin + room
	n := hi - lo
	if hi > m.total-fragmentMin || wire.VarintLen(uint64(n)) != wire.VarintLen(uint64(room)) ||
		reliable(st.mode) && uint64(n)+fragmentMin > ch.limit-ch.used {
		return nil, ref, false
	}
	st.take(n)
	m.sent = hi
	ch.charge(st, room)
	s.covered.at = m.data[begin:lo]
	copy(s.covered.was[:], s.covered.at)
	h.AppendHeader(m.data[:begin], n)
	return m.data[begin:hi], m.ref(lo, hi), true
}

// PutBack ends the use of what Fill returned.
func (s *Set) PutBack() {
	copy(s.covered.at, s.covered.was[:])
	s.covered.at = nil
}
