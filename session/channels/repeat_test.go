package channels

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// newUrgentPair returns two Sets; the first may repeat what it sends on channel 1.
func newUrgentPair() (a, b *Set) {
	a, b = newPair(Config{})
	a.Configure(1, Options{LowLatency: true})
	a.AllowCopies(1, 1000)
	return a, b
}

// after is a time at which what was sent at the first instant may be repeated.
const after = clock.Time(1 + repeatGap)

// sendTwo sends two messages in a frame each; the second repeats the first.
func sendTwo(t *testing.T, a *Set) (one, two frame) {
	t.Helper()
	send(t, a, 1, Message{Channel: 1, Data: body(1, 100), Receipt: true})
	one = appendFrame(a, 1, 1200)
	send(t, a, after, Message{Channel: 1, Data: body(2, 100), Receipt: true})
	two = appendFrame(a, after, 1200)
	if len(one.refs) != 1 || len(two.refs) != 2 {
		t.Fatalf("frames of %d and %d chunks, want 1 and 2", len(one.refs), len(two.refs))
	}
	return one, two
}

func TestMessageIsSentAgainOnlyWhenItsNewestCopyIsLost(t *testing.T) {
	a, _ := newUrgentPair()
	one, two := sendTwo(t, a)
	lost(a, after, one)
	if a.Pending() {
		t.Error("sent again while a copy is under way")
	}
	lost(a, after, two)
	if three := appendFrame(a, after, 1200); len(three.refs) != 2 {
		t.Errorf("%d chunks, want both messages again", len(three.refs))
	}
	check(t, a)
}

func TestAnyCopyThatArrivesSettlesTheMessage(t *testing.T) {
	for _, first := range []bool{true, false} {
		a, _ := newUrgentPair()
		one, two := sendTwo(t, a)
		arrived, missing := one, two
		if !first {
			arrived, missing = two, one
		}
		acked(a, after, arrived)
		lost(a, after, missing)
		again := appendFrame(a, after, 1200)
		if want := map[bool]int{true: 1, false: 0}[first]; len(again.refs) != want {
			t.Errorf("the first arrived %v: %d messages sent again, want %d", first, len(again.refs), want)
		}
		acked(a, after, again)
		acked(a, after, missing)
		if !a.Drained() {
			t.Error("not drained")
		}
		for id, fates := range outcomes(a) {
			if len(fates) != 1 || fates[0] != Stored {
				t.Errorf("message %#x met %v", id, fates)
			}
		}
		check(t, a)
	}
}

func TestProbeSendsAgainWhatHasACopyUnderWay(t *testing.T) {
	a, _ := newUrgentPair()
	one, _ := sendTwo(t, a)
	a.SendAgain(after, &one.refs[0])
	if f := appendFrame(a, after, 1200); len(f.refs) != 1 {
		t.Errorf("%d chunks, want 1", len(f.refs))
	}
}

func TestCopiesAreTakenOnceAndUseNoCredit(t *testing.T) {
	a, b := newUrgentPair()
	_, two := sendTwo(t, a) // the first frame is lost
	used := a.find(1).used
	if want := uint64(2 * (100 + MessageOverhead)); used != want {
		t.Errorf("two messages use %d of the credit, want %d", used, want)
	}
	for range 2 {
		if err := handleFrame(b, after, two.chunks); err != nil {
			t.Fatal(err)
		}
		check(t, a, b)
	}
	if got := b.find(1).received; got != used {
		t.Errorf("the peer counts %d, want %d", got, used)
	}
	wantReceived(t, b, after, 1, string(body(1, 100)), string(body(2, 100)))
	if n := b.Stats().Duplicates; n != 2 {
		t.Errorf("%d duplicates, want 2", n)
	}
}

