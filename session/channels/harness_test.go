package channels

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

const ms = time.Millisecond

// A frame is what one Append made.
type frame struct {
	chunks []byte
	refs   []recovery.Ref
}

// appendFrame fills a frame of up to size bytes.
func appendFrame(s *Set, now clock.Time, size int) frame {
	b, refs := s.Append(now, nil, size, nil)
	return frame{b, refs}
}

// handleFrame gives every chunk of a frame to s.
func handleFrame(s *Set, now clock.Time, b []byte) error {
	var c wire.Chunk
	for len(b) > 0 {
		rest, err := wire.ConsumeChunk(b, &c)
		if err != nil {
			return err
		}
		if err := handleChunk(s, now, &c); err != nil {
			return fmt.Errorf("%v: %w", &c, err)
		}
		b = rest
	}
	return nil
}

func handleChunk(s *Set, now clock.Time, c *wire.Chunk) error {
	switch c.Type {
	case wire.TypeMessage:
		return s.HandleMessage(now, &c.Message)
	case wire.TypeCredit:
		return s.HandleCredit(now, &c.Credit)
	case wire.TypeSkip:
		return s.HandleSkip(now, &c.Skip)
	case wire.TypeRead:
		return s.HandleRead(now, &c.Read)
	}
	return nil
}

// newPair returns two Sets that know each other's limits.
func newPair(cfg Config) (a, b *Set) {
	a, b = New(cfg), New(cfg)
	a.SetPeer(a.cfg.MaxMessage, b.Window())
	b.SetPeer(b.cfg.MaxMessage, a.Window())
	return a, b
}

// exchange carries frames both ways, all acknowledged, until neither side has
// anything to send.
func exchange(t testing.TB, now clock.Time, a, b *Set) {
	t.Helper()
	for range 100_000 {
		sent := carry(t, now, a, b)
		if !carry(t, now, b, a) && !sent {
			return
		}
	}
	t.Fatal("the two sides never come to rest")
}

// carry moves one frame.
func carry(t testing.TB, now clock.Time, from, to *Set) bool {
	t.Helper()
	f := appendFrame(from, now, 1200)
	if len(f.chunks) == 0 {
		if from.Pending() {
			t.Fatal("pending, but nothing was appended")
		}
		return false
	}
	if err := handleFrame(to, now, f.chunks); err != nil {
		t.Fatal(err)
	}
	acked(from, now, f)
	check(t, from, to)
	return true
}

func acked(s *Set, now clock.Time, f frame) {
	for i := range f.refs {
		s.OnAcked(now, &f.refs[i])
	}
}

func lost(s *Set, now clock.Time, f frame) {
	for i := range f.refs {
		s.OnLost(now, &f.refs[i])
	}
}

func check(t testing.TB, sets ...*Set) {
	t.Helper()
	for _, s := range sets {
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func send(t testing.TB, s *Set, now clock.Time, m Message) MessageID {
	t.Helper()
	id, err := s.Send(now, &m)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// outcomes drains what became of messages.
func outcomes(s *Set) map[MessageID][]Fate {
	all := map[MessageID][]Fate{}
	for {
		id, fate, ok := s.NextOutcome()
		if !ok {
			return all
		}
		all[id] = append(all[id], fate)
	}
}

func wantFates(t testing.TB, got map[MessageID][]Fate, id MessageID, want ...Fate) {
	t.Helper()
	if fmt.Sprint(got[id]) != fmt.Sprint(want) {
		t.Errorf("message %#x met %v, want %v", id, got[id], want)
	}
}

// received takes all messages of a channel as strings.
func received(s *Set, now clock.Time, ch uint16) (all []string) {
	for {
		r, ok := s.Recv(now, ch)
		if !ok {
			return all
		}
		all = append(all, string(r.Data))
	}
}

func wantReceived(t testing.TB, s *Set, now clock.Time, ch uint16, want ...string) {
	t.Helper()
	if got := received(s, now, ch); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("channel %d delivered %q, want %q", ch, got, want)
	}
}

// body returns n bytes that tell which message they belong to.
func body(name uint32, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewPCG(uint64(name), uint64(n))
	for i := 8; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	if n >= 4 {
		binary.LittleEndian.PutUint32(b, name)
	}
	return b
}

// bodyName returns which message the bytes are, if they are whole.
func bodyName(b []byte) (name uint32, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	name = binary.LittleEndian.Uint32(b)
	return name, bytes.Equal(b, body(name, len(b)))
}
