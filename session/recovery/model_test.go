package recovery

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A modelFrame is what a naive observer remembers of a frame, for ever.
type modelFrame struct {
	path   *Path
	at     clock.Time
	given  bool // in Lost
	acked  bool // in Acked
	probed bool // an MTU probe
}

// model drives a State by a script of bytes over two paths, and watches it with
// maps and loops over everything.
type model struct {
	*rig
	paths  [2]*Path
	frames map[uint64]*modelFrame
	order  []uint64
}

func newModel(t testing.TB) *model {
	g := newRig(t)
	g.s.Init(3)
	g.s.Activate(g.p)
	return &model{rig: g, paths: [2]*Path{g.p, g.newPath()}, frames: map[uint64]*modelFrame{}}
}

func (m *model) run(script []byte) {
	for len(script) >= 2 {
		op, arg := script[0]%8, script[1]
		script = script[2:]
		switch op {
		case 0, 1, 2:
			m.sendSome(arg)
		case 3, 4:
			m.ackSome(arg, script)
		case 5:
			m.after(time.Duration(arg) * ms)
			m.s.OnTimeout(m.now, &m.r)
			m.observe(true, nil)
		case 6:
			p := m.paths[arg&1]
			m.s.Requeue(p, m.now, &m.r)
			m.observe(false, nil)
		case 7:
			p := m.paths[arg&1]
			m.p = p
			m.s.Activate(p)
		}
		m.check()
		m.after(time.Duration(arg) * time.Microsecond)
	}
}

func (m *model) sendSome(arg byte) {
	for range arg % 16 {
		pn := m.s.NextPN()
		flags := AckEliciting
		switch arg >> 6 {
		case 2:
			flags = 0
		case 3:
			flags |= MTUProbe
		}
		m.s.OnSent(m.now, m.p, pn, frameSize, flags, []Ref{{Seq: pn}})
		if flags&AckEliciting != 0 {
			m.frames[pn] = &modelFrame{path: m.p, at: m.now, probed: flags&MTUProbe != 0}
			m.order = append(m.order, pn)
		}
	}
}

// ackSome acknowledges frames sent, chosen by the bits of what follows.
func (m *model) ackSome(arg byte, bits []byte) {
	var pns []uint64
	for i, pn := range m.order[max(0, len(m.order)-64):] {
		if j := (int(arg) + i) / 8 % 4; j < len(bits) && bits[j]>>(i%8)&1 == 1 {
			pns = append(pns, pn)
		}
	}
	if len(pns) == 0 {
		return
	}
	ranges := rangesOf(pns...)
	if len(ranges) > wire.MaxAckRanges {
		m.t.Fatal("the script asks for too many ranges")
	}
	a := ackOf(m.t, time.Duration(arg)*ms, ranges...)
	if err := m.s.OnAck(m.now, &a, MaxAckDelay, &m.r); err != nil {
		m.t.Fatalf("ack of %v: %v", ranges, err)
	}
	m.observe(true, pns)
}

// observe checks what the last call decided. byLoss says that frames may be
// given up only because a later one of their path has arrived.
func (m *model) observe(byLoss bool, pns []uint64) {
	named := map[uint64]bool{}
	for _, pn := range pns {
		named[pn] = true
	}
	for _, pn := range pnsOf(m.r.Acked) {
		f := m.frames[pn]
		if f == nil || f.acked || !named[pn] {
			m.t.Fatalf("frame %d is reported as arrived: %+v", pn, f)
		}
		f.acked = true
	}
	for pn := range named {
		if f := m.frames[pn]; !f.acked && !f.given {
			m.t.Fatalf("frame %d has arrived and is not reported", pn)
		}
	}
	for _, pn := range pnsOf(m.r.Lost) {
		f := m.frames[pn]
		if f == nil || f.acked || f.given {
			m.t.Fatalf("frame %d is reported as lost: %+v", pn, f)
		}
		f.given = true
		if byLoss {
			m.wantOvertaken(pn, f)
		}
	}
}

// wantOvertaken demands the least of RFC 9002 §6.1: a later frame of the same
// path has arrived, and the lost one is behind by number or by time.
func (m *model) wantOvertaken(pn uint64, f *modelFrame) {
	later, behind := false, 0
	for _, n := range m.order {
		if g := m.frames[n]; n > pn && g.path == f.path {
			behind++
			if g.acked && behind >= packetThreshold {
				return
			}
			later = later || g.acked
		}
	}
	if !later || m.now.Sub(f.at) < granularity {
		m.t.Fatalf("frame %d was given up after %v, overtaken: %v", pn, m.now.Sub(f.at), later)
	}
}

func TestStateAgreesWithANaiveObserver(t *testing.T) {
	const seeds, steps = 300, 400
	for seed := range uint64(seeds) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			script := make([]byte, 2*steps)
			for i := range script {
				script[i] = byte(rng.Uint32())
			}
			newModel(t).run(script)
		}) {
			t.Fatalf("replay: go test ./session/recovery -run 'TestStateAgreesWithANaiveObserver/^%d$'", seed)
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte("\x00\x08\x05\x20\x03\x00\xf0\xff\x00\x05\x06\x00\x03\x01\xff\xff"))
	f.Add([]byte("\x00\x0f\x07\x01\x00\x0f\x03\x00\xaa\xaa\x05\xff\x03\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, script []byte) { newModel(t).run(script[:min(len(script), 4000)]) })
}

// FuzzOnAck hands over whatever decodes: nothing may panic, and no sum go wrong.
func FuzzOnAck(f *testing.F) {
	f.Add(wire.AppendAck(nil, 0, []wire.Range{{Lo: 0, Hi: 9}}, 100))
	f.Add(wire.AppendAck(nil, 1<<29, []wire.Range{{Lo: 8, Hi: 9}, {Lo: 3, Hi: 5}, {Lo: 0, Hi: 0}}, 100))
	f.Add(wire.AppendAck(nil, 0, []wire.Range{{Lo: 0, Hi: wire.MaxVarint}}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newRig(t)
		g.send(50)
		g.after(30 * ms)
		var c wire.Chunk
		for len(b) > 0 {
			rest, err := wire.ConsumeChunk(b, &c)
			if err != nil {
				return
			}
			b = rest
			if c.Type != wire.TypeAck {
				continue
			}
			if err := g.s.OnAck(g.now, &c.Ack, MaxAckDelay, &g.r); err != nil {
				return
			}
			g.check()
			g.after(7 * ms)
		}
	})
}
