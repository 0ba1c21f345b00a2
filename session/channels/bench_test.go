package channels

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A cycle sends messages through a pair, acknowledges and reads them, reusing
// everything.
type cycle struct {
	a, b   *Set
	m      Message
	count  int // messages at a time
	buf    []byte
	refs   []recovery.Ref
	into   []byte
	chunk  wire.Chunk
	failed error
}

func newCycle(m Message, count int) *cycle {
	a, b := plainPair(Config{})
	return &cycle{a: a, b: b, m: m, count: count, buf: make([]byte, 0, 1500), into: make([]byte, len(m.Data))}
}

func (c *cycle) run() {
	for range c.count {
		if _, err := c.a.Send(1, &c.m); err != nil {
			c.failed = err
		}
	}
	for c.a.Pending() || c.b.Pending() {
		c.carry(c.a, c.b)
		c.carry(c.b, c.a)
	}
	for {
		if _, _, ok := c.a.NextOutcome(); !ok {
			return
		}
	}
}

func (c *cycle) carry(from, to *Set) {
	c.buf, c.refs = from.Append(1, c.buf[:0], 1200, c.refs[:0])
	for rest := c.buf; len(rest) > 0; {
		var err error
		if rest, err = wire.ConsumeChunk(rest, &c.chunk); err == nil {
			err = handleChunk(to, 1, &c.chunk)
		}
		if err != nil {
			c.failed = err
			return
		}
	}
	for i := range c.refs {
		from.OnAcked(1, &c.refs[i])
	}
	for {
		ch, ok := to.NextReadable()
		if !ok {
			return
		}
		for ok {
			_, _, ok, _ = to.RecvInto(1, ch, c.into)
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for mode := wire.Reliable; mode <= wire.Sequenced; mode++ {
		for _, n := range []int{0, 64, 5000} {
			c := newCycle(Message{Mode: mode, Data: body(1, n), Receipt: true, Key: 1, Deadline: 1 << 60}, 1)
			for range 1000 {
				c.run()
			}
			if allocs := testing.AllocsPerRun(1000, c.run); allocs != 0 || c.failed != nil {
				t.Errorf("%v, %d bytes: %v allocations, %v", mode, n, allocs, c.failed)
			}
		}
		c := newCycle(Message{Mode: mode, Data: body(1, 64), Plain: true}, 100)
		for range 100 {
			c.run()
		}
		if allocs := testing.AllocsPerRun(100, c.run); allocs != 0 || c.failed != nil {
			t.Errorf("%v, a hundred plain messages: %v allocations, %v", mode, allocs, c.failed)
		}
	}
}

func benchmarkCycle(b *testing.B, m Message, count int) {
	c := newCycle(m, count)
	b.SetBytes(int64(len(m.Data)))
	b.ReportAllocs()
	for i := 0; i < b.N; i += count {
		c.run()
	}
	if c.failed != nil {
		b.Fatal(c.failed)
	}
}

// Each of these is one message from Send to RecvInto and its acknowledgement.
func BenchmarkSmallReliable(b *testing.B) {
	benchmarkCycle(b, Message{Data: body(1, 64), Plain: true}, 64)
}

func BenchmarkSmallNamed(b *testing.B) { benchmarkCycle(b, Message{Data: body(1, 64)}, 64) }

func BenchmarkSmallUnreliable(b *testing.B) {
	benchmarkCycle(b, Message{Mode: wire.Unreliable, Data: body(1, 64), Plain: true}, 64)
}

func BenchmarkLongReliable(b *testing.B) { benchmarkCycle(b, Message{Data: body(1, 64<<10)}, 4) }
