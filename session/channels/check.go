package channels

import (
	"fmt"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Check verifies the invariants that tie the parts of a Set together: sums equal
// what they are sums of, and bounds hold. It is for tests and simulators; it
// walks everything.
func (s *Set) Check() error {
	for _, check := range []func() error{s.checkSending, s.checkReceiving, s.checkBounds} {
		if err := check(); err != nil {
			return fmt.Errorf("channels: broken invariant: %w", err)
		}
	}
	return nil
}

func (s *Set) checkSending() error {
	var buffered, unsent, unsentCount, unfinished int
	inChannel := make(map[*channel]int)
	for _, m := range s.ids.slots {
		switch {
		case m == nil:
		case reliable(m.stream.mode):
			buffered += m.cost()
			inChannel[m.stream.channel] += m.cost()
		case m.age.on != nil:
			unsent += m.total
			unsentCount += m.messages()
		}
	}
	for _, ch := range s.channels {
		for i := range ch.out {
			st := &ch.out[i]
			if reliable(st.mode) {
				unfinished += st.unfinished()
			}
			if err := st.check(); err != nil {
				return fmt.Errorf("channel %d %v: %w", ch.id, st.mode, err)
			}
		}
		if ready := s.sending && ch.nextStream() != nil; ready != (ch.ready >= 0) {
			return fmt.Errorf("channel %d: can send is %v, is scheduled is %v", ch.id, ready, ch.ready >= 0)
		}
		if ch.buffered != inChannel[ch] {
			return fmt.Errorf("channel %d: %d bytes buffered, the sum is %d", ch.id, ch.buffered, inChannel[ch])
		}
		if ch.used > ch.limit {
			return fmt.Errorf("channel %d: used %d of credit %d", ch.id, ch.used, ch.limit)
		}
	}
	return equal(
		"send buffer", s.buffered, buffered,
		"unsent bytes", s.unsentBytes, unsent,
		"unsent messages", s.unsentCount, unsentCount,
		"unfinished messages", s.unfinished, unfinished,
	)
}

// unfinished counts the messages of the stream that are not retired.
func (st *outStream) unfinished() int {
	n := 0
	st.each(func(*outgoing) { n++ })
	for q := st.queue.head; q != nil; q = q.next {
		if !q.item.started {
			n++
		}
	}
	return n
}

func (st *outStream) check() (err error) {
	if st.next-st.base > NumberWindow {
		return fmt.Errorf("%d numbers in flight", st.next-st.base)
	}
	st.each(func(m *outgoing) {
		again := m.resend.on == &st.resend
		if !m.skipped && again != (len(m.lost) > 0) && m.total > 0 {
			err = fmt.Errorf("message %d: lost bytes %v, to be sent again %v", m.seq, m.lost, again)
		}
		if m.acked.covers(m.total) && m.total > 0 && !m.skipped {
			err = fmt.Errorf("message %d is stored and not retired", m.seq)
		}
	})
	return err
}

func (s *Set) checkReceiving() error {
	var unread, extended int
	for n := s.unread.head; n != nil; n = n.next {
		unread += n.item.total
	}
	for _, ch := range s.channels {
		if err := ch.checkUnread(); err != nil {
			return fmt.Errorf("channel %d: %w", ch.id, err)
		}
		if ch.extended {
			extended++
		}
		if held, counted := ch.held(), ch.received-ch.consumed; held != counted {
			return fmt.Errorf("channel %d: holds %d, counted %d", ch.id, held, counted)
		}
		if top := max(ch.granted, ch.reserved); top > ch.windowEnd()+2*uint64(s.cfg.MaxMessage) || (top > ch.windowEnd()) != ch.extended {
			return fmt.Errorf("channel %d: granted %d, reserved %d, window ends at %d", ch.id, ch.granted, ch.reserved, ch.windowEnd())
		}
		if ch.received > ch.granted {
			return fmt.Errorf("channel %d: received %d of %d", ch.id, ch.received, ch.granted)
		}
	}
	return equal("unread bytes", s.unreadBytes, unread, "extended channels", s.extended, extended)
}

// checkUnread verifies that what can be taken is queued, and nothing else.
func (ch *channel) checkUnread() error {
	for u := ch.unread.head; u != nil; u = u.next {
		if u.item.ready == 0 {
			return fmt.Errorf("%v message %d is unread, and nothing of it is ready", u.item.mode, u.item.seq)
		}
	}
	st := &ch.in[wire.Reliable]
	if in := st.open[st.done.base]; in != nil && in.ready > 0 && in.unread.on == nil {
		return fmt.Errorf("%d messages at the front are ready, and not unread", in.ready)
	}
	return nil
}

// held is what the peer's reliable messages take of the channel's credit, added
// up from the messages themselves.
func (ch *channel) held() uint64 {
	var n uint64
	for u := ch.unread.head; u != nil; u = u.next {
		if in := u.item; reliable(in.mode) && ch.in[in.mode].open[in.seq] != in {
			n += in.cost()
		}
	}
	for i := range ch.in {
		st := &ch.in[i]
		for seq := st.done.base; seq < st.top; seq++ {
			if in := st.open[seq]; in != nil {
				n += uint64(in.have)
			}
			if wire.Mode(i) == wire.Reliable || !st.done.has(seq) {
				n += MessageOverhead
			}
		}
	}
	return n
}

func (s *Set) checkBounds() error {
	return within(
		"channels opened", s.opened, s.cfg.MaxChannels,
		"channels accepted", s.accepted, s.cfg.MaxChannels,
		"unsent messages", s.unsentCount, unsentMessages,
		"unsent bytes", s.unsentBytes, unreliableQueueBytes,
		"unread messages", s.unread.n, unreadMessages,
		"unread bytes", s.unreadBytes, unreliableQueueBytes,
		"half-built messages", s.partials.n, partialsMax,
		"receipts to send", s.reads.Len(), readsMax,
		"receipts to come", len(s.awaiting), awaitingMax,
		"window growth", s.grown, growthMax*(s.cfg.WindowMax-s.cfg.Window),
		"extended channels", s.extended, extendedMax,
		"messages to repeat", s.flying.n, recentMax,
	)
}

// equal takes triples of a name and two numbers.
func equal(triples ...any) error {
	for ; len(triples) > 0; triples = triples[3:] {
		if triples[1] != triples[2] {
			return fmt.Errorf("%v: counted %v, are %v", triples[0], triples[1], triples[2])
		}
	}
	return nil
}

// within takes triples of a name, a number and its bound.
func within(triples ...any) error {
	for ; len(triples) > 0; triples = triples[3:] {
		if triples[1].(int) > triples[2].(int) {
			return fmt.Errorf("%v: %v exceed %v", triples[0], triples[1], triples[2])
		}
	}
	return nil
}
