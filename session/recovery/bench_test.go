package recovery

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// cycle sends two frames, acknowledges the two of a window ago and, on the way
// back, hears the peer's and answers them.
type cycle struct {
	*rig
	acks Acks
	refs [3]Ref
	buf  []byte
}

const cycleWindow = 200

func newCycle(t testing.TB) *cycle {
	c := &cycle{rig: newRig(t), buf: make([]byte, 0, 1200)}
	for range cycleWindow / 2 {
		c.sendTwo()
	}
	for range 4 * cycleWindow {
		c.step()
	}
	return c
}

func (c *cycle) sendTwo() {
	for range 2 {
		c.s.OnSent(c.now, c.p, c.s.NextPN(), frameSize, AckEliciting, c.refs[:])
	}
}

func (c *cycle) step() {
	c.now = c.now.Add(100 * time.Microsecond)
	c.sendTwo()
	n := c.s.sent - cycleWindow
	c.acks.OnReceived(c.now, n-2, wire.NotECT, true, false)
	c.acks.OnReceived(c.now, n-1, wire.NotECT, true, false)
	c.buf = c.acks.Append(c.now, c.buf[:0], cap(c.buf))
	c.acks.OnAckAcked(n - min(n, cycleWindow))
	var chunk wire.Chunk
	if _, err := wire.ConsumeChunk(c.buf, &chunk); err != nil {
		c.t.Fatal(err)
	}
	if err := c.s.OnAck(c.now, &chunk.Ack, MaxAckDelay, &c.r); err != nil {
		c.t.Fatal(err)
	}
	c.s.CanSend(c.p, frameSize)
	c.s.PaceUntil(c.now, c.p, true)
	c.s.Deadline()
}

func TestSendingAndAcknowledgingAllocatesNothing(t *testing.T) {
	c := newCycle(t)
	if n := testing.AllocsPerRun(1000, c.step); n != 0 {
		t.Errorf("%v allocations for two frames", n)
	}
	if len(c.r.Acked) != 2 || c.s.Outstanding() != cycleWindow {
		t.Errorf("the cycle acknowledges %d frames and has %d outstanding", len(c.r.Acked), c.s.Outstanding())
	}
}

func BenchmarkSendAndAcknowledgeTwoFrames(b *testing.B) {
	c := newCycle(b)
	b.ReportAllocs()
	for b.Loop() {
		c.step()
	}
}
