package channels

import (
	"encoding/binary"
	"math/bits"
)

// atRest reports whether nothing is going on: no message is queued, in flight,
// half-built or unread, nothing is to be told to the peer or to the caller.
func (s *Set) atRest() bool {
	if len(s.awaiting) == 0 {
		s.trimAwaiting()
	}
	busy := s.buffered + s.unfinished + s.unsent.n + len(s.due) + s.skips.n + s.credits.Len() + s.reads.Len() +
		s.awaitingOrder.Len() + s.outcomes.Len() + s.partials.n + s.unread.n + s.flying.n + s.readable.Len() + s.extended + s.waiting.Len()
	if busy > 0 || s.writableSignal || s.crowded || s.backlogged || !s.sending {
		return false
	}
	for _, ch := range s.channels {
		if !ch.atRest() {
			return false
		}
	}
	return true
}

func (ch *channel) atRest() bool {
	if ch.ready >= 0 || ch.blocked || ch.unread.n > 0 || ch.announced || ch.creditDue {
		return false
	}
	for i := range ch.out {
		if st := &ch.out[i]; st.base != st.next || st.queue.n > 0 || st.resend.n > 0 || len(st.keys) > 0 {
			return false
		}
	}
	for i := range ch.in {
		if st := &ch.in[i]; st.done.base != st.top || len(st.open) > 0 || st.last != nil {
			return false
		}
	}
	return true
}

// Rest reports whether the Set is at rest. If so it returns all that has to be
// remembered of it, which is little, for [Wake] to go on from; the Set itself
// goes to the pool and must not be used any more.
//
// Unreliable messages that were overtaken by the newest one received count as
// received: by the time that nothing goes on, they are not to be expected.
func (s *Set) Rest() (memory []byte, ok bool) {
	if !s.atRest() {
		return nil, false
	}
	var buf [256]byte
	w := scribe{b: buf[:0]}
	s.describe(&w)
	memory = append([]byte(nil), w.b...)
	s.pool.recycleSet(s)
	return memory, true
}

// Wake makes a Set from what [Set.Rest] has returned.
func Wake(cfg Config, memory []byte) *Set {
	cfg = cfg.withDefaults()
	s := cfg.Pool.newSet()
	s.cfg, s.pool = cfg, cfg.Pool
	s.describe(&scribe{b: memory, reading: true})
	return s
}

// describe names everything about a Set at rest that matters, to a scribe who
// writes it down, or fills it in from what was written.
func (s *Set) describe(w *scribe) {
	number(w, &s.lengthMax)
	number(w, &s.sendBuffer)
	number(w, &s.initialCredit)
	number(w, &s.ids.serial)
	number(w, &s.rtt)
	number(w, &s.frame)
	s.sending = true
	st := &s.stats
	for _, n := range [...]*uint64{
		&st.MessagesSent, &st.MessagesReceived, &st.MessagesSkipped, &st.RetransmittedBytes, &st.Duplicates,
		&st.DroppedUnsent, &st.DroppedUnread, &st.DroppedPartial, &st.DroppedStale,
	} {
		number(w, n)
	}
	n := len(s.channels)
	number(w, &n)
	for i := range n {
		if !w.reading {
			s.channels[i].describe(w)
			continue
		}
		ch := s.pool.newChannel()
		ch.describe(w)
		s.add(ch)
		s.grown += ch.window - s.cfg.Window
	}
}

// describe does the same for a channel. Windows, credit and priority differ from
// channel to channel; that of sharing which is forgotten is who was served when.
func (ch *channel) describe(w *scribe) {
	number(w, &ch.id)
	boolean(w, &ch.opened)
	boolean(w, &ch.accepted)
	number(w, &ch.options.Priority)
	number(w, &ch.options.Weight)
	boolean(w, &ch.options.LowLatency)
	number(w, &ch.used)
	number(w, &ch.limit)
	for i := range ch.out {
		number(w, &ch.out[i].next)
		ch.out[i].base = ch.out[i].next
	}
	for i := range ch.in {
		number(w, &ch.in[i].top)
		ch.in[i].done = numberSet{base: ch.in[i].top}
	}
	top := ch.seen.top()
	number(w, &top)
	ch.seen = numberSet{base: top}
	number(w, &ch.newest)
	number(w, &ch.received)
	number(w, &ch.consumed)
	number(w, &ch.granted)
	number(w, &ch.window)
	ch.turn, ch.turnFrom = 0, 0
	number(w, &ch.reserved)
}

// top is one above the highest number in the set.
func (n *numberSet) top() uint64 {
	for i := len(n.words); i > 0; i-- {
		at := n.base/64 + uint64(i-1)
		if word := n.words[at&uint64(len(n.words)-1)]; word != 0 {
			return at*64 + uint64(bits.Len64(word))
		}
	}
	return n.base
}

// A scribe writes numbers down, or reads them out again, in the same order.
type scribe struct {
	b       []byte
	reading bool
}

type integer interface {
	~int | ~int8 | ~int64 | ~uint16 | ~uint64
}

func number[T integer](w *scribe, v *T) {
	if !w.reading {
		w.b = binary.AppendVarint(w.b, int64(*v))
		return
	}
	x, n := binary.Varint(w.b)
	*v, w.b = T(x), w.b[n:]
}

func boolean(w *scribe, v *bool) {
	var n uint64
	if *v {
		n = 1
	}
	number(w, &n)
	*v = n != 0
}
