package channels

import (
	"cmp"
	"slices"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// An outgoing is a message that we send, from Send until nothing more is to be
// said about it on the wire.
type outgoing struct {
	id       MessageID // 0 once its fate is settled
	stream   *outStream
	data     []byte // until it is settled or, if unreliable, sent
	total    int
	key      uint64
	deadline clock.Time
	due      int // place in Set.due, -1 if it has no deadline to wait for
	receipt  bool
	parts    int // how many messages it is, of which nothing is reported; 0 if it is one with a name

	started bool // it has a number
	skipped bool // withdrawn after it started: only its SKIP matters
	seq     uint64
	sent    int   // the bytes below have been sent at least once
	acked   spans // of these
	lost    spans // to be sent again

	// Of copies of the whole message; see repeat.go.
	copy     uint16     // number of the newest
	sentAt   clock.Time // when it was sent
	repeated int        // how often it rode along
	probed   bool       // it was sent again for being the last

	queued node[outgoing] // in the queue of its stream, while not wholly sent
	resend node[outgoing] // in the resend list of its stream, or in Set.skips
	age    node[outgoing] // in Set.unsent
	recent node[outgoing] // in Set.flying
}

func (m *outgoing) before(o *outgoing) bool {
	if m.deadline != o.deadline {
		return m.deadline < o.deadline
	}
	return m.id < o.id
}

func (m *outgoing) place() *int { return &m.due }

// cost is what the message takes of the send buffer.
func (m *outgoing) cost() int { return m.total + MessageOverhead }

// wholly reports whether every byte has been sent.
func (m *outgoing) wholly() bool { return m.started && m.sent == m.total }

// reset makes the record fit for another message; it keeps a little room of
// its span sets.
func (m *outgoing) reset() {
	*m = outgoing{
		due: -1, acked: m.acked.emptied(), lost: m.lost.emptied(),
		queued: node[outgoing]{item: m}, resend: node[outgoing]{item: m}, age: node[outgoing]{item: m}, recent: node[outgoing]{item: m},
	}
}

// An outStream is the messages of one channel and mode that we send.
type outStream struct {
	channel *channel
	mode    wire.Mode
	queue   list[outgoing] // not wholly sent; only the first can be partly sent
	resend  list[outgoing] // with bytes to be sent again
	served  uint64         // bytes sent, to share the channel among its streams
	keys    map[uint64]*outgoing

	// Numbered messages not yet retired, by number modulo len(flight).
	flight []*outgoing
	base   uint64 // every message below is retired
	next   uint64 // number of the next message to start
}

// find returns the message with a number, or nil if it is retired.
func (st *outStream) find(seq uint64) *outgoing {
	if seq < st.base || seq >= st.next {
		return nil
	}
	return st.flight[seq&uint64(len(st.flight)-1)]
}

// full reports whether no message can start until the oldest is retired.
func (st *outStream) full() bool { return st.next-st.base >= NumberWindow }

// start numbers a message.
func (st *outStream) start(m *outgoing) {
	if st.next-st.base == uint64(len(st.flight)) {
		st.grow()
	}
	m.started, m.seq = true, st.next
	st.flight[m.seq&uint64(len(st.flight)-1)] = m
	st.next++
}

func (st *outStream) grow() {
	flight := make([]*outgoing, max(8, 2*len(st.flight)))
	for seq := st.base; seq < st.next; seq++ {
		flight[seq&uint64(len(flight)-1)] = st.find(seq)
	}
	st.flight = flight
}

// land forgets a numbered message.
func (st *outStream) land(m *outgoing) {
	mask := uint64(len(st.flight) - 1)
	st.flight[m.seq&mask] = nil
	for st.base < st.next && st.flight[st.base&mask] == nil {
		st.base++
	}
}

// each calls f for every numbered message in order of number.
func (st *outStream) each(f func(*outgoing)) {
	for seq := st.base; seq < st.next; seq++ {
		if m := st.find(seq); m != nil {
			f(m)
		}
	}
}

// idSlotBits is how many low bits of a MessageID say where the message is; the
// rest counts messages, so that IDs ascend and are not used twice.
const idSlotBits = 24

// An idTable finds unresolved messages by ID.
type idTable struct {
	slots  []*outgoing
	free   []uint32
	serial uint64
}

func (t *idTable) full() bool { return len(t.free) == 0 && len(t.slots) == 1<<idSlotBits }

func (t *idTable) add(m *outgoing) {
	var slot uint32
	if n := len(t.free); n > 0 {
		slot = t.free[n-1]
		t.free = t.free[:n-1]
		t.slots[slot] = m
	} else {
		slot = uint32(len(t.slots))
		t.slots = append(t.slots, m)
	}
	t.serial++
	m.id = MessageID(t.serial<<idSlotBits | uint64(slot))
}

func (t *idTable) find(id MessageID) *outgoing {
	slot := int(id & (1<<idSlotBits - 1))
	if id == 0 || slot >= len(t.slots) || t.slots[slot] == nil || t.slots[slot].id != id {
		return nil
	}
	return t.slots[slot]
}

// remove forgets the ID of m.
func (t *idTable) remove(m *outgoing) {
	slot := uint32(m.id & (1<<idSlotBits - 1))
	t.slots[slot] = nil
	t.free = append(t.free, slot)
	m.id = 0
}

// inOrder returns all messages in the order in which they were added.
func (t *idTable) inOrder() []*outgoing {
	var all []*outgoing
	for _, m := range t.slots {
		if m != nil {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *outgoing) int { return cmp.Compare(a.id, b.id) })
	return all
}
