package channels

import (
	"bytes"
	"slices"

	"github.com/seed-67dce94e/holdfast/wire"
)

// An incoming is a message that we receive, from its first chunk until the
// application takes it.
type incoming struct {
	channel *channel
	mode    wire.Mode
	seq     uint64
	total   int
	have    int // bytes of it that have arrived
	receipt bool
	skipped bool      // the sender gave it up
	packed  bool      // it is several messages: see pack.go
	front   cursor    // if so: at the first byte that is missing
	scanned cursor    // behind the messages that have wholly arrived
	needed  int       // how far the front must come before there is another
	taken   cursor    // behind those that the application has taken
	ready   int       // how many messages it can take
	segs    []segment // ascending, not overlapping; memory follows what has arrived, never total

	unread node[incoming] // in channel.unread
	age    node[incoming] // in Set.partials, or in Set.unread once complete
}

// A segment is bytes of a message that follow one another.
type segment struct {
	off  int
	data []byte
}

func (g *segment) end() int { return g.off + len(g.data) }

func (in *incoming) complete() bool { return in.have == in.total && !in.skipped }

// cost is what a complete message takes of the credit.
func (in *incoming) cost() uint64 { return uint64(in.total) + MessageOverhead }

// reset makes the record fit for another message; it keeps a little room for
// segments.
func (in *incoming) reset() {
	const segmentsKept = 64
	clear(in.segs)
	segs := in.segs[:0]
	if cap(segs) > segmentsKept {
		segs = nil
	}
	*in = incoming{segs: segs, unread: node[incoming]{item: in}, age: node[incoming]{item: in}}
}

// from returns the index of the first segment that ends after off.
func (in *incoming) from(off int) int {
	if n := len(in.segs); n == 0 || in.segs[n-1].end() <= off {
		return n // the usual case: in order
	}
	i, _ := slices.BinarySearchFunc(in.segs, off+1, func(g segment, at int) int { return g.end() - at })
	return i
}

// check returns how many bytes of a fragment are new. The fragment must agree
// with what has arrived; its sender has only one set of bytes to send.
func (in *incoming) check(m *wire.Message) (fresh int, err error) {
	if m.Total != uint64(in.total) {
		return 0, errTotal
	}
	lo := int(m.Offset)
	hi := lo + len(m.Data)
	fresh = len(m.Data)
	for i := in.from(lo); i < len(in.segs) && in.segs[i].off < hi; i++ {
		g := &in.segs[i]
		a, b := max(lo, g.off), min(hi, g.end())
		if !bytes.Equal(m.Data[a-lo:b-lo], g.data[a-g.off:b-g.off]) {
			return 0, errOverlap
		}
		fresh -= b - a
	}
	return fresh, nil
}

// insert adds the bytes of a checked fragment that are new.
func (in *incoming) insert(p *Pool, off int, data []byte) error {
	for i := in.from(off); len(data) > 0; i++ {
		gap := len(data)
		if i < len(in.segs) {
			gap = max(0, min(gap, in.segs[i].off-off))
		}
		if gap > 0 {
			i = in.fill(p, i, off, data[:gap])
			off, data = off+gap, data[gap:]
		}
		if i < len(in.segs) && len(data) > 0 {
			known := min(in.segs[i].end()-off, len(data))
			off, data = off+known, data[known:]
		}
	}
	if len(in.segs) > min(4+in.have/segmentMin, segmentsMax) {
		return errFragments
	}
	return nil
}

// fill puts bytes that are all new before the segment at index i, and returns
// the index of that segment afterwards.
func (in *incoming) fill(p *Pool, i, off int, data []byte) int {
	in.have += len(data)
	size := len(data)
	if i > 0 && in.segs[i-1].end() == off {
		last := &in.segs[i-1]
		n := min(len(data), cap(last.data)-len(last.data))
		last.data = append(last.data, data[:n]...)
		off, data = off+n, data[n:]
		size = in.roomAfter(i-1, len(data))
	}
	if len(data) == 0 {
		return i
	}
	in.segs = slices.Insert(in.segs, i, segment{off, append(p.buffer(size), data...)})
	return i + 1
}

// roomAfter is how much room to make for n bytes and what may follow them when
// they continue segment i: twice as much each time, so that a long message
// needs few segments and never much more memory than has arrived.
func (in *incoming) roomAfter(i, n int) int {
	end := in.total
	if i+1 < len(in.segs) {
		end = in.segs[i+1].off
	}
	return max(n, min(2*len(in.segs[i].data), bufferMax, end-in.segs[i].end()))
}

// detach returns the bytes of a complete message for the application to keep.
func (in *incoming) detach() []byte {
	if len(in.segs) == 1 {
		data := in.segs[0].data
		in.segs[0].data = nil
		return data[:len(data):len(data)]
	}
	b := make([]byte, in.total)
	in.copyFrom(cursor{}, b)
	return b
}
