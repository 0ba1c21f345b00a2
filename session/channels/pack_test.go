package channels

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// chunksOf returns the message chunks of a frame.
func chunksOf(t *testing.T, f frame) (chunks []wire.Message) {
	t.Helper()
	for b := f.chunks; len(b) > 0; {
		var c wire.Chunk
		rest, err := wire.ConsumeChunk(b, &c)
		if err != nil {
			t.Fatal(err)
		}
		if c.Type == wire.TypeMessage {
			chunks = append(chunks, c.Message)
		}
		b = rest
	}
	return chunks
}

// plainPair is a pair that knows how long its frames are.
func plainPair(cfg Config) (a, b *Set) {
	a, b = newPair(cfg)
	a.SetPath(10*ms, 0, 1200)
	return a, b
}

func TestPlainMessagesTravelAsOne(t *testing.T) {
	for _, mode := range []wire.Mode{wire.Reliable, wire.Unordered, wire.Unreliable} {
		a, b := plainPair(Config{})
		var want []string
		for i := range 10 {
			text := fmt.Sprint("message ", i, " of some length"[:i])
			want = append(want, text)
			if id := send(t, a, 1, Message{Channel: 3, Mode: mode, Data: []byte(text), Plain: true}); id != 0 {
				t.Errorf("%v: a plain message is named %#x", mode, id)
			}
			check(t, a)
		}
		f := appendFrame(a, 1, 1200)
		if chunks := chunksOf(t, f); len(chunks) != 1 || len(f.refs) != 1 || !chunks[0].Packed {
			t.Errorf("%v: ten plain messages were sent in %d chunks", mode, len(chunks))
		}
		if err := handleFrame(b, 1, f.chunks); err != nil {
			t.Fatal(err)
		}
		acked(a, 1, f)
		wantReceived(t, b, 1, 3, want...)
		check(t, a, b)
		if !a.Drained() || len(outcomes(a)) != 0 {
			t.Errorf("%v: something is left, or reported", mode)
		}
		if sent, got := a.Stats().MessagesSent, b.Stats().MessagesReceived; sent != 10 || got != 10 {
			t.Errorf("%v: %d sent and %d received are counted", mode, sent, got)
		}
	}
}

