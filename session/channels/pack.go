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
	packMax = 16 << 10
	// packShare is the part of a channel's first credit that a pack takes at most.
	packShare = 8
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
	if total > s.packLimit(st.mode) {
		return false
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
	limit := min(packMax, s.lengthMax, int(s.initialCredit/packShare))
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
// them. An error means that it is not a pack.
func (in *incoming) unpack() error {
	if in.total == 0 {
		return errPack
	}
	for in.scanned.off < in.total {
		_, end, ok, err := in.partAt(in.scanned)
		if err != nil || !ok {
			return err
		}
		in.scanned = end
		in.ready++
		in.unpackShort()
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

// partAt returns where the bytes of the message begin and end that stands at c with
// its length; or that it has not wholly arrived.
func (in *incoming) partAt(c cursor) (begin, end cursor, ok bool, err error) {
	if c, ok = in.settle(c); !ok {
		return c, c, false, nil
	}
	g := &in.segs[c.seg]
	n, rest, err := wire.ConsumeVarint(g.data[c.off-g.off:])
	if err == nil && n <= uint64(len(rest)) { // as it nearly always is
		begin = cursor{c.seg, g.end() - len(rest)}
		return begin, cursor{c.seg, begin.off + int(n)}, true, nil
	}
	if err != nil {
		if n, begin, ok, err = in.lengthAt(c); !ok {
			return c, c, false, err
		}
	} else {
		begin = cursor{c.seg, g.end() - len(rest)}
	}
	if n > uint64(in.total-begin.off) {
		return c, c, false, errPack
	}
	end, ok = in.advance(begin, int(n))
	return begin, end, ok, nil
}

// lengthAt returns the length at c, which is in more than one segment or is none, and
// where it ends; or that it has not wholly arrived.
func (in *incoming) lengthAt(c cursor) (n uint64, end cursor, ok bool, err error) {
	g := &in.segs[c.seg]
	size := 1 << (g.data[c.off-g.off] >> 6)
	if c.off+size > in.total {
		return 0, c, false, errPack
	}
	if end, ok = in.advance(c, size); !ok {
		return 0, c, false, nil
	}
	var b [8]byte
	in.copyFrom(c, b[:size])
	if n, _, err = wire.ConsumeVarint(b[:size]); err != nil {
		return 0, c, false, errPack
	}
	return n, end, true, nil
}

// settle moves a cursor that stands at the end of a segment to the next one, and
// reports whether there are bytes.
func (in *incoming) settle(c cursor) (cursor, bool) {
	for ; c.seg < len(in.segs); c.seg++ {
		if g := &in.segs[c.seg]; c.off < g.end() {
			return c, c.off >= g.off
		}
	}
	return c, false
}

// advance returns where the n bytes from c on end, or that they have not all arrived.
func (in *incoming) advance(c cursor, n int) (end cursor, ok bool) {
	for n > 0 {
		if c, ok = in.settle(c); !ok {
			return c, false
		}
		step := min(n, in.segs[c.seg].end()-c.off)
		c.off += step
		n -= step
	}
	return c, true
}

// copyFrom copies bytes that have arrived.
func (in *incoming) copyFrom(c cursor, b []byte) {
	for len(b) > 0 {
		c, _ = in.settle(c)
		g := &in.segs[c.seg]
		n := copy(b, g.data[c.off-g.off:])
		c.off += n
		b = b[n:]
	}
}

// next returns where the message is that the application takes next. There is one.
func (in *incoming) next() (begin, end cursor) {
	if !in.packed {
		return cursor{}, cursor{off: in.total}
	}
	begin, end, _, _ = in.partAt(in.taken)
	return begin, end
}
