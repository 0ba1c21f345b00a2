package recovery

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/congestion"
)

// Flags say how a sent frame is treated.
type Flags uint16

// Flags of a sent frame.
const (
	// AckEliciting says that the peer must acknowledge the frame. Such frames
	// are in flight until they are acknowledged or lost. All others are
	// forgotten at once: nobody would ever acknowledge them for their own sake.
	AckEliciting Flags = 1 << iota
	// MTUProbe marks a probe of path MTU discovery, whose loss is no sign of
	// congestion (RFC 8899 §3).
	MTUProbe
	// Copied marks a frame that went out on another path too. Its
	// acknowledgement says that it arrived, and nothing about either path.
	Copied
	// Urgent marks a frame that was sent although the congestion window was full.
	Urgent
	// ECT0 marks a frame whose datagram is marked as ECN-capable.
	ECT0

	afterSample // sent when the RTT of the path was already known
	together    // left in one system call with others
	alone       // left on its own, although others could have left with it
	lossCounted // in a tally of these
)

// Sent is a frame that was sent.
type Sent struct {
	PN    uint64
	At    clock.Time
	Path  *Path
	Refs  []Ref // what it carried
	Size  int   // of the datagram, in bytes
	Flags Flags

	state   fate
	episode uint32 // of Path when the frame was lost
	ordinal uint64 // counts the frames of Path
	stamp   congestion.Stamp

	next, prev int32 // in the log; next is also the chain of free slots
}

// A fate is what is known of a sent frame.
type fate uint8

const (
	outstanding fate = iota
	acked            // arrived
	late             // arrived after it was given up
	lost             // given up by loss detection
	moved            // given up because its path is gone
	skipped          // never sent: nobody can have received it
)

const none = -1 // no slot

// A log holds frames in the order of their numbers: those outstanding, and a
// bounded number of others whose acknowledgement would still mean something.
// It is a list threaded through a slice, so that it costs nothing to forget a
// frame in the middle, and that a frame which stays for long holds up no other.
type log struct {
	slots       []Sent
	head, tail  int32
	free        int32
	outstanding int
	kept        int // lost or moved
	skipped     int
}

func newLog() *log { return &log{head: none, tail: none, free: none} }

// push adds a slot for the newest number. Its Refs are empty but have capacity.
func (l *log) push() *Sent {
	if l.free == none {
		l.grow()
	}
	i := l.free
	f := &l.slots[i]
	l.free = f.next
	*f = Sent{Refs: f.Refs[:0], next: none, prev: l.tail}
	if l.tail == none {
		l.head = i
	} else {
		l.slots[l.tail].next = i
	}
	l.tail = i
	return f
}

// grow doubles the slots. Each has room for the one Ref that most frames have, in the
// order of the slots: they are read in turn.
func (l *log) grow() {
	n := len(l.slots)
	slots := make([]Sent, max(2*n, 1))
	copy(slots, l.slots)
	l.slots = slots
	refs := make([]Ref, len(slots)-n)
	for i := range refs {
		l.slots[n+i] = Sent{Refs: refs[i : i : i+1], next: int32(n + i + 1)}
	}
	l.slots[len(slots)-1].next = none
	l.free = int32(n)
}

// remove frees the slot. Its content stays until the next push.
func (l *log) remove(i int32) {
	f := &l.slots[i]
	if f.prev == none {
		l.head = f.next
	} else {
		l.slots[f.prev].next = f.next
	}
	if f.next == none {
		l.tail = f.prev
	} else {
		l.slots[f.next].prev = f.prev
	}
	f.next = l.free
	l.free = i
}
