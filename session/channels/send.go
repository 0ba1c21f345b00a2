package channels

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Send queues a message and returns its name, 0 if it needs none. Reliable and unordered messages
// meet ErrWouldBlock while the send buffer is full. Unreliable and sequenced
// ones do not: when too many are queued, the oldest of the session gives way
// with the fate Lost; but an unreliable one may ask to Wait instead.
//
// A message with a Key takes the place of an earlier one of the same channel,
// mode and key, which meets the fate Superseded:
//   - If the earlier one has not begun to fly it is withdrawn. The new one takes
//     its place in the queue, so that a key that changes faster than the queue
//     moves is not starved; but a reliable message goes to the end, since those
//     arrive in the order of Send.
//   - An unordered message that has begun to fly is withdrawn too, so that its
//     retransmission cannot arrive after the newer one.
//   - A reliable message that has begun to fly is finished: what follows would
//     have to wait for its SKIP as long as for the message itself.
//   - An unreliable or sequenced message that is partly sent is cut short;
//     one wholly sent is left to its fate.
func (s *Set) Send(now clock.Time, m *Message) (MessageID, error) {
	if err := s.sendable(m); err != nil {
		return 0, err
	}
	ch, err := s.open(m.Channel)
	if err != nil {
		return 0, err
	}
	s.HandleTimeout(now)
	st := &ch.out[m.Mode]
	old := st.superseded(m.Key)
	if s.ids.full() {
		s.crowded = true
		return 0, ErrWouldBlock
	}
	if reliable(m.Mode) && !s.hasRoom(ch, old) {
		ch.blocked = true
		s.refusedAt = now
		return 0, ErrWouldBlock
	}
	if m.Mode == wire.Unreliable && m.Wait && s.unsentFull() {
		s.backlogged = true
		return 0, ErrWouldBlock
	}
	s.stats.MessagesSent++
	if ch.options.LowLatency && len(m.Data) <= ShortMessage {
		s.urgentAt = now
	}
	if m.nameless() && s.join(st, m) {
		s.boundUnsent()
		return 0, nil
	}
	o := s.newOutgoing(st, m)
	s.enqueue(o, old)
	if old != nil {
		s.withdraw(old, Superseded)
	}
	if m.Key != 0 {
		st.setKey(o)
	}
	id := o.name()
	s.boundUnsent()
	s.schedule(ch)
	return id, nil
}

// sendable checks a message before anything is changed.
func (s *Set) sendable(m *Message) error {
	if m.Mode > wire.Sequenced {
		return ErrMode
	}
	if len(m.Data) > s.lengthMax || !reliable(m.Mode) && len(m.Data) > MaxUnreliable {
		return ErrTooLarge
	}
	return nil
}

// superseded returns the message that one with the key takes the place of.
func (st *outStream) superseded(key uint64) *outgoing {
	if key == 0 {
		return nil
	}
	old := st.keys[key]
	switch {
	case old == nil:
		return nil
	case st.mode == wire.Reliable && old.started:
		return nil
	case !reliable(st.mode) && old.wholly():
		return nil
	}
	return old
}

func (st *outStream) setKey(m *outgoing) {
	if st.keys == nil {
		st.keys = make(map[uint64]*outgoing)
	}
	st.keys[m.key] = m
}

// hasRoom reports whether the send buffer of ch takes another message once old,
// if not nil, has left it. Each channel has its own, so that one whose messages
// nobody reads does not hold up the senders of others.
func (s *Set) hasRoom(ch *channel, old *outgoing) bool {
	buffered := ch.buffered
	if old != nil {
		buffered -= old.cost()
	}
	return buffered < s.sendBuffer
}

func (s *Set) newOutgoing(st *outStream, m *Message) *outgoing {
	o := s.pool.newOutgoing()
	o.stream = st
	o.data = append(s.pool.buffer(len(m.Data)), m.Data...)
	o.total = len(m.Data)
	o.key, o.deadline, o.receipt = m.Key, m.Deadline, m.Receipt
	if m.nameless() {
		o.parts = 1
	}
	s.ids.add(o)
	if o.deadline != 0 {
		s.due.push(o)
	}
	return o
}

// enqueue puts m in the queue of its stream: in place of old, or last.
func (s *Set) enqueue(m, old *outgoing) {
	st := m.stream
	st.channel.modes |= 1 << st.mode
	if old != nil && !old.started && st.mode != wire.Reliable {
		st.queue.insertBefore(&m.queued, &old.queued)
	} else {
		st.queue.pushBack(&m.queued)
	}
	if reliable(st.mode) {
		s.buffered += m.cost()
		m.stream.channel.buffered += m.cost()
		s.unfinished++
		return
	}
	s.unsent.pushBack(&m.age)
	s.unsentCount++
	s.unsentBytes += m.total
}