func TestShortMessagesAreCopiedWhereTheyAreFewOrUrgent(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		mode   wire.Mode
		size   int
		others int // messages of other channels under way
		copies int // allowed of each
		want   int
	}{
		{"short", Options{LowLatency: true}, wire.Reliable, ShortMessage, 0, 2, 2},
		{"unordered", Options{LowLatency: true}, wire.Unordered, 1, 0, 3, 3},
		{"empty", Options{LowLatency: true}, wire.Reliable, 0, 0, 1, 1},
		{"longer", Options{LowLatency: true}, wire.Reliable, ShortMessage + 1, 0, 2, 0},
		{"ordinary channel", Options{}, wire.Reliable, 100, 0, 2, 2},
		{"one of a few", Options{}, wire.Reliable, 100, sparse - 1, 2, 2},
		{"one of many", Options{}, wire.Reliable, 100, sparse, 2, 0},
		{"urgent among many", Options{LowLatency: true}, wire.Reliable, 100, sparse, 2, 2},
		{"overtaken by the next", Options{LowLatency: true}, wire.Sequenced, 100, 0, 2, 0},
		{"none allowed", Options{LowLatency: true}, wire.Reliable, 100, 0, 0, 0},
	} {
		a, _ := newPair(Config{})
		for range c.others {
			send(t, a, 1, Message{Channel: 3, Data: body(3, ShortMessage+1)})
			appendFrame(a, 1, 1200)
		}
		a.Configure(1, c.o)
		send(t, a, 1, Message{Channel: 1, Mode: c.mode, Data: body(1, c.size)})
		appendFrame(a, 1, 1200)
		got := 0
		for now := clock.Time(1); now < 1+10*after; now += after / 2 {
			a.AllowCopies(c.copies, 1000)
			send(t, a, now, Message{Channel: 2, Mode: wire.Unreliable})
			got += len(appendFrame(a, now, 1200).refs) - 1
		}
		if got != c.want {
			t.Errorf("%s: %d copies, want %d", c.name, got, c.want)
		}
		check(t, a)
	}
}

// What low-latency messages leave of a frame is for their copies, then for others.
func TestCopiesGoBeforeTheBulk(t *testing.T) {
	for _, lowLatency := range []bool{false, true} {
		a, _ := newUrgentPair()
		a.Configure(2, Options{LowLatency: lowLatency})
		send(t, a, 1, Message{Channel: 1, Data: body(1, 100)})
		appendFrame(a, 1, 1200)
		send(t, a, 1, Message{Channel: 2, Data: body(2, 5000)})
		f := appendFrame(a, after, 1200)
		if len(f.refs) != 2 || f.refs[0].Channel != 1 || f.refs[1].Channel != 2 {
			t.Errorf("bulk of low latency %v: the frame holds %v", lowLatency, f.refs)
		}
	}
}

func TestCopiesKeepToTheirBytes(t *testing.T) {
	a, _ := newUrgentPair()
	for i := range uint32(5) {
		send(t, a, 1, Message{Channel: 1, Data: body(i, 100)})
	}
	appendFrame(a, 1, 1200)
	a.AllowCopies(1, 250)
	send(t, a, after, Message{Channel: 2})
	if f := appendFrame(a, after, 1200); len(f.refs) != 3 {
		t.Errorf("%d chunks, want the message and two copies", len(f.refs))
	}
	if got := a.Stats().RepeatedBytes; got != uint64(250-a.CopiesLeft()) {
		t.Errorf("%d bytes repeated, %d of 250 left", got, a.CopiesLeft())
	}
}

func TestTailIsRepeatedOnce(t *testing.T) {
	a, _ := newUrgentPair()
	one, two := sendTwo(t, a)
	if at, ok := a.Tail(); !ok || at != after {
		t.Fatalf("the tail was sent at %v, %v", at, ok)
	}
	a.RepeatTail()
	if _, ok := a.Tail(); ok {
		t.Error("the tail waits to be sent and is to be repeated")
	}
	if f := appendFrame(a, after+1, 1200); len(f.refs) != 2 {
		t.Errorf("%d chunks, want what the last frame held", len(f.refs))
	}
	if _, ok := a.Tail(); ok {
		t.Error("the tail is to be repeated again")
	}
	acked(a, after, one)
	acked(a, after, two)
	send(t, a, after, Message{Channel: 1})
	acked(a, after, appendFrame(a, after, 1200))
	if _, ok := a.Tail(); ok {
		t.Error("the tail is to be repeated though it has arrived")
	}
}
