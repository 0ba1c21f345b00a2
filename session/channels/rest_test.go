package channels

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// forgotten names the fields of a Set that need not be the same after a rest:
// room to spare, who of equals was served last, and what is made when needed.
var forgotten = map[string]bool{
	"Set.pool": true, "Config.Pool": true, "Set.recent": true, "Set.classes": true, "Set.awaiting": true,
	"channel.class": true, "channel.virtualTime": true, "channel.modes": true, "outStream.served": true, "outStream.channel": true,
	"outStream.flight": true, "outStream.keys": true, "inStream.open": true, "numberSet.words": true,
	"idTable.slots": true, "idTable.free": true, "Queue.ring": true, "Queue.head": true, "Set.due": true, "channel.seen": true,
}

// differences lists the fields in which two values differ, beside those.
func differences(at string, a, b reflect.Value) (list []string) {
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return []string{at}
			}
			return nil
		}
		return differences(at, a.Elem(), b.Elem())
	case reflect.Struct:
		name := a.Type().Name()
		if i := len("Queue"); len(name) > i && name[:i] == "Queue" {
			name = "Queue" // without its type argument
		}
		for i := range a.NumField() {
			field := name + "." + a.Type().Field(i).Name
			if !forgotten[field] {
				list = append(list, differences(at+" "+field, a.Field(i), b.Field(i))...)
			}
		}
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return []string{fmt.Sprintf("%s: %d and %d", at, a.Len(), b.Len())}
		}
		for i := range a.Len() {
			list = append(list, differences(fmt.Sprintf("%s[%d]", at, i), a.Index(i), b.Index(i))...)
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			return []string{fmt.Sprintf("%s: %d and %d", at, a.Len(), b.Len())}
		}
		for _, k := range a.MapKeys() {
			if !b.MapIndex(k).IsValid() {
				return []string{fmt.Sprintf("%s: %v is missing", at, k)}
			}
			list = append(list, differences(fmt.Sprintf("%s[%v]", at, k), a.MapIndex(k), b.MapIndex(k))...)
		}
	default:
		if !a.Equal(b) {
			return []string{fmt.Sprintf("%s: %v and %v", at, a, b)}
		}
	}
	return list
}

// rested puts a Set to rest and wakes it, and compares it with what it was. The
// pool is another one: there the old one would be reused.
func rested(t *testing.T, s *Set) *Set {
	t.Helper()
	cfg := s.cfg
	keep := s.pool
	s.pool = NewPool()
	var w scribe
	if !s.atRest() {
		t.Fatal("not at rest")
	}
	s.describe(&w)
	cfg.Pool = NewPool()
	again := Wake(cfg, w.b)
	s.refusedAt, s.urgentAt = 0, 0 // they matter for moments, and nothing is sent at rest
	if d := differences("Set", reflect.ValueOf(s), reflect.ValueOf(again)); len(d) > 0 {
		t.Fatalf("a rest changes what is remembered:\n%q", d)
	}
	s.pool = keep
	memory, ok := s.Rest()
	if !ok {
		t.Fatal("not at rest")
	}
	cfg.Pool = keep
	return Wake(cfg, memory)
}

// Two sides talk in every mode on channels of all kinds, lose frames, and rest
// between whiles. Nothing but the rest itself must be noticed.
func TestSetsRestBetweenMessages(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		a, b := newPair(Config{MaxMessage: 1 << 20, Pool: NewPool()})
		sides := [2]*Set{a, b}
		sides[0].SetPath(30*time.Millisecond, 300_000, 1200)
		sides[1].SetPath(70*time.Millisecond, 0, 1200)
		sent, got := 0, 0
		for round := range 40 {
			now := clock.Time(round+1) * clock.Time(time.Second)
			for range rng.IntN(30) {
				from, to := rng.IntN(2), 0
				if from == 0 {
					to = 1
				}
				m := Message{Channel: uint16(rng.IntN(5)), Mode: wire.Mode(rng.IntN(4)), Data: body(uint32(round), 4+rng.IntN(4000)), Receipt: rng.IntN(4) == 0, Key: uint64(rng.IntN(3))}
				if rng.IntN(8) == 0 {
					sides[from].Configure(m.Channel, Options{Priority: int8(rng.IntN(5) - 2), Weight: rng.IntN(4), LowLatency: rng.IntN(2) == 0})
				}
				send(t, sides[from], now, m)
				sent++
				if f := appendFrame(sides[from], now, 1200); rng.IntN(3) == 0 {
					lost(sides[from], now, f)
				} else if err := handleFrame(sides[to], now, f.chunks); err != nil {
					t.Fatal(err)
				} else {
					acked(sides[from], now, f)
				}
			}
			for range 3 {
				exchange(t, now, sides[0], sides[1])
				for _, s := range sides {
					for ch := range uint16(5) {
						got += len(received(s, now, ch))
					}
				}
			}
			for i, s := range sides {
				for _, ok := s.NextReadable(); ok; _, ok = s.NextReadable() {
				}
				outcomes(s)
				s.TakeWritable()
				for s.partials.n > 0 {
					s.dropPartial(s.partials.first()) // the rest of it is lost
				}
				// Receipts that never come are the caller's to wait for.
				clear(s.awaiting)
				sides[i] = rested(t, s)
				check(t, sides[i])
			}
		}
		if got < sent/2 {
			t.Fatalf("seed %d: %d messages of %d arrived", seed, got, sent)
		}
	}
}

