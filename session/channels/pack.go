package channels

import "github.com/seed-67dce94e/holdfast/wire"

// Small messages that wait one behind the other need not each have a number, an
// acknowledgement and a record on both sides, which cost more than their bytes.
// Those of which nobody wants to know the fate join the last one in their queue: a
// pack is one message to all of this package but Send and Recv.
//
// The messages at the front of a pack can be taken before all of it has come. But what
// is lost holds up those behind it, or is the end of a pack of unreliable ones; so but
// for those that are to come in order a pack is no longer than a frame.
const (
	// packMax is the longest pack. Longer ones would gain nothing, and the
	// receiver frees the credit of one at its end.
	packMax = 32 << 10
	// packShare is the part of a channel's first credit, and of its send buffer, that a
	// pack takes at most: both are free again only once all of it has come.
	packShare = 8
	// packParts is how many messages a pack of unreliable ones has at most: where too
	// many wait, the oldest is pushed out.
	packParts = unsentMessages / 8
	// frameOverhead is what a frame, an acknowledgement in it and the header of a
	// chunk usually take of a datagram.
	frameOverhead = 96
)

// join adds m to the last message in the queue, if both may be parts of a pack, and
// reports whether it did.
func (s *Set) join(st *outStream, m *Message) bool {
	last := st.queue.last()
	if last == nil || last.parts == 0 || last.started || st.channel.options.LowLatency {
		return false
	}
	total := last.total
	if last.parts == 1 {
		total = wire.PackedLen(total)
	}
	total += wire.PackedLen(len(m.Data))
	if total > s.packLimit(st.mode) || !reliable(st.mode) && last.parts == packParts {
		return false
	}
	if reliable(st.mode) && s.unfinished <= sparse && last.total <= ShortMessage && total > ShortMessage {
		return false // what is short rides along again: see repeat.go
	}
	grown := total - last.total
	s.pack(last, m.Data, total)
	if reliable(st.mode) {
		s.buffered += grown
		st.channel.buffered += grown
		if st.channel.limit-st.channel.used < fragmentMin+MessageOverhead {
			s.schedule(st.channel) // it may need more credit than before to begin
		}
	} else {
		s.unsentBytes += grown
		s.unsentCount++
	}
	return true
}

// packLimit is the longest pack of a mode.
func (s *Set) packLimit(mode wire.Mode) int {
	limit := min(packMax, s.lengthMax, int(s.initialCredit/packShare), s.sendBuffer/packShare)
	switch mode {
	case wire.Reliable:
		return limit
	case wire.Sequenced: // each takes the place of the one before
		return 0
	}
	return min(limit, s.frame)
}

// pack adds data to p, which then has the given length.
func (s *Set) pack(p *outgoing, data []byte, total int) {
	if p.parts == 1 || total > cap(p.data) {
		b := s.pool.buffer(max(total, 2*cap(p.data)))
		if p.parts == 1 {
			b = wire.AppendPacked(b, p.data)
		} else {
			b = append(b, p.data...)
		}
		s.pool.recycle(p.data)
		p.data = b
	}
	p.data = wire.AppendPacked(p.data, data)
	p.total = total
	p.parts++
}

// packed reports whether the data of m are a pack.
func (m *outgoing) packed() bool { return m.parts > 1 }

// name is what the application knows m by, or 0.
func (m *outgoing) name() MessageID {
	if m.parts > 0 {
		return 0
	}
	return m.id
}

// messages is how many of the application's messages m is.
func (m *outgoing) messages() int { return max(m.parts, 1) }

// A cursor is a place among the segments of an incoming pack.
type cursor struct {
	seg int // the segment that holds it, or will
	off int // how many bytes of the pack are before it
}

// unpack counts the messages of a pack that have wholly arrived, with all before
// them. An error means that it is not a pack. Cursors only move forwards, so that many
// pieces cost little each.
func (in *incoming) unpack() error {
	if in.total == 0 {
		return errPack
	}
	in.moveFront()
	for in.scanned.off < in.total && in.front.off >= in.needed {
		_, end, needed, err := in.partAt(in.scanned)
		if err != nil {
			return err
		}
		in.needed = needed
		if needed > in.front.off {
			return nil
		}
		in.scanned = end
		in.ready++
		in.unpackShort()
		in.needed = in.scanned.off + 1
	}
	return nil
}

// unpackShort counts on, for as long as the messages are short and in one segment.
func (in *incoming) unpackShort() {
	g := &in.segs[in.scanned.seg]
	at := in.scanned.off - g.off
	for at < len(g.data) {
		n := int(g.data[at])
		if n >= 1<<6 || n >= len(g.data)-at {
			break
		}
		at += 1 + n
		in.ready++
	}
	in.scanned.off = g.off + at
}

// moveFront moves the front to the first byte that is missing.
func (in *incoming) moveFront() {
	c := &in.front
	for c.seg < len(in.segs) && in.segs[c.seg].off <= c.off {
		c.off = in.segs[c.seg].end()
		if c.seg+1 == len(in.segs) || in.segs[c.seg+1].off != c.off {
			return
		}
		c.seg++
	}
}

// partAt returns where the bytes of the message begin and end that stands at c with its
// length. If it has not wholly arrived, needed is beyond the front: how far that must
// have come before more is known.
func (in *incoming) partAt(c cursor) (begin, end cursor, needed int, err error) {
	if c.off == in.front.off {
		return c, c, c.off + 1, nil
	}
	c = in.settle(c)
	g := &in.segs[c.seg]
	b := g.data[c.off-g.off:]
	n, rest, err := wire.ConsumeVarint(b)
	if err == nil {
		begin = cursor{c.seg, g.end() - len(rest)}
	} else { // it is in two segments, or wrong
		size := 1 << (b[0] >> 6)
		switch {
		case c.off+size > in.total:
			return c, c, 0, errPack
		case c.off+size > in.front.off:
			return c, c, c.off + size, nil
		}
		var whole [8]byte
		begin = in.copyFrom(c, whole[:size])
		if n, _, err = wire.ConsumeVarint(whole[:size]); err != nil {
			return c, c, 0, errPack
		}
	}
	if n > uint64(in.total-begin.off) {
		return c, c, 0, errPack
	}
	end = cursor{begin.seg, begin.off + int(n)}
	if end.off <= in.front.off {
		end = in.settle(end)
	}
	return begin, end, end.off, nil
}

// settle moves a cursor, which is in front of the front or at it, to the segment with
// the byte that it stands at; or to the last one before the front.
func (in *incoming) settle(c cursor) cursor {
	for c.seg < in.front.seg && c.off >= in.segs[c.seg].end() {
		c.seg++
	}
	return c
}

// copyFrom copies bytes that have arrived, and returns where they end.
func (in *incoming) copyFrom(c cursor, b []byte) cursor {
	for len(b) > 0 {
		g := &in.segs[c.seg]
		n := copy(b, g.data[c.off-g.off:])
		c.off += n
		if b = b[n:]; c.off == g.end() && len(b) > 0 {
			c.seg++
		}
	}
	return c
}

// next returns where the message is that the application takes next. There is one.
func (in *incoming) next() (begin, end cursor) {
	if !in.packed {
		return cursor{}, cursor{off: in.total}
	}
	begin, end, _, _ = in.partAt(in.taken)
	return begin, end
}
