package channels

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// fillFrame is appendFrame for a frame that Fill is asked to make first.
func fillFrame(s *Set, now clock.Time, size int) (f frame, filled bool) {
	chunk, ref, ok := s.Fill(size)
	if !ok {
		return appendFrame(s, now, size), false
	}
	f = frame{bytes.Clone(chunk), []recovery.Ref{ref}}
	s.PutBack()
	return f, true
}

// TestFillIsWhatAppendWouldBe has one of two equal Sets fill its frames in place. Some
// are lost, so that what Fill wrote over is sent again.
func TestFillIsWhatAppendWouldBe(t *testing.T) {
	fills := 0
	for seed := range uint64(40) {
		fills += runTwins(t, seed)
	}
	if fills < 400 {
		t.Errorf("%d frames were filled in place", fills)
	}
}

// runTwins returns how many frames were filled.
func runTwins(t *testing.T, seed uint64) (fills int) {
	rng := rand.New(rand.NewPCG(seed, 2))
	a, peer := newPair(Config{Window: 10_000, WindowMax: 10_000, SendBuffer: 100_000})
	b, _ := newPair(Config{Window: 10_000, WindowMax: 10_000, SendBuffer: 100_000})
	twins := []*Set{a, b}
	var ids []MessageID
	var flying []frame
	for _, s := range twins {
		s.Configure(2, Options{Weight: 3})
		s.Configure(3, Options{LowLatency: true})
		s.SetPath(20*ms, 0, 1200)
	}
	for now := clock.Time(1); now < clock.Time(2000*ms); now = now.Add(ms) {
		busy := now < clock.Time(200*ms)
		if busy {
			m := Message{
				Channel: uint16(rng.IntN(4)), Mode: wire.Mode(rng.IntN(4)), Receipt: rng.IntN(2) == 0, Plain: rng.IntN(2) == 0,
				Data: body(uint32(now), rng.IntN([]int{100, 5000, 40_000}[rng.IntN(3)])),
			}
			for _, s := range twins {
				if id, _ := s.Send(now, &m); id != 0 && s == a {
					ids = append(ids, id)
				}
			}
			peer.Send(now, &Message{Mode: wire.Reliable, Receipt: true, Data: make([]byte, 20_000)})
		}
		var canceled MessageID
		if rng.IntN(8) == 0 && len(ids) > 0 {
			canceled = ids[len(ids)-1-rng.IntN(min(len(ids), 10))]
		}
		for _, s := range twins {
			s.AllowCopies(2, 1000)
			s.Cancel(now, canceled)
		}
		hears := appendFrame(peer, now, 30_000)
		acked(peer, now, hears)
		for _, s := range twins {
			if err := handleFrame(s, now, hears.chunks); err != nil {
				t.Fatal(err)
			}
			received(s, now, 0)
			check(t, s)
		}
		size := []int{RoomMin, RoomMin + rng.IntN(2000), 1200, 16_370 + rng.IntN(50)}[rng.IntN(4)]
		want := appendFrame(a, now, size)
		got, filled := fillFrame(b, now, size)
		if !bytes.Equal(got.chunks, want.chunks) || !slices.Equal(got.refs, want.refs) {
			t.Fatalf("seed %d, frame of %d at %d: got %d bytes, %+v, want %d, %+v",
				seed, size, now, len(got.chunks), got.refs, len(want.chunks), want.refs)
		}
		if filled {
			fills++
		}
		handleFrame(peer, now, want.chunks)
		received(peer, now, uint16(rng.IntN(4)))
		flying = append(flying, want)
		for len(flying) > rng.IntN(20) {
			event := acked
			if rng.IntN(4) == 0 {
				event = lost
			}
			for _, s := range twins {
				event(s, now, flying[0])
			}
			flying = flying[1:]
		}
	}
	if !a.Drained() || !b.Drained() {
		t.Errorf("seed %d: not all was sent", seed)
	}
	return fills
}

// TestFillStopsWhereCreditDoes tries all rooms that take about all the credit there is.
func TestFillStopsWhereCreditDoes(t *testing.T) {
	for room := 1800; room < 2100; room++ {
		var frames [2]frame
		for i := range frames {
			a, _ := newPair(Config{Window: 3000})
			send(t, a, 1, Message{Data: body(1, 20_000)})
			first := appendFrame(a, 1, 1000)
			if i == 0 {
				frames[i] = appendFrame(a, 1, room)
			} else {
				frames[i], _ = fillFrame(a, 1, room)
			}
			if rest := appendFrame(a, 1, 2000); len(first.chunks) < 1000 || len(rest.chunks) > 200 {
				t.Fatalf("the first frame has %d bytes, that after one of %d has %d", len(first.chunks), room, len(rest.chunks))
			}
			check(t, a)
		}
		if !bytes.Equal(frames[0].chunks, frames[1].chunks) {
			t.Fatalf("%d bytes of room: Fill used %d, Append %d", room, len(frames[1].chunks), len(frames[0].chunks))
		}
	}
}