// TestWhatStaysAlone tells which messages travel in a chunk of their own.
func TestWhatStaysAlone(t *testing.T) {
	plain := Message{Channel: 1, Data: []byte("plain"), Plain: true}
	with := func(change func(*Message)) Message {
		m := plain
		change(&m)
		return m
	}
	for name, m := range map[string]Message{
		"one with a name":         with(func(m *Message) { m.Plain = false }),
		"one with a receipt":      with(func(m *Message) { m.Receipt = true }),
		"one with a deadline":     with(func(m *Message) { m.Deadline = 1000 }),
		"one with a key":          with(func(m *Message) { m.Key = 7 }),
		"one of another channel":  with(func(m *Message) { m.Channel = 2 }),
		"one of another mode":     with(func(m *Message) { m.Mode = wire.Unordered }),
		"a long one":              with(func(m *Message) { m.Data = make([]byte, packMax) }),
		"one of low latency":      with(func(m *Message) { m.Channel = 4 }),
		"one too long for a pack": with(func(m *Message) { m.Channel, m.Data = 5, make([]byte, 1100); m.Mode = wire.Unreliable }),
		"a sequenced one":         with(func(m *Message) { m.Channel, m.Mode = 6, wire.Sequenced }),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := plainPair(Config{})
			a.Configure(4, Options{LowLatency: true})
			first := plain
			if m.Channel >= 4 {
				first = m
			}
			send(t, a, 1, first)
			send(t, a, 1, m)
			check(t, a)
			f := appendFrame(a, 1, packMax+2000)
			if chunks := chunksOf(t, f); len(chunks) != 2 || chunks[0].Packed || chunks[1].Packed {
				t.Errorf("two messages went out as %v", chunks)
			}
			if err := handleFrame(b, 1, f.chunks); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("after the first has begun to fly", func(t *testing.T) {
		a, _ := plainPair(Config{})
		send(t, a, 1, Message{Data: make([]byte, 1500), Plain: true})
		appendFrame(a, 1, 1200)
		send(t, a, 1, Message{Data: []byte("later"), Plain: true})
		if chunks := chunksOf(t, appendFrame(a, 1, 1200)); len(chunks) != 2 || chunks[0].Packed || chunks[1].Packed {
			t.Errorf("they went out as %v", chunks)
		}
	})
}

// TestPacksAreBounded sends more than a pack may hold, to peers of different means.
func TestPacksAreBounded(t *testing.T) {
	for _, test := range []struct {
		mode   wire.Mode
		window int
		buffer int // of the sender
		max    int // the longest message of the peer
		limit  int // of the pack
	}{
		{wire.Reliable, 512 << 10, 512 << 10, 1 << 20, packMax},
		{wire.Reliable, 512 << 10, 512 << 10, 3000, 3000},
		{wire.Reliable, 8000, 512 << 10, 1 << 20, 8000 / packShare},
		{wire.Reliable, 512 << 10, 160_000, 1 << 20, 160_000 / packShare},
		{wire.Unordered, 512 << 10, 512 << 10, 1 << 20, 1200 - frameOverhead},
		{wire.Unreliable, 512 << 10, 512 << 10, 1 << 20, 1200 - frameOverhead},
	} {
		a := New(Config{SendBuffer: test.buffer})
		a.SetPeer(test.max, test.window)
		a.SetPath(10*ms, 0, 1200)
		for range sparse {
			send(t, a, 1, Message{Channel: 1, Data: make([]byte, 50)})
		}
		for range 1000 {
			send(t, a, 1, Message{Mode: test.mode, Data: make([]byte, 50), Plain: true})
		}
		check(t, a)
		longest := 0
		for range 100 {
			for _, m := range chunksOf(t, appendFrame(a, 1, 1200)) {
				longest = max(longest, int(m.Total))
			}
		}
		if longest > test.limit || longest < test.limit-51 {
			t.Errorf("%v, window %d, buffer %d, messages of %d: packs of %d bytes, want up to %d",
				test.mode, test.window, test.buffer, test.max, longest, test.limit)
		}
	}
}

// TestFrontOfAPackIsTakenBeforeTheRestHasCome cuts packs at any place and delivers the
// pieces in any order: what is ready is what has come with all before it, if the pack
// itself is next.
func TestFrontOfAPackIsTakenBeforeTheRestHasCome(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		b := New(Config{})
		b.SetPeer(1<<20, 1<<20)
		var pack []byte
		var texts []string
		var ends []int // of the messages
		for len(pack) < 2+rng.IntN(4000) {
			text := string(body(uint32(len(texts)), rng.IntN(300)))
			pack = wire.AppendPacked(pack, []byte(text))
			texts, ends = append(texts, text), append(ends, len(pack))
		}
		arrived := make([]bool, len(pack))
		taken, announced := 0, false
		for {
			lo := rng.IntN(len(pack))
			if rng.IntN(2) == 0 {
				lo = max(slices.Index(arrived, false), 0)
			}
			hi := min(lo+1+rng.IntN(len(pack)/4+64), len(pack))
			m := wire.Message{Fragment: hi-lo < len(pack), Packed: true, Offset: uint64(lo), Total: uint64(len(pack)), Data: pack[lo:hi]}
			if err := b.HandleMessage(1, &m); errors.Is(err, errFragments) {
				break
			} else if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for i := lo; i < hi; i++ {
				arrived[i] = true
			}
			check(t, b)
			prefix := slices.Index(arrived, false)
			if prefix < 0 {
				prefix = len(pack)
			}
			whole, _ := slices.BinarySearch(ends, prefix+1)
			_, told := b.NextReadable()
			announced = announced || told
			if rng.IntN(3) > 0 && prefix < len(pack) {
				continue
			}
			if announced != (whole > taken) {
				t.Fatalf("seed %d: %d messages to take, announced is %v", seed, whole-taken, announced)
			}
			announced = false
			for _, got := range received(b, 1, 0) {
				if taken == whole || got != texts[taken] {
					t.Fatalf("seed %d: took %q as message %d of %d that are there", seed, got, taken, whole)
				}
				taken++
			}
			if taken != whole {
				t.Fatalf("seed %d: %d messages were taken, %d are there", seed, taken, whole)
			}
			check(t, b)
			if prefix == len(pack) {
				break
			}
		}
	}
}

// TestFrontOfAPackWaitsForItsTurn has the beginning of a pack arrive before the message
// that precedes it.
func TestFrontOfAPackWaitsForItsTurn(t *testing.T) {
	for mode, early := range map[wire.Mode][]string{wire.Reliable: nil, wire.Unordered: {"one"}} {
		_, b := newPair(Config{})
		pack := wire.AppendPacked(wire.AppendPacked(nil, []byte("one")), []byte("two"))
		for _, step := range []struct {
			m    wire.Message
			want []string
		}{
			{wire.Message{Seq: 1, Packed: true, Fragment: true, Total: uint64(len(pack)), Data: pack[:6]}, early},
			{wire.Message{Seq: 0, Total: 4, Data: []byte("zero")}, []string{"zero", "one"}[:2-len(early)]},
			{wire.Message{Seq: 1, Packed: true, Fragment: true, Offset: 6, Total: uint64(len(pack)), Data: pack[6:]}, []string{"two"}},
		} {
			step.m.Mode = mode
			if err := b.HandleMessage(1, &step.m); err != nil {
				t.Fatal(err)
			}
			check(t, b)
			if _, ok := b.NextReadable(); ok != (step.want != nil) {
				t.Errorf("%v: readable is %v", mode, ok)
			}
			wantReceived(t, b, 1, 0, step.want...)
			check(t, b)
		}
	}
}

