package channels

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// FuzzReassembly feeds the fragments of one message in any order and cut, some
// of them false, and compares with a copy of the whole message.
func FuzzReassembly(f *testing.F) {
	f.Add(uint16(1000), []byte{0, 0, 255, 0, 200, 255, 1, 100, 255, 2, 0, 255})
	f.Add(uint16(300), []byte{0, 100, 200, 0, 0, 200})
	f.Add(uint16(5000), bytes.Repeat([]byte{7, 3, 250, 0, 90, 251}, 40))
	f.Fuzz(func(t *testing.T, length uint16, script []byte) {
		total := int(length)%8000 + 1
		want := body(1, total)
		in, pool := NewPool().newIncoming(), NewPool()
		in.total = total
		arrived := make([]bool, total)
		for ; len(script) >= 3; script = script[3:] {
			lo := (int(script[0])<<8 | int(script[1])) % total
			hi := min(total, lo+1+4*int(script[2]))
			data := slices.Clone(want[lo:hi])
			m := wire.Message{Fragment: true, Offset: uint64(lo), Total: uint64(total), Data: data}
			fresh, err := in.check(&m)
			n := 0
			for _, have := range arrived[lo:hi] {
				if !have {
					n++
				}
			}
			if err != nil || fresh != n {
				t.Fatalf("[%d, %d): %d fresh, %v; want %d", lo, hi, fresh, err, n)
			}
			if at := lo + int(script[0])%(hi-lo); arrived[at] {
				data[at-lo] ^= 1
				if _, err := in.check(&m); err != errOverlap {
					t.Fatalf("false byte %d not found: %v", at, err)
				}
				data[at-lo] ^= 1
			}
			if err := in.insert(pool, lo, data); err != nil {
				return // slivers
			}
			for i := lo; i < hi; i++ {
				arrived[i] = true
			}
			checkSegments(t, in, want, arrived)
		}
	})
}

func checkSegments(t *testing.T, in *incoming, want []byte, arrived []bool) {
	t.Helper()
	end, have := 0, 0
	for _, g := range in.segs {
		if g.off < end || len(g.data) == 0 {
			t.Fatalf("segment [%d, %d) after %d", g.off, g.end(), end)
		}
		if !bytes.Equal(g.data, want[g.off:g.end()]) {
			t.Fatalf("segment at %d has other bytes", g.off)
		}
		end = g.end()
		have += len(g.data)
	}
	n := 0
	for _, a := range arrived {
		if a {
			n++
		}
	}
	if have != n || in.have != n {
		t.Fatalf("%d bytes in segments, %d counted, %d arrived", have, in.have, n)
	}
	if whole := make([]byte, len(want)); in.complete() {
		if in.copyFrom(cursor{}, whole); !bytes.Equal(whole, want) {
			t.Fatal("the whole differs")
		}
	}
}

// FuzzChunks feeds any sequence of chunks, between calls of the application and
// feedback about frames, to one Set.
func FuzzChunks(f *testing.F) {
	a, _ := newPair(Config{})
	for i, n := range []int{0, 10, 2000, 300} {
		send(f, a, 1, Message{Mode: wire.Mode(i), Data: body(1, n), Receipt: true})
	}
	f.Add(appendFrame(a, 1, 1200).chunks)
	// A pack in two parts, of which the first is taken before the second comes.
	f.Add([]byte{0x49, 0, 0, 0, 6, 3, 1, 'a', 1, 0x85, 0x85, 0x49, 0, 0, 3, 6, 3, 'b', 1, 'c', 0x85, 0x85, 0x85})
	f.Add([]byte{0x08, 0, 0, 0, 32, 0xff, 0x40, 0, 1, 1, 'x', 0xff, 0x09, 0, 0, 0, 0x07, 0, 0x80, 1, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		s := New(Config{MaxMessage: 3000, Window: 2000, WindowMax: 4000, MaxChannels: 3, SendBuffer: 5000})
		s.SetPeer(3000, 2000)
		s.SetPath(10*ms, 0, 1200)
		app := application{set: s}
		var c wire.Chunk
		for len(script) > 0 && app.now < 500 {
			app.now++
			if script[0] >= 0x80 {
				app.act(script[0])
				script = script[1:]
			} else {
				rest, err := wire.ConsumeChunk(script, &c)
				if err != nil {
					return
				}
				script = rest
				if handleChunk(s, app.now, &c) != nil {
					return
				}
			}
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
		}
		s.Abort()
		if err := s.Check(); err != nil || s.buffered != 0 || !s.Drained() {
			t.Fatalf("after the end: %v, %+v", err, s.Stats())
		}
	})
}

