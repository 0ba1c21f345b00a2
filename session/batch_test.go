package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Small messages fill datagrams, and datagrams of one size fill a batch: else each
// would cost a system call. What that wastes is little.
func TestSmallMessagesFillBatches(t *testing.T) {
	for _, size := range []int{20, 64, 100, 333} {
		d := newDuo(t, 1452)
		m := Message{Channel: 1, Data: make([]byte, size)}
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
			t.Errorf("%d messages of %d bytes leave in %d batches", sent, size, batches)
		}
		if most := sent * (size + 12) * 21 / 20; bytes > most+1452 {
			t.Errorf("%d messages of %d bytes take %d bytes, want at most %d", sent, size, bytes, most)
		}
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
