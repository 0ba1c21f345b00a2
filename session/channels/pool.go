package channels

import "math/bits"

// Buffers come in powers of two. Longer ones are rare and are left to the
// garbage collector.
const (
	bufferShiftMin = 6
	bufferShiftMax = 16
	bufferMax      = 1 << bufferShiftMax
	poolBytesMax   = 4 << 20
	poolRecordsMax = 4096
	poolSetsMax    = 64 // and channels: they are large
)

// A Pool keeps buffers and records for reuse. It is not safe for concurrent
// use: it belongs to one shard.
type Pool struct {
	buffers  [bufferShiftMax - bufferShiftMin + 1][][]byte
	bytes    int // capacity of all free buffers
	outgoing []*outgoing
	incoming []*incoming
	sets     []*Set
	channels []*channel
}

// NewPool returns an empty pool.
func NewPool() *Pool { return &Pool{} }

// buffer returns an empty buffer with room for n bytes; for 0 it is nil.
func (p *Pool) buffer(n int) []byte {
	if n == 0 {
		return nil
	}
	if n > bufferMax {
		return make([]byte, 0, n)
	}
	class := max(bits.Len(uint(n-1)), bufferShiftMin) - bufferShiftMin
	free := p.buffers[class]
	if len(free) == 0 {
		return make([]byte, 0, 1<<(class+bufferShiftMin))
	}
	b := free[len(free)-1]
	free[len(free)-1] = nil
	p.buffers[class] = free[:len(free)-1]
	p.bytes -= cap(b)
	return b[:0]
}

// recycle takes back a buffer that buffer returned.
func (p *Pool) recycle(b []byte) {
	n := cap(b)
	if n == 0 || n > bufferMax || p.bytes+n > poolBytesMax {
		return
	}
	class := bits.Len(uint(n-1)) - bufferShiftMin
	p.buffers[class] = append(p.buffers[class], b)
	p.bytes += n
}

// last takes the last of a list of records, or returns nil if there is none.
func last[T any](list *[]*T) *T {
	n := len(*list)
	if n == 0 {
		return nil
	}
	x := (*list)[n-1]
	(*list)[n-1] = nil
	*list = (*list)[:n-1]
	return x
}

func (p *Pool) newOutgoing() *outgoing {
	if m := last(&p.outgoing); m != nil {
		return m
	}
	m := &outgoing{due: -1}
	m.queued.item, m.resend.item, m.age.item, m.recent.item = m, m, m, m
	return m
}

// recycleOutgoing takes back a record that is in no list and no heap.
func (p *Pool) recycleOutgoing(m *outgoing) {
	if len(p.outgoing) >= poolRecordsMax {
		return
	}
	m.reset()
	p.outgoing = append(p.outgoing, m)
}

func (p *Pool) newIncoming() *incoming {
	if in := last(&p.incoming); in != nil {
		return in
	}
	in := &incoming{}
	in.unread.item, in.age.item = in, in
	return in
}

// recycleIncoming takes back a record that is in no list, and its buffers.
func (p *Pool) recycleIncoming(in *incoming) {
	for i := range in.segs {
		p.recycle(in.segs[i].data)
	}
	if len(p.incoming) >= poolRecordsMax {
		return
	}
	in.reset()
	p.incoming = append(p.incoming, in)
}

func (p *Pool) newSet() *Set {
	if s := last(&p.sets); s != nil {
		return s
	}
	return &Set{byID: make(map[uint16]*channel)}
}

// recycleSet takes back a Set at rest, and its channels.
func (p *Pool) recycleSet(s *Set) {
	for _, ch := range s.channels {
		if len(p.channels) < poolSetsMax {
			ch.reset()
			p.channels = append(p.channels, ch)
		}
	}
	if len(p.sets) < poolSetsMax {
		s.reset()
		p.sets = append(p.sets, s)
	}
}

func (p *Pool) newChannel() *channel {
	if ch := last(&p.channels); ch != nil {
		return ch
	}
	return newChannel()
}
