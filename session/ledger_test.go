package session

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A ledger knows every message of a world: who sent it, what became of it at
// the sender, and where it arrived. It checks, as things happen, that what
// arrives was sent (V1), at most once (V2) and in order (V3), and that what was
// reported as stored or read is (V4).
type ledger struct {
	entries []*entry // by number
	ids     map[sent]*entry
	streams map[stream]*entry // the last one delivered
}

// sent names a message as its sender does.
type sent struct {
	session *Session
	id      MessageID
}

// stream is what keeps its order: at the receiver, one channel and mode.
type stream struct {
	to      *Session
	channel uint16
	mode    wire.Mode
}

// An entry is one message.
type entry struct {
	number  uint64
	from    *peer
	life    uint64 // incarnation of the sender
	by      *Session
	id      MessageID
	message Message // without its data
	size    int
	place   uint64 // number of the oldest message whose place in the queue it may have taken
	at      Time
	fates   []Fate
	arrived int
	to      *Session // that delivered it
	excused bool     // the receiver crashed, or the session ended: it need not arrive
}

func (l *ledger) init() {
	l.ids, l.streams = make(map[sent]*entry), make(map[stream]*entry)
}

// messageMin is the shortest message that carries its number.
const messageMin = 8

// content returns message number n of a size: its number, a mark, and words that
// follow from the number and from where they are.
func content(n uint64, size int) []byte {
	b := make([]byte, messageMin, size+24)
	binary.BigEndian.PutUint64(b, n)
	b = append(b, plaintextMark...)
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, (n<<32|uint64(len(b)))*0x9e3779b97f4a7c15)
	}
	return b[:size]
}

// post sends a message of size bytes, made from the template m, and enters it.
func (p *peer) post(s *Session, m Message, size int) (x *entry, err error) {
	p.change(func(now Time) { x, err = p.submit(now, s, m, size) })
	return x, err
}

// submit is post as a part of a larger change: it does not drain.
func (p *peer) submit(now Time, s *Session, m Message, size int) (*entry, error) {
	size = max(size, messageMin)
	x := &entry{
		number: uint64(len(p.ledger.entries)), from: p, life: p.incarnation, by: s, message: m, size: size, at: now,
	}
	x.place = x.number
	m.Data = content(x.number, size)
	id, err := s.Send(now, &m)
	if err != nil {
		return nil, err
	}
	x.id = id
	p.ledger.entries = append(p.ledger.entries, x)
	if id != 0 {
		p.ledger.ids[sent{s, id}] = x
	}
	return x, nil
}

// mustPost is post where the send buffer has room.
func (p *peer) mustPost(s *Session, m Message, size int) *entry {
	x, err := p.post(s, m, size)
	if err != nil {
		p.fatalf("%s: Send: %v", p.name, err)
	}
	return x
}

func (x *entry) String() string {
	return fmt.Sprintf("message %d of %s (channel %d, mode %d, %d bytes)", x.number, x.from.name, x.message.Channel, x.message.Mode, x.size)
}

// last returns the newest fate, 0 while there is none.
func (x *entry) last() Fate {
	if len(x.fates) == 0 {
		return 0
	}
	return x.fates[len(x.fates)-1]
}

// delivered is called when the application of p has taken a message.
func (l *ledger) delivered(p *peer, s *Session, r Received) *entry {
	x := l.find(r)
	switch {
	case x == nil:
		p.fatalf("%s took %d bytes on channel %d that nobody sent (V1)", p.name, len(r.Data), r.Channel)
	case s.Peer() != x.from.ep.ID() || r.Channel != x.message.Channel || r.Mode != x.message.Mode:
		p.fatalf("%s took %v from %v on channel %d in mode %d (V1)", p.name, x, s.Peer(), r.Channel, r.Mode)
	case x.arrived > 0:
		p.fatalf("%s took %v again (V2)", p.name, x)
	}
	x.arrived++
	x.to = s
	st := stream{s, r.Channel, r.Mode}
	if r.Mode == wire.Reliable || r.Mode == wire.Sequenced {
		if before := l.streams[st]; before != nil && before.place > x.number {
			p.fatalf("%s took %v after %v (V3)", p.name, x, before)
		}
	}
	l.streams[st] = x
	return x
}