// unsentFull reports whether another unreliable message may push out the oldest.
func (s *Set) unsentFull() bool {
	return s.unsentCount >= unsentMessages || s.unsentBytes >= unreliableQueueBytes
}

// Refused reports whether Send has found no room for a reliable message within the last
// round trip: its sender may not be back yet with another.
func (s *Set) Refused(now clock.Time) bool { return s.refusedAt != 0 && now.Sub(s.refusedAt) <= s.rtt }

// NoWait lets the senders go on that wait for room among unreliable messages: the
// path does not answer, and what they have would be stale once it does.
func (s *Set) NoWait() {
	if s.backlogged {
		s.backlogged, s.writableSignal = false, true
	}
}

// boundUnsent drops the oldest unreliable messages until the rest is within
// bounds.
func (s *Set) boundUnsent() {
	for s.unsentCount > unsentMessages || s.unsentBytes > unreliableQueueBytes {
		m := s.unsent.first()
		s.stats.DroppedUnsent += uint64(m.messages())
		ch := m.stream.channel
		s.withdraw(m, Lost)
		s.schedule(ch)
	}
}

// Cancel withdraws a message that is not yet stored. It returns false if
// nothing is left to withdraw: the message has met its fate, or is unreliable
// and on its way. A reliable message that has begun to fly may be delivered all
// the same.
func (s *Set) Cancel(now clock.Time, id MessageID) bool {
	s.HandleTimeout(now)
	m := s.ids.find(id)
	if m == nil || !reliable(m.stream.mode) && m.wholly() {
		return false
	}
	ch := m.stream.channel
	s.withdraw(m, Canceled)
	s.schedule(ch)
	return true
}

// Deadline returns when HandleTimeout must next be called.
func (s *Set) Deadline() clock.Time {
	if len(s.due) == 0 {
		return clock.Never
	}
	return s.due[0].deadline
}

// HandleTimeout withdraws the messages whose deadline has passed.
func (s *Set) HandleTimeout(now clock.Time) {
	for len(s.due) > 0 && s.due[0].deadline <= now {
		m := s.due[0]
		ch := m.stream.channel
		s.withdraw(m, Expired)
		s.schedule(ch)
	}
}

// withdraw ends a message that is not stored. If the peer may have part of a
// reliable one, a SKIP tells it not to wait for the rest. The caller schedules
// the channel afterwards.
func (s *Set) withdraw(m *outgoing, f Fate) {
	s.report(m.name(), f)
	s.settle(m)
	if !m.started || !reliable(m.stream.mode) {
		s.retire(m)
		return
	}
	m.skipped = true
	s.skips.pushBack(&m.resend)
}

// settle takes a message whose fate is known out of everything but the flight
// of its stream, and frees its bytes.
func (s *Set) settle(m *outgoing) {
	if m.due >= 0 {
		s.due.remove(m)
	}
	if st := m.stream; m.key != 0 && st.keys[m.key] == m {
		delete(st.keys, m.key)
	}
	m.queued.remove()
	m.resend.remove()
	m.recent.remove()
	if s.tail == m {
		s.tail = nil
	}
	s.leaveUnsent(m)
	s.freeData(m)
	s.ids.remove(m)
	if reliable(m.stream.mode) {
		s.buffered -= m.cost()
		m.stream.channel.buffered -= m.cost()
	}
	s.signalWritable(m.stream.channel)
}

// leaveUnsent takes an unreliable message off the bounded queue.
func (s *Set) leaveUnsent(m *outgoing) {
	if m.age.on != nil {
		m.age.remove()
		s.unsentCount -= m.messages()
		s.unsentBytes -= m.total
		if s.unsentCount <= unsentMessages/2 && s.unsentBytes <= unreliableQueueBytes/2 {
			s.NoWait()
		}
	}
}

func (s *Set) freeData(m *outgoing) {
	s.pool.recycle(m.data)
	m.data = nil
}

// signalWritable waits for a quarter of the buffer to be free, so that a full
// channel does not wake its senders for every message that is stored.
func (s *Set) signalWritable(ch *channel) {
	if ch.blocked && ch.buffered <= s.sendBuffer-s.sendBuffer/4 {
		ch.blocked, s.writableSignal = false, true
	}
	if s.crowded {
		s.crowded, s.writableSignal = false, true
	}
}

// retire forgets a settled message of which nothing more is to be said on the
// wire.
func (s *Set) retire(m *outgoing) {
	m.resend.remove()
	if m.started {
		m.stream.land(m)
	}
	if reliable(m.stream.mode) {
		s.unfinished--
	}
	s.pool.recycleOutgoing(m)
}

// report tells what became of a message, unless it has no name.
func (s *Set) report(id MessageID, f Fate) {
	if id != 0 {
		s.outcomes.Push(outcome{id, f})
	}
}
