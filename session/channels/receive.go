package channels

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// An inStream is the reliable, or the unordered, messages of one channel that
// we receive.
type inStream struct {
	done numberSet            // reliable: delivered in order, so base alone; unordered: complete or skipped
	top  uint64               // all numbers below are known to exist, and have been counted
	open map[uint64]*incoming // begun but not done; reliable ones also while they wait for those before
	last *incoming            // the message numbered top-1, while it is incomplete
}

// HandleMessage takes a message or a fragment of one. An error means that the
// peer broke the protocol.
func (s *Set) HandleMessage(now clock.Time, m *wire.Message) error {
	if m.Total > uint64(s.cfg.MaxMessage) || !reliable(m.Mode) && m.Total > MaxUnreliable {
		return errLength
	}
	ch, err := s.accept(now, m.Channel)
	if err != nil {
		return err
	}
	if reliable(m.Mode) {
		return s.handleReliable(now, ch, m)
	}
	return s.handleUnreliable(ch, m)
}

func (s *Set) handleReliable(now clock.Time, ch *channel, m *wire.Message) error {
	st := &ch.in[m.Mode]
	if st.done.has(m.Seq) {
		s.stats.Duplicates++
		return nil
	}
	if err := ch.reach(st, m.Seq); err != nil {
		return err
	}
	in := st.open[m.Seq]
	if in == nil {
		in = s.begin(ch, m)
		if m.Fragment || m.Mode == wire.Reliable && m.Seq != st.done.base {
			st.hold(in)
		}
	} else if in.skipped || in.complete() {
		return s.duplicate(in, m)
	}
	if err := s.grow(in, m); err != nil {
		if in.unread.on == nil {
			in.ready = 0 // of a false pack nothing more is taken
		}
		st.hold(in) // if it is not held yet: what was counted is
		return err
	}
	if in.have < in.total {
		s.deliverFront(st, in)
		s.updateCredit(now, ch)
		return nil
	}
	if st.last == in {
		st.last = nil
		s.updateCredit(now, ch)
	}
	s.finish(ch, st, in)
	return nil
}

// duplicate handles a chunk of a message that needs no more.
func (s *Set) duplicate(in *incoming, m *wire.Message) error {
	s.stats.Duplicates++
	if in.skipped {
		return nil
	}
	_, err := in.check(m)
	return err
}

// reach makes sure that the number is within the window, and counts all
// messages up to it as begun: their sender has.
func (ch *channel) reach(st *inStream, seq uint64) error {
	if seq < st.top {
		return nil
	}
	if seq-st.done.base >= NumberWindow {
		return errNumber
	}
	if err := ch.count((seq + 1 - st.top) * MessageOverhead); err != nil {
		return err
	}
	st.top, st.last = seq+1, nil
	return nil
}

// begin returns a record for a message of which a first chunk has arrived.
func (s *Set) begin(ch *channel, m *wire.Message) *incoming {
	in := s.pool.newIncoming()
	in.channel, in.mode, in.seq, in.total, in.packed = ch, m.Mode, m.Seq, int(m.Total), m.Packed
	return in
}

// hold keeps a message that is not yet done.
func (st *inStream) hold(in *incoming) {
	if st.open == nil {
		st.open = make(map[uint64]*incoming)
	}
	st.open[in.seq] = in
	if in.seq+1 == st.top {
		st.last = in
	}
}

// grow adds what is new in a chunk to its message.
func (s *Set) grow(in *incoming, m *wire.Message) error {
	fresh, err := in.check(m)
	if err != nil {
		return err
	}
	if m.Packed != in.packed {
		return errPack
	}
	if fresh < len(m.Data) {
		s.stats.Duplicates++
	}
	if reliable(in.mode) {
		if err := in.channel.count(uint64(fresh)); err != nil {
			return err
		}
	}
	in.receipt = in.receipt || m.Receipt
	if err := in.insert(s.pool, int(m.Offset), m.Data); err != nil || !in.packed {
		return err
	}
	if fresh == 0 && in.total > 0 {
		return nil
	}
	return in.unpack()
}

// finish moves a complete message on: to the application, or to where it waits
// for those before it.
func (s *Set) finish(ch *channel, st *inStream, in *incoming) {
	if in.mode == wire.Reliable && in.seq != st.done.base {
		return
	}
	delete(st.open, in.seq)
	st.done.add(in.seq)
	s.deliver(in)
	if in.mode == wire.Reliable {
		s.advance(ch, st)
	}
}

// advance passes on the reliable messages that waited for those before them.
func (s *Set) advance(ch *channel, st *inStream) {
	for {
		in := st.open[st.done.base]
		if in == nil {
			return
		}
		if !in.complete() && !in.skipped {
			s.deliverFront(st, in)
			return
		}
		delete(st.open, in.seq)
		st.done.add(in.seq)
		if in.skipped {
			ch.consumed += MessageOverhead
			s.pool.recycleIncoming(in)
			continue
		}
		s.deliver(in)
	}
}