// find returns the message that r is, if its content is right to the byte.
func (l *ledger) find(r Received) *entry {
	if len(r.Data) < messageMin {
		return nil
	}
	n := binary.BigEndian.Uint64(r.Data)
	if n >= uint64(len(l.entries)) {
		return nil
	}
	x := l.entries[n]
	if len(r.Data) != x.size || string(content(n, x.size)) != string(r.Data) {
		return nil
	}
	return x
}

// outcome is called when the sender is told what became of a message.
func (l *ledger) outcome(p *peer, e Event) {
	x := l.ids[sent{e.Session, e.Message}]
	if x == nil {
		p.fatalf("%s is told %v of message %d, which it did not send", p.name, e.Fate, e.Message)
	}
	allowed := e.Fate == Read && x.last() == Stored || x.last() == 0 && e.Fate != Read || e.Fate == Unknown && x.last() == Stored
	if !allowed || e.Fate == Stored && !x.message.Receipt {
		p.fatalf("%s is told %v of %v after %v", p.name, e.Fate, x, x.fates)
	}
	if e.Fate == Read && x.arrived == 0 && !p.hostile[e.Session.Peer()] {
		p.fatalf("%s is told that %v is read, and it is not (V4)", p.name, x)
	}
	x.fates = append(x.fates, e.Fate)
	if e.Fate == Superseded && x.message.Mode != wire.Reliable {
		l.successor(x).place = x.place
	}
}

// successor returns the message that took the place of x: the newest one with
// the same key.
func (l *ledger) successor(x *entry) *entry {
	for _, y := range slices.Backward(l.entries) {
		if y.by == x.by && y.message.Channel == x.message.Channel && y.message.Mode == x.message.Mode && y.message.Key == x.message.Key {
			return y
		}
	}
	return nil
}

// crashed is called when p loses its memory: its own messages are no longer
// spoken for, and those to it need not arrive.
func (l *ledger) crashed(p *peer) {
	for _, x := range l.entries {
		if x.from == p && x.life == p.incarnation || x.by.Peer() == p.ep.ID() {
			x.excused = true
		}
	}
}

// closed is called when a session has ended at p: what p sent must be resolved
// by then, and what was sent to p need not arrive any more.
func (l *ledger) closed(p *peer, s *Session) {
	for _, x := range l.entries {
		if x.by == s && x.last() == 0 && x.arrived == 0 && !x.excused {
			if x.mustReport() {
				p.fatalf("%s: the session ended and nothing was reported of %v (V5)", p.name, x)
			}
			x.excused = true
		}
		if x.by != s && x.by.ID() == s.ID() {
			x.excused = true
		}
	}
}

// mustReport tells of which messages the sender is always told the end: those
// that asked. Of the others it hears only if they fail, and one that is stored
// but not yet taken when the session ends has not failed.
func (x *entry) mustReport() bool { return x.message.Receipt }

// settled returns an error for the first message that is neither where it should
// be nor accounted for, once the world has had time to heal (V3, V4, V5).
func (l *ledger) settled() error {
	for _, x := range l.entries {
		kept := x.message.Mode == wire.Reliable || x.message.Mode == wire.Unordered
		switch {
		case x.excused:
		case x.last() == Stored && x.arrived == 0 && kept:
			return fmt.Errorf("%v is reported as stored, but never came out (V4)", x)
		case x.last() == 0 && x.message.Receipt:
			return fmt.Errorf("nothing was ever reported of %v (V5)", x)
		case x.last() == 0 && x.arrived == 0 && kept:
			return fmt.Errorf("%v is lost (V5)", x)
		}
	}
	return nil
}
