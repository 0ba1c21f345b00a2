package recovery

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
)

const (
	ms        = time.Millisecond
	frameSize = 1200
)

// A rig is a State with one active path and a clock, driven like a script.
type rig struct {
	t   testing.TB
	s   State
	p   *Path
	now clock.Time
	r   Result
}

func newRig(t testing.TB) *rig {
	g := &rig{t: t, now: clock.Time(time.Hour)}
	g.s.Init(1)
	g.s.skip.pn = 1 << 60 // numbers are consecutive unless a test is about skipping
	g.p = g.newPath()
	g.s.Activate(g.p)
	return g
}

func (g *rig) newPath() *Path {
	p := new(Path)
	p.Init(congestion.CUBIC, DefaultMDS)
	return p
}

func (g *rig) after(d time.Duration) { g.now = g.now.Add(d) }

// send sends n frames on p and returns the number of the first.
func (g *rig) sendOn(p *Path, n int, size int, flags Flags) uint64 {
	first := g.s.NextPN()
	for range n {
		pn := g.s.NextPN()
		g.s.OnSent(g.now, p, pn, size, flags, []Ref{{Seq: pn}})
	}
	return first
}

func (g *rig) send(n int) uint64 { return g.sendOn(g.p, n, frameSize, AckEliciting) }

// ackOf encodes an acknowledgement as the peer would, newest range first.
func ackOf(t testing.TB, delay time.Duration, ranges ...wire.Range) wire.Ack {
	b := wire.AppendAck(nil, uint64(delay/time.Microsecond), ranges, 1<<16)
	var c wire.Chunk
	if rest, err := wire.ConsumeChunk(b, &c); err != nil || len(rest) != 0 {
		t.Fatalf("ack of %v: %v", ranges, err)
	}
	return c.Ack
}

// rangesOf groups numbers into ranges, newest first.
func rangesOf(pns ...uint64) []wire.Range {
	var out []wire.Range
	slices.Sort(pns)
	for _, pn := range slices.Backward(slices.Compact(pns)) {
		if n := len(out); n > 0 && out[n-1].Lo == pn+1 {
			out[n-1].Lo = pn
		} else {
			out = append(out, wire.Range{Lo: pn, Hi: pn})
		}
	}
	return out
}

func (g *rig) ack(pns ...uint64) {
	g.t.Helper()
	a := ackOf(g.t, 0, rangesOf(pns...)...)
	if err := g.s.OnAck(g.now, &a, MaxAckDelay, &g.r); err != nil {
		g.t.Fatalf("ack of %v: %v", pns, err)
	}
	g.check()
}

func (g *rig) timeout() (probe bool) {
	g.t.Helper()
	probe = g.s.OnTimeout(g.now, &g.r)
	g.check()
	return probe
}

func (g *rig) advanceToTimer() {
	g.t.Helper()
	d := g.s.Deadline()
	if d == clock.Never {
		g.t.Fatal("no timer runs")
	}
	g.now = max(g.now, d)
}

// check compares every sum with what it sums up.
func (g *rig) check() {
	g.t.Helper()
	bytes, frames := map[*Path]int{}, map[*Path]int{}
	var n, kept, skips int
	last := uint64(0)
	for i := g.s.log.head; i != none; i = g.s.log.slots[i].next {
		f := &g.s.log.slots[i]
		if f.PN < last {
			g.t.Fatal("the log is out of order")
		}
		last = f.PN
		switch f.state {
		case outstanding:
			n++
			bytes[f.Path] += f.Size
			frames[f.Path]++
			if !f.Path.listed {
				g.t.Fatalf("frame %d is outstanding on a path that is not listed", f.PN)
			}
		case skipped:
			skips++
		case lost, moved:
			kept++
		default:
			g.t.Fatalf("frame %d is in the log with fate %d", f.PN, f.state)
		}
	}
	if n != g.s.log.outstanding || kept != g.s.log.kept || skips != g.s.log.skipped {
		g.t.Fatalf("log counts %d outstanding, %d kept, %d skipped; has %d, %d, %d",
			g.s.log.outstanding, g.s.log.kept, g.s.log.skipped, n, kept, skips)
	}
	for _, p := range append(slices.Clone(g.s.paths), g.p) {
		if p.inFlight != bytes[p] || p.outstanding != frames[p] {
			g.t.Fatalf("path counts %d bytes, %d frames in flight; has %d, %d",
				p.inFlight, p.outstanding, bytes[p], frames[p])
		}
	}
}

func pnsOf(frames []*Sent) []uint64 {
	var out []uint64
	for _, f := range frames {
		if len(f.Refs) != 1 || f.Refs[0].Seq != f.PN {
			panic("a frame came back with the Refs of another")
		}
		out = append(out, f.PN)
	}
	return out
}

func (g *rig) wantAcked(why string, pns ...uint64) {
	g.t.Helper()
	if got := pnsOf(g.r.Acked); !slices.Equal(got, pns) {
		g.t.Fatalf("%s: acked %v, want %v", why, got, pns)
	}
}

func (g *rig) wantLost(why string, pns ...uint64) {
	g.t.Helper()
	if got := pnsOf(g.r.Lost); !slices.Equal(got, pns) {
		g.t.Fatalf("%s: lost %v, want %v", why, got, pns)
	}
}

func (g *rig) wantTimer(why string, at clock.Time) {
	g.t.Helper()
	if got := g.s.Deadline(); got != at {
		g.t.Fatalf("%s: timer in %v, want in %v", why, got.Sub(g.now), at.Sub(g.now))
	}
}

// measured gives the path an RTT, with one frame sent and acknowledged.
func (g *rig) measured(rtt time.Duration) *rig {
	pn := g.send(1)
	g.after(rtt)
	g.ack(pn)
	return g
}

func (g *rig) wantErrUnsent(why string, ranges ...wire.Range) {
	g.t.Helper()
	a := ackOf(g.t, 0, ranges...)
	if err := g.s.OnAck(g.now, &a, MaxAckDelay, &g.r); !errors.Is(err, ErrUnsent) {
		g.t.Fatalf("%s: got %v, want ErrUnsent", why, err)
	}
}