// An application does what a byte says.
type application struct {
	set  *Set
	now  clock.Time
	refs []recovery.Ref
	ids  []MessageID
}

func (a *application) act(op byte) {
	arg := uint64(op >> 3 & 15)
	switch op & 7 {
	case 0, 1:
		m := Message{Channel: uint16(arg & 1), Mode: wire.Mode(arg >> 1 & 3), Data: body(1, int(arg)*200), Key: arg >> 3, Receipt: op&1 == 0, Plain: true}
		if id, err := a.set.Send(a.now, &m); err == nil {
			a.ids = append(a.ids, id)
		}
	case 2:
		_, a.refs = a.set.Append(a.now, nil, 600, a.refs)
	case 3:
		if n := uint64(len(a.refs)); n > 0 {
			a.set.OnAcked(a.now, &a.refs[arg%n])
		}
	case 4:
		if n := uint64(len(a.refs)); n > 0 {
			a.set.OnLost(a.now, &a.refs[arg%n])
		}
	case 5:
		a.set.Recv(a.now, uint16(arg&3))
	case 6:
		if n := uint64(len(a.ids)); n > 0 {
			a.set.Cancel(a.now, a.ids[arg%n])
		}
	case 7:
		a.set.NextReadable()
		a.set.NextOutcome()
	}
}

func TestNumberSetAgreesWithAMap(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var set numberSet
		naive := map[uint64]bool{}
		for range 500 {
			if rng.IntN(50) == 0 {
				set.slide(set.base + uint64(rng.IntN(300)))
			}
			seq := set.base + uint64(rng.IntN(200))
			if !set.has(seq) {
				set.add(seq)
			}
			naive[seq] = true
			for probe := set.base; probe < set.base+400; probe++ {
				if set.has(probe) != naive[probe] {
					t.Fatalf("seed %d: has(%d) is %v", seed, probe, !naive[probe])
				}
			}
		}
	}
}

func TestSpansAgreeWithASetOfBytes(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var s, but spans
		naive, naiveBut := map[int]bool{}, map[int]bool{}
		for range 100 {
			lo := rng.IntN(60)
			hi := lo + rng.IntN(12)
			switch rng.IntN(4) {
			case 0:
				s.add(lo, hi)
				setRange(naive, lo, hi, true, nil)
			case 1:
				s.remove(lo, hi)
				setRange(naive, lo, hi, false, nil)
			case 2:
				but.add(lo, hi)
				setRange(naiveBut, lo, hi, true, nil)
			case 3:
				s.addExcept(lo, hi, but)
				setRange(naive, lo, hi, true, naiveBut)
			}
			got := map[int]bool{}
			end := -1
			for _, x := range s {
				if x.lo <= end || x.lo >= x.hi {
					t.Fatalf("seed %d: %v", seed, s)
				}
				end = x.hi
				setRange(got, x.lo, x.hi, true, nil)
			}
			if !maps.Equal(got, naive) {
				t.Fatalf("seed %d: %v, want %v", seed, s, naive)
			}
		}
	}
}

func setRange(m map[int]bool, lo, hi int, in bool, but map[int]bool) {
	for i := lo; i < hi; i++ {
		switch {
		case !in:
			delete(m, i)
		case !but[i]:
			m[i] = true
		}
	}
}