// TestHalfTakenPackCanBeGivenUp skips a pack, as our own sender never does, of which the
// application has taken a part.
func TestHalfTakenPackCanBeGivenUp(t *testing.T) {
	_, b := newPair(Config{})
	pack := wire.AppendPacked(wire.AppendPacked(wire.AppendPacked(nil, []byte("one")), []byte("two")), []byte("three"))
	m := wire.Message{Packed: true, Fragment: true, Total: uint64(len(pack)), Data: pack[:10]}
	next := wire.Message{Seq: 1, Total: 4, Data: []byte("four")}
	for _, m := range []*wire.Message{&m, &next} {
		if err := b.HandleMessage(1, m); err != nil {
			t.Fatal(err)
		}
	}
	if r, ok := b.Recv(1, 0); !ok || string(r.Data) != "one" {
		t.Fatalf("took %q, %v", r.Data, ok)
	}
	if err := b.HandleSkip(1, &wire.Skip{Sent: MessageOverhead + 10}); err != nil {
		t.Fatal(err)
	}
	check(t, b)
	wantReceived(t, b, 1, 0, "four")
	check(t, b)
}

// TestShortMessagesOfAFewStayShort has messages wait behind each other that would ride
// along again if they were lost: a pack of them would be too long for that.
func TestShortMessagesOfAFewStayShort(t *testing.T) {
	a, _ := plainPair(Config{})
	for range 10 {
		send(t, a, 1, Message{Data: make([]byte, 100), Plain: true})
	}
	n := 0
	for range 2 {
		for _, m := range chunksOf(t, appendFrame(a, 1, 1200)) {
			if n++; m.Total > ShortMessage || !m.Packed {
				t.Errorf("a chunk of %d bytes", m.Total)
			}
		}
	}
	if n != 5 {
		t.Errorf("%d chunks, want two messages in each", n)
	}
}

// TestRepeatedPiecesOfAPackCostLittle repeats a piece of a long pack that has come in
// many: to look through those for each would be work that the peer need not pay for.
func TestRepeatedPiecesOfAPackCostLittle(t *testing.T) {
	const pieces, total = 4000, 1 << 20
	took := func(packed bool) time.Duration {
		b := New(Config{})
		b.SetPeer(1<<20, 1<<20)
		body := append(wire.AppendVarint(nil, total-4), make([]byte, total)...)
		piece := func(lo, hi int) {
			m := wire.Message{Mode: wire.Unordered, Fragment: true, Packed: packed, Offset: uint64(lo), Total: total, Data: body[lo:hi]}
			if err := b.HandleMessage(1, &m); err != nil {
				t.Fatal(err)
			}
			appendFrame(b, 1, 1200) // credit
		}
		for i := pieces - 1; i >= 0; i-- {
			piece(64*i, 64*i+32)
		}
		for i := range pieces {
			piece(64*i+32, 64*i+64)
		}
		began := time.Now()
		for range 2000 {
			piece(5, 6)
		}
		return time.Since(began)
	}
	least := func(packed bool) time.Duration { return min(took(packed), took(packed), took(packed)) }
	if pack, plain := least(true), least(false); pack > 10*plain {
		t.Errorf("repeated pieces took %v in a pack and %v in a message", pack, plain)
	}
}

// TestEachMessageOfADroppedPackIsCounted fills the queue of unreliable messages.
func TestEachMessageOfADroppedPackIsCounted(t *testing.T) {
	a, _ := plainPair(Config{})
	const count = 5 * unsentMessages
	for range count {
		send(t, a, 1, Message{Mode: wire.Unreliable, Data: make([]byte, 10), Plain: true})
		check(t, a)
	}
	sent := 0
	for {
		f := appendFrame(a, 1, 1200)
		if len(f.chunks) == 0 {
			break
		}
		for _, m := range chunksOf(t, f) {
			sent += len(m.Data) / 11
		}
	}
	if dropped := int(a.Stats().DroppedUnsent); sent+dropped != count || sent > unsentMessages || sent <= unsentMessages-packParts {
		t.Errorf("of %d messages %d were sent and %d counted as dropped", count, sent, dropped)
	}
}

// TestPlainMessageCannotBeCanceled tries to, by the name that it does not have.
func TestPlainMessageCannotBeCanceled(t *testing.T) {
	a, b := plainPair(Config{})
	id := send(t, a, 1, Message{Data: []byte("kept"), Plain: true})
	if a.Cancel(1, id) {
		t.Error("canceled")
	}
	exchange(t, 1, a, b)
	wantReceived(t, b, 1, 0, "kept")
}