// HandleSkip stops waiting for a message that its sender gave up. What is
// already complete stays. An error means that the peer broke the protocol.
func (s *Set) HandleSkip(now clock.Time, k *wire.Skip) error {
	if !reliable(k.Mode) || k.Sent < MessageOverhead || k.Sent > uint64(s.cfg.MaxMessage)+MessageOverhead {
		return errSkip
	}
	ch, err := s.accept(now, k.Channel)
	if err != nil {
		return err
	}
	st := &ch.in[k.Mode]
	if st.done.has(k.Seq) {
		return nil
	}
	if err := ch.reach(st, k.Seq); err != nil {
		return err
	}
	in := st.open[k.Seq]
	if in != nil && (in.skipped || in.complete()) {
		return nil
	}
	if in == nil {
		in = s.begin(ch, &wire.Message{Mode: k.Mode, Seq: k.Seq, Total: k.Sent - MessageOverhead})
		st.hold(in)
	}
	if err := s.skip(st, in, int(k.Sent-MessageOverhead)); err != nil {
		return err
	}
	s.updateCredit(now, ch)
	return nil
}

// skip turns an incomplete message of which sent bytes were sent into a mere
// number that is done.
func (s *Set) skip(st *inStream, in *incoming, sent int) error {
	if sent > in.total || len(in.segs) > 0 && in.segs[len(in.segs)-1].end() > sent {
		return errSkip
	}
	ch := in.channel
	if err := ch.count(uint64(sent - in.have)); err != nil {
		return err
	}
	ch.consumed += uint64(sent)
	if st.last == in {
		st.last = nil
	}
	in.skipped = true
	s.dequeue(in)
	s.stats.MessagesSkipped++
	s.freeSegments(in)
	if in.mode == wire.Reliable {
		s.advance(ch, st) // its overhead is freed there, once its number has been passed
		return nil
	}
	ch.consumed += MessageOverhead
	delete(st.open, in.seq)
	st.done.add(in.seq)
	s.pool.recycleIncoming(in)
	return nil
}

func (s *Set) freeSegments(in *incoming) {
	for i := range in.segs {
		s.pool.recycle(in.segs[i].data)
	}
	in.segs, in.have, in.ready = nil, 0, 0
}

// handleUnreliable takes a message, or a fragment, that is not sent again.
func (s *Set) handleUnreliable(ch *channel, m *wire.Message) error {
	if ch.stale(m) {
		s.stats.DroppedStale++
		return nil
	}
	in := s.partial(ch, m)
	if in == nil {
		in = s.begin(ch, m)
		if m.Fragment {
			s.keepPartial(in)
		}
	}
	if err := s.grow(in, m); err != nil {
		return err
	}
	if in.have < in.total {
		return nil
	}
	in.age.remove()
	ch.settleUnreliable(in)
	if in.mode == wire.Sequenced {
		s.dropOlder(in)
	}
	s.deliver(in)
	s.boundUnread()
	return nil
}

// stale reports whether an unreliable message was received before or has been
// overtaken.
func (ch *channel) stale(m *wire.Message) bool {
	if m.Mode == wire.Sequenced {
		return m.Seq < ch.newest
	}
	return ch.seen.has(m.Seq)
}

// settleUnreliable makes sure that nothing more of the message is taken.
func (ch *channel) settleUnreliable(in *incoming) {
	if in.mode == wire.Sequenced {
		ch.newest = max(ch.newest, in.seq+1)
		return
	}
	if in.seq >= seenMax {
		ch.seen.slide(in.seq - seenMax + 1)
	}
	ch.seen.add(in.seq)
}

// partial returns the half-built message that a fragment belongs to, or nil.
func (s *Set) partial(ch *channel, m *wire.Message) *incoming {
	for n := s.partials.head; n != nil; n = n.next {
		if in := n.item; in.channel == ch && in.mode == m.Mode && in.seq == m.Seq {
			return in
		}
	}
	return nil
}

// keepPartial keeps a half-built message; if there are too many, the oldest is
// given up.
func (s *Set) keepPartial(in *incoming) {
	if s.partials.n == partialsMax {
		s.dropPartial(s.partials.first())
	}
	s.partials.pushBack(&in.age)
}

// dropPartial gives up a half-built message, and ignores the rest of it if it
// still comes.
func (s *Set) dropPartial(in *incoming) {
	s.stats.DroppedPartial++
	in.age.remove()
	if in.mode == wire.Unreliable && !in.channel.seen.has(in.seq) {
		in.channel.settleUnreliable(in)
	}
	s.pool.recycleIncoming(in)
}

// dropOlder gives up the half-built messages that a sequenced one overtook.
func (s *Set) dropOlder(newer *incoming) {
	for n := s.partials.head; n != nil; {
		in := n.item
		n = n.next
		if in.channel == newer.channel && in.mode == wire.Sequenced && in.seq < newer.seq {
			s.dropPartial(in)
		}
	}
}