// Whatever is still to happen keeps a Set awake.
func TestSetWithSomethingToDoDoesNotRest(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T, a, b *Set) (awake *Set)
	}{
		{"queued", func(t *testing.T, a, b *Set) *Set {
			send(t, a, 1, Message{Data: body(1, 10)})
			return a
		}},
		{"in flight", func(t *testing.T, a, b *Set) *Set {
			send(t, a, 1, Message{Data: body(1, 10)})
			appendFrame(a, 1, 1200)
			return a
		}},
		{"unreliable, in flight, a receipt awaited", func(t *testing.T, a, b *Set) *Set {
			send(t, a, 1, Message{Mode: wire.Unreliable, Data: body(1, 10), Receipt: true})
			appendFrame(a, 1, 1200)
			return a
		}},
		{"unread", func(t *testing.T, a, b *Set) *Set {
			send(t, a, 1, Message{Data: body(1, 10)})
			exchange(t, 1, a, b)
			b.NextReadable()
			return b
		}},
		{"half-built", func(t *testing.T, a, b *Set) *Set {
			send(t, a, 1, Message{Data: body(1, 3000)})
			carry(t, 1, a, b)
			return b
		}},
		{"unordered, out of order", func(t *testing.T, a, b *Set) *Set {
			send(t, a, 1, Message{Mode: wire.Unordered, Data: body(1, 1000)})
			send(t, a, 1, Message{Mode: wire.Unordered, Data: body(1, 1000)})
			appendFrame(a, 1, 1200)
			carry(t, 1, a, b)
			received(b, 1, 0)
			b.NextReadable()
			return b
		}},
		{"receipt awaited", func(t *testing.T, a, b *Set) *Set {
			send(t, a, 1, Message{Data: body(1, 10), Receipt: true})
			exchange(t, 1, a, b)
			outcomes(a)
			return a
		}},
		{"outcome not told", func(t *testing.T, a, b *Set) *Set {
			a.Cancel(1, send(t, a, 1, Message{Data: body(1, 10)}))
			return a
		}},
		{"before the peer is known", func(t *testing.T, _, _ *Set) *Set { return New(Config{}) }},
	} {
		a, b := newPair(Config{})
		if _, ok := tc.make(t, a, b).Rest(); ok {
			t.Errorf("%s: the Set rests", tc.name)
		}
	}
}

// An unreliable message that is later than the rest is not delivered twice.
func TestUnreliableMessageIsTakenOnceAcrossARest(t *testing.T) {
	a, b := newPair(Config{})
	m := Message{Mode: wire.Unreliable, Data: body(1, 10)}
	var frames [3]frame
	for i := range frames {
		send(t, a, 1, m)
		frames[i] = appendFrame(a, 1, 1200)
	}
	deliver := func(s *Set, i int) int {
		if err := handleFrame(s, 1, frames[i].chunks); err != nil {
			t.Fatal(err)
		}
		s.NextReadable()
		return len(received(s, 1, 0))
	}
	if deliver(b, 1) != 1 {
		t.Fatal("not delivered")
	}
	b = rested(t, b)
	if n := deliver(b, 1); n != 0 {
		t.Error("delivered twice")
	}
	if n := deliver(b, 2); n != 1 {
		t.Error("what is newer than all before is not delivered")
	}
	if n := deliver(b, 0); n != 0 {
		t.Error("what was overtaken before the rest is delivered")
	}
}

func TestMemoryOfASetIsSmall(t *testing.T) {
	a, b := newPair(Config{})
	for ch := range uint16(3) {
		a.Configure(ch, Options{Priority: 1})
	}
	send(t, a, 1, Message{Data: body(1, 64)})
	exchange(t, 1, a, b)
	if memory, ok := a.Rest(); !ok || len(memory) > 150 {
		t.Errorf("%d bytes for three channels, at rest: %v", len(memory), ok)
	}
}
