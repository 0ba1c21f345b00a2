package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Small messages fill datagrams, and datagrams of one size fill a batch: else each
// would cost a system call. What that wastes is little.
func TestSmallMessagesFillBatches(t *testing.T) {
	for _, m := range []Message{{}, {Plain: true}, {Plain: true, Mode: wire.Unreliable}} {
		for _, size := range []int{20, 64, 100, 333} {
			m.Channel, m.Data = 1, make([]byte, size)
			testBatches(t, m)
		}
	}
}

func testBatches(t *testing.T, m Message) {
	d := newDuo(t, 1452)
	for range 20 {
		d.pass(&m, 200) // opens the window
	}
	src := &d.ends[0]
	sent := 0
	for ; sent < 100; sent++ {
		if _, err := src.s.Send(d.now, &m); err != nil {
			t.Fatal(err)
		}
	}
	batches, bytes := 0, 0
	for out, ok := src.e.NextDatagram(d.now, d.buf); ok; out, ok = src.e.NextDatagram(d.now, d.buf) {
		batches++
		bytes += len(out.Data)
	}
	if batches > 2 {
		t.Errorf("%d %v messages of %d bytes, plain %v, leave in %d batches", sent, m.Mode, len(m.Data), m.Plain, batches)
	}
	if most := sent*(len(m.Data)+12)*21/20 + 1452; bytes > most {
		t.Errorf("%d %v messages of %d bytes, plain %v, take %d bytes, want at most %d", sent, m.Mode, len(m.Data), m.Plain, bytes, most)
	}
}

// Messages of a burst wait for others, but nothing else waits for them.
func TestHeldMessagesWaitForOthers(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.quieten()
	until := sc.now.Add(time.Millisecond)
	sc.change(func(Time) { sc.s.Hold(until) })
	sc.send(100)
	sc.write(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{1}))
	for _, f := range sc.take() {
		if f.has(wire.TypeMessage) {
			t.Errorf("held, but sent: %v", f)
		}
	}
	sc.send(100)
	sc.advance(time.Millisecond)
	if f := sc.wantChunk("the burst", wire.TypeMessage); f.at != until || len(f.chunks) != 2 {
		t.Errorf("%v, want both messages at %v", f, until)
	}
	sc.change(func(now Time) { sc.s.Hold(now.Add(time.Hour)) })
	sc.send(100)
	sc.take()
	sc.change(func(Time) { sc.s.Hold(0) })
	sc.wantChunk("what is held no longer", wire.TypeMessage)
}
