package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
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

// batchLink is fast enough for batches.
func batchLink() wiretest.Link {
	return wiretest.Link{Delay: 10 * time.Millisecond, Rate: 100e6, Queue: 250_000, MTU: 1500}
}

// [S57] Where the system spoils what it is given in one call, datagrams soon leave
// one by one, and what was lost till then slows nothing down any more.
func TestBatchesThatGetLostAreGivenUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, a := range algorithms {
		transfer := func(spoils func(i, n int) bool) (took time.Duration, singly bool, lost uint64) {
			w := newWorld(t, 1)
			p, q := w.pair(batchLink())
			p.use(a)
			p.spoils = spoils
			w.connect(p, q)
			took = w.transfer(p, 8<<20, time.Minute)
			return took, p.activePath().Singly, p.session().Stats().Lost
		}
		clean, singly, lost := transfer(nil)
		if singly {
			t.Errorf("%v: no batches where nothing is wrong with them", a)
		}
		for name, spoils := range map[string]func(i, n int) bool{
			"every batch":                func(i, n int) bool { return true },
			"every batch of 4 or more":   func(i, n int) bool { return n >= 4 },
			"all but the first":          func(i, n int) bool { return i > 0 },
			"the last":                   func(i, n int) bool { return i == n-1 },
			"a tenth of what is batched": func(i, n int) bool { return rng.IntN(10) == 0 },
		} {
			took, singly, lostHere := transfer(spoils)
			// What CUBIC makes of such losses has hardly any batches of 4.
			if !singly && (a == congestion.BBR || name != "every batch of 4 or more") {
				t.Errorf("%v: batches go on although the system loses %s", a, name)
			}
			if took > clean+2*time.Second || lostHere > lost+1000 {
				t.Errorf("%v: %v and %d lost where the system loses %s, %v and %d where nothing", a, took, lostHere, name, clean, lost)
			}
		}
	}
}

// [S57] Losses that have another cause leave batches alone.
func TestLossyPathsKeepBatches(t *testing.T) {
	for _, a := range algorithms {
		for name, change := range map[string]func(*wiretest.Link){
			"losses":           func(l *wiretest.Link) { l.Loss = 0.1 },
			"bursts of losses": func(l *wiretest.Link) { l.Loss, l.Burst = 0.1, 4 },
			"a short queue":    func(l *wiretest.Link) { l.Queue = 20_000 },
		} {
			for seed := range uint64(2) {
				w := newWorld(t, seed+1)
				l := batchLink()
				change(&l)
				p, q := w.pair(l)
				p.use(a)
				w.connect(p, q)
				p.stream(Message{}, 16<<10, 1<<20)
				for range map[congestion.Algorithm]int{congestion.BBR: 10, congestion.CUBIC: 40}[a] { // until a trial has ended
					w.run(100*time.Millisecond, nil)
					if p.activePath().Singly {
						t.Errorf("%v, seed %d: %s are taken for those of batches", a, seed+1, name)
						break
					}
				}
			}
		}
	}
}

// [S57] Batches that were given up are tried again after ten minutes, in which the
// session may have been at rest.
func TestBatchesGetAnotherChance(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(batchLink())
	w.connect(p, q)
	p.spoils = func(i, n int) bool { return true }
	w.transfer(p, 8<<20, time.Minute)
	p.spoils = nil
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {9 * time.Minute, false}, {2 * time.Minute, true}} {
		w.run(tt.after, nil)
		p.batches = 0
		w.transfer(p, 4<<20, time.Minute)
		if got := p.batches > 0; got != tt.want || p.activePath().Singly == tt.want {
			t.Errorf("%v later there are %d batches; singly: %v", tt.after, p.batches, p.activePath().Singly)
		}
	}
}
