package channels

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

func TestReceiptsTellStoredFromRead(t *testing.T) {
	for mode := wire.Reliable; mode <= wire.Sequenced; mode++ {
		a, b := newPair(Config{})
		id := send(t, a, 1, Message{Mode: mode, Data: []byte("x"), Receipt: true})
		exchange(t, 1, a, b)
		wantFates(t, outcomes(a), id, Stored)
		wantReceived(t, b, 1, 0, "x")
		exchange(t, 1, a, b)
		wantFates(t, outcomes(a), id, Read)
	}
}

func TestReadImpliesStoredWhenTheAckIsLost(t *testing.T) {
	a, b := newPair(Config{})
	id := send(t, a, 1, Message{Data: []byte("x"), Receipt: true})
	f := appendFrame(a, 1, 1200)
	if err := handleFrame(b, 1, f.chunks); err != nil {
		t.Fatal(err)
	}
	wantReceived(t, b, 1, 0, "x")
	carry(t, 1, b, a)
	wantFates(t, outcomes(a), id, Stored, Read)
	acked(a, 1, f)
	lost(a, 1, f)
	if len(outcomes(a)) > 0 || a.Pending() {
		t.Error("a late acknowledgement, or loss, changed something")
	}
}

func TestWithoutReceiptOnlyFailuresAreReported(t *testing.T) {
	a, b := newPair(Config{})
	send(t, a, 1, Message{Data: []byte("x")})
	exchange(t, 1, a, b)
	wantReceived(t, b, 1, 0, "x")
	exchange(t, 1, a, b)
	if got := outcomes(a); len(got) > 0 {
		t.Errorf("reported %v", got)
	}
}

func TestLostUnreliableMessageIsReportedAndNotSentAgain(t *testing.T) {
	a, _ := newPair(Config{})
	id := send(t, a, 1, Message{Mode: wire.Unreliable, Data: body(1, 3000), Receipt: true})
	first := appendFrame(a, 1, 1200)
	lost(a, 1, first)
	wantFates(t, outcomes(a), id, Lost)
	if a.Pending() {
		t.Error("the rest of a lost message is still sent")
	}
	acked(a, 1, first)
	check(t, a)
}

func TestSpuriousLossIsNotSentAgain(t *testing.T) {
	a, _ := newPair(Config{})
	id := send(t, a, 1, Message{Data: body(1, 3000), Receipt: true})
	var frames []frame
	for a.Pending() {
		frames = append(frames, appendFrame(a, 1, 1200))
	}
	for _, f := range frames {
		lost(a, 1, f)
		lost(a, 1, f)
	}
	for _, f := range frames {
		acked(a, 1, f)
	}
	check(t, a)
	if a.Pending() {
		t.Error("bytes that have arrived would be sent again")
	}
	wantFates(t, outcomes(a), id, Stored)
}

func TestAbortLeavesNoMessageUnresolved(t *testing.T) {
	a, b := newPair(Config{})
	stored := send(t, a, 1, Message{Data: []byte("x"), Receipt: true})
	exchange(t, 1, a, b)
	flying := send(t, a, 1, Message{Data: body(1, 3000)})
	appendFrame(a, 1, 1200)
	canceled := send(t, a, 1, Message{Data: []byte("y")})
	a.Cancel(1, canceled)
	datagram := send(t, a, 1, Message{Mode: wire.Unreliable})
	a.Abort()
	got := outcomes(a)
	wantFates(t, got, stored, Stored)
	wantFates(t, got, flying, Unknown)
	wantFates(t, got, canceled, Canceled)
	wantFates(t, got, datagram, Unknown)
	check(t, a)
	if a.Pending() || !a.Drained() {
		t.Error("an aborted set has something to send")
	}
}

// TestWithdrawal tries every way to withdraw a message, in every state that it
// can be in, for every mode.
func TestWithdrawal(t *testing.T) {
	type state int
	const (
		queued state = iota
		partly       // sent, and lost
		wholly       // sent, and lost
	)
	ways := map[Fate]func(t *testing.T, a *Set, id MessageID, m Message){
		Canceled: func(t *testing.T, a *Set, id MessageID, _ Message) {
			a.Cancel(2, id)
		},
		Expired: func(t *testing.T, a *Set, _ MessageID, _ Message) {
			if d := a.Deadline(); d != 10 && d != clock.Never {
				t.Errorf("deadline %d", d)
			}
			a.HandleTimeout(10)
		},
		Superseded: func(t *testing.T, a *Set, _ MessageID, m Message) {
			m.Data = []byte("newer")
			send(t, a, 2, m)
		},
	}
	tests := []struct {
		mode       wire.Mode
		state      state
		fate       Fate
		withdrawn  bool
		wantOnWire bool // a SKIP
	}{
		{wire.Reliable, queued, Canceled, true, false},
		{wire.Reliable, partly, Canceled, true, true},
		{wire.Reliable, wholly, Canceled, true, true},
		{wire.Reliable, queued, Expired, true, false},
		{wire.Reliable, partly, Expired, true, true},
		{wire.Reliable, wholly, Expired, true, true},
		{wire.Reliable, queued, Superseded, true, false},
		{wire.Reliable, partly, Superseded, false, false},
		{wire.Reliable, wholly, Superseded, false, false},
		{wire.Unordered, queued, Canceled, true, false},
		{wire.Unordered, partly, Canceled, true, true},
		{wire.Unordered, wholly, Expired, true, true},
		{wire.Unordered, queued, Superseded, true, false},
		{wire.Unordered, partly, Superseded, true, true},
		{wire.Unordered, wholly, Superseded, true, true},
		{wire.Unreliable, queued, Canceled, true, false},
		{wire.Unreliable, partly, Canceled, true, false},
		{wire.Unreliable, wholly, Canceled, false, false},
		{wire.Unreliable, partly, Expired, true, false},
		{wire.Unreliable, wholly, Expired, false, false},
		{wire.Sequenced, queued, Superseded, true, false},
		{wire.Sequenced, partly, Superseded, true, false},
		{wire.Sequenced, wholly, Superseded, false, false},
	}
	for _, test := range tests {
		t.Run(test.mode.String()+"/"+test.fate.String()+"/"+[]string{"queued", "partly", "wholly"}[test.state], func(t *testing.T) {
			a, b := newPair(Config{})
			m := Message{Mode: test.mode, Key: 7, Deadline: 10, Data: body(1, 2000), Receipt: true}
			id := send(t, a, 1, m)
			for range int(test.state) {
				f := appendFrame(a, 1, 1200)
				if reliable(test.mode) {
					lost(a, 1, f)
				}
			}
			m.Deadline = 0
			ways[test.fate](t, a, id, m)
			check(t, a)
			var want []Fate
			if test.withdrawn {
				want = []Fate{test.fate}
			}
			wantFates(t, outcomes(a), id, want...)
			skip := false
			for _, ref := range appendFrame(a, 2, 1200).refs {
				skip = skip || ref.Kind == wire.TypeSkip
			}
			if skip != test.wantOnWire {
				t.Errorf("SKIP sent: %v", skip)
			}
			check(t, a, b)
		})
	}
}

func TestOrderGoesOnAfterASkip(t *testing.T) {
	a, b := newPair(Config{})
	hole := send(t, a, 1, Message{Data: body(1, 500)})
	lost(a, 1, appendFrame(a, 1, 1200))
	a.Cancel(1, hole)
	send(t, a, 1, Message{Data: []byte("after")})
	lost(a, 1, appendFrame(a, 1, 1200)) // the SKIP is sent again until it arrives
	if a.Drained() {
		t.Error("drained, though the peer may wait for a message that does not come")
	}
	exchange(t, 1, a, b)
	wantReceived(t, b, 1, 0, "after")
	if !a.Drained() {
		t.Error("not drained")
	}
}

func TestSkipOfACompleteMessageLeavesIt(t *testing.T) {
	a, b := newPair(Config{})
	id := send(t, a, 1, Message{Data: []byte("x")})
	f := appendFrame(a, 1, 1200)
	if err := handleFrame(b, 1, f.chunks); err != nil {
		t.Fatal(err)
	}
	a.Cancel(1, id)
	exchange(t, 1, a, b)
	wantReceived(t, b, 1, 0, "x")
}

func TestFragmentsAfterASkipAreIgnored(t *testing.T) {
	for _, mode := range []wire.Mode{wire.Reliable, wire.Unordered} {
		a, b := newPair(Config{})
		send(t, a, 1, Message{Mode: mode, Data: body(0, 500)})
		held := appendFrame(a, 1, 1200)
		id := send(t, a, 1, Message{Mode: mode, Data: body(1, 2000)})
		first, second := appendFrame(a, 1, 1200), appendFrame(a, 1, 1200)
		if err := handleFrame(b, 1, first.chunks); err != nil {
			t.Fatal(err)
		}
		a.Cancel(1, id)
		exchange(t, 1, a, b)
		for _, f := range []frame{second, first} {
			if err := handleFrame(b, 1, f.chunks); err != nil {
				t.Fatal(err)
			}
			check(t, b)
		}
		if err := handleFrame(b, 1, held.chunks); err != nil {
			t.Fatal(err)
		}
		check(t, b)
		wantReceived(t, b, 1, 0, string(body(0, 500)))
	}
}

func TestSupersedingKeepsOrWaivesThePlaceInTheQueue(t *testing.T) {
	for mode, want := range [][]string{
		wire.Reliable:   {"other", "new"},
		wire.Unordered:  {"new", "other"},
		wire.Unreliable: {"new", "other"},
		wire.Sequenced:  {"new", "other"},
	} {
		a, b := newPair(Config{})
		send(t, a, 1, Message{Mode: wire.Mode(mode), Key: 1, Data: []byte("old")})
		send(t, a, 1, Message{Mode: wire.Mode(mode), Key: 2, Data: []byte("other")})
		send(t, a, 1, Message{Mode: wire.Mode(mode), Key: 1, Data: []byte("new")})
		exchange(t, 1, a, b)
		wantReceived(t, b, 1, 0, want...)
	}
}

func TestFullSendBufferBlocksAndSignalsOnce(t *testing.T) {
	a, b := newPair(Config{SendBuffer: 10_000})
	var last error
	n := 0
	for ; last == nil; n++ {
		_, last = a.Send(1, &Message{Data: body(1, 968)})
	}
	if !errors.Is(last, ErrWouldBlock) || n != 11 {
		t.Fatalf("send %d: %v", n, last)
	}
	if _, err := a.Send(1, &Message{Mode: wire.Unreliable, Data: []byte("x")}); err != nil {
		t.Errorf("an unreliable message: %v", err)
	}
	if a.TakeWritable() {
		t.Error("writable at once")
	}
	exchange(t, 1, a, b)
	if !a.TakeWritable() || a.TakeWritable() {
		t.Error("writable is not signalled exactly once")
	}
}

func TestUnreliableQueueDropsItsOldest(t *testing.T) {
	a, b := newPair(Config{})
	first := send(t, a, 1, Message{Mode: wire.Unreliable, Data: []byte("0")})
	for range unsentMessages {
		send(t, a, 1, Message{Mode: wire.Unreliable, Channel: 1, Data: []byte("1")})
	}
	wantFates(t, outcomes(a), first, Lost)
	exchange(t, 1, a, b)
	wantReceived(t, b, 1, 0)
	if n := len(received(b, 1, 1)); n != unsentMessages {
		t.Errorf("%d messages", n)
	}
	for range unreadMessages + 5 {
		send(t, a, 1, Message{Mode: wire.Sequenced, Data: []byte("1")})
		exchange(t, 1, a, b)
	}
	if st := b.Stats(); st.DroppedUnread != 5 {
		t.Errorf("%d unread messages dropped", st.DroppedUnread)
	}
}

func TestSendRefusesWhatThePeerWouldNotTake(t *testing.T) {
	a := New(Config{})
	queued := send(t, a, 1, Message{Data: make([]byte, 2000)})
	fits := send(t, a, 1, Message{Data: make([]byte, 1000)})
	a.SetPeer(1000, 1<<20)
	got := outcomes(a)
	wantFates(t, got, queued, Refused)
	wantFates(t, got, fits)
	for _, test := range []struct {
		m    Message
		want error
	}{
		{Message{Data: make([]byte, 1001)}, ErrTooLarge},
		{Message{Data: make([]byte, 1000)}, nil},
		{Message{Mode: 4}, ErrMode},
	} {
		if _, err := a.Send(1, &test.m); !errors.Is(err, test.want) {
			t.Errorf("%d bytes %v: %v", len(test.m.Data), test.m.Mode, err)
		}
	}
	b, _ := newPair(Config{})
	if _, err := b.Send(1, &Message{Mode: wire.Unreliable, Data: make([]byte, MaxUnreliable+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("long unreliable message: %v", err)
	}
	for ch := range uint16(DefaultMaxChannels) {
		send(t, b, 1, Message{Channel: ch})
	}
	if _, err := b.Send(1, &Message{Channel: DefaultMaxChannels}); !errors.Is(err, ErrTooManyChannels) {
		t.Errorf("one channel too many: %v", err)
	}
}

func TestMessagesOfEveryLengthArrive(t *testing.T) {
	const most = 300_000
	for mode := wire.Reliable; mode <= wire.Sequenced; mode++ {
		a, b := newPair(Config{MaxMessage: most, Window: 4096, WindowMax: 8192})
		for _, n := range []int{0, 1, 63, 64, 65, 1180, 1190, 1200, 2400, MaxUnreliable, MaxUnreliable + 1, most} {
			if !reliable(mode) && n > MaxUnreliable {
				continue
			}
			send(t, a, 1, Message{Mode: mode, Data: body(uint32(n), n)})
			exchange(t, 1, a, b)
			r, ok := b.Recv(1, 0)
			if !ok || !bytes.Equal(r.Data, body(uint32(n), n)) || r.Mode != mode {
				t.Fatalf("%v: %d bytes did not arrive", mode, n)
			}
			exchange(t, 1, a, b)
		}
	}
}

func TestRecvIntoLeavesWhatDoesNotFit(t *testing.T) {
	a, b := newPair(Config{})
	send(t, a, 1, Message{Mode: wire.Unordered, Data: []byte("hello")})
	exchange(t, 1, a, b)
	var buf [5]byte
	if n, _, ok, err := b.RecvInto(1, 0, buf[:4]); n != 5 || ok || !errors.Is(err, ErrShortBuffer) {
		t.Errorf("%d %v %v", n, ok, err)
	}
	if n, mode, ok, err := b.RecvInto(1, 0, buf[:]); n != 5 || mode != wire.Unordered || !ok || err != nil || string(buf[:]) != "hello" {
		t.Errorf("%d %v %v %v %q", n, mode, ok, err, buf)
	}
	if _, _, ok, err := b.RecvInto(1, 0, buf[:]); ok || err != nil {
		t.Errorf("nothing left, but %v %v", ok, err)
	}
}

func TestReadableIsReportedOncePerBurst(t *testing.T) {
	a, b := newPair(Config{})
	for range 3 {
		send(t, a, 1, Message{Channel: 9, Data: []byte("x")})
	}
	exchange(t, 1, a, b)
	if ch, ok := b.NextReadable(); ch != 9 || !ok {
		t.Fatalf("%d %v", ch, ok)
	}
	if _, ok := b.NextReadable(); ok {
		t.Error("reported twice")
	}
	wantReceived(t, b, 1, 9, "x", "x", "x")
	send(t, a, 1, Message{Channel: 9})
	exchange(t, 1, a, b)
	if ch, ok := b.NextReadable(); ch != 9 || !ok {
		t.Errorf("second burst: %d %v", ch, ok)
	}
}

func TestNewerSequencedMessageOvertakes(t *testing.T) {
	a, b := newPair(Config{})
	send(t, a, 1, Message{Mode: wire.Sequenced, Data: body(1, 1500)})
	older := []frame{appendFrame(a, 1, 1200), appendFrame(a, 1, 1200)}
	send(t, a, 1, Message{Mode: wire.Sequenced, Data: []byte("new")})
	newer := appendFrame(a, 1, 1200)
	for _, f := range []frame{older[0], newer, older[1], newer} {
		if err := handleFrame(b, 1, f.chunks); err != nil {
			t.Fatal(err)
		}
		check(t, b)
	}
	wantReceived(t, b, 1, 0, "new")
	if b.partials.n != 0 {
		t.Error("a half-built message was kept though it was overtaken")
	}
}

func TestLostCopyOfArrivedBytesIsNotSentAgain(t *testing.T) {
	a, _ := newPair(Config{})
	send(t, a, 1, Message{Data: body(1, 3000)})
	original := appendFrame(a, 1, 1200)
	for range 2 {
		appendFrame(a, 1, 1200)
	}
	lost(a, 1, original)
	again := appendFrame(a, 1, 1200)
	acked(a, 1, original)
	lost(a, 1, again)
	check(t, a)
	if a.Pending() {
		t.Error("bytes that have arrived would be sent again")
	}
}

func TestNumbersInFlightAreBounded(t *testing.T) {
	a := New(Config{SendBuffer: 1 << 30})
	a.SetPeer(1000, 1<<30)
	for range NumberWindow + 1 {
		send(t, a, 1, Message{})
	}
	var first frame
	for a.Pending() {
		f := appendFrame(a, 1, 1200)
		if first.refs == nil {
			first = f
		}
	}
	if n := a.byID[0].out[wire.Reliable].next; n != NumberWindow {
		t.Errorf("%d messages numbered", n)
	}
	if acked(a, 1, first); !a.Pending() {
		t.Error("nothing follows though the oldest are stored")
	}
	check(t, a)
}

func TestFullChannelDoesNotHoldUpTheSendersOfOthers(t *testing.T) {
	a, _ := newPair(Config{SendBuffer: 10_000})
	full := &Message{Channel: 1, Data: make([]byte, 1000)}
	for {
		if _, err := a.Send(0, full); err == ErrWouldBlock {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Send(0, &Message{Channel: 2, Data: make([]byte, 1000)}); err != nil {
		t.Errorf("another channel: %v", err)
	}
	if err := a.Check(); err != nil {
		t.Error(err)
	}
}

// Who asks to wait loses nothing to a full queue, and is told once half of it has
// gone, or at once when there is no use in waiting.
func TestUnreliableMessageMayWaitForRoom(t *testing.T) {
	m := Message{Mode: wire.Unreliable, Channel: 1, Data: []byte("1"), Wait: true}
	fill := func(a *Set) {
		t.Helper()
		for range unsentMessages {
			if _, err := a.Send(1, &m); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Send(1, &m); !errors.Is(err, ErrWouldBlock) {
			t.Fatalf("into a full queue: %v", err)
		}
		if a.TakeWritable() {
			t.Fatal("writable while it is full")
		}
	}
	a, b := newPair(Config{})
	fill(a)
	exchange(t, 1, a, b)
	if !a.TakeWritable() || a.TakeWritable() {
		t.Error("room is not told exactly once")
	}
	if n := len(received(b, 1, 1)); n != unsentMessages {
		t.Errorf("%d messages arrived, want all %d", n, unsentMessages)
	}
	fill(a)
	if a.NoWait(); !a.TakeWritable() {
		t.Error("whoever waits is not told to go on")
	}
	for _, mode := range []wire.Mode{wire.Unreliable, wire.Sequenced} {
		last := m
		last.Mode, last.Wait = mode, mode == wire.Sequenced
		if _, err := a.Send(1, &last); err != nil {
			t.Errorf("%v: %v", mode, err)
		}
	}
}

// What may wait in the sender follows what the path takes.
func TestSendBufferFollowsTheCongestionWindow(t *testing.T) {
	takes := func(window int) (n int) {
		a, _ := newPair(Config{})
		a.SetPath(20*ms, window, 1200)
		for {
			if _, err := a.Send(1, &Message{Data: make([]byte, 1<<10)}); err != nil {
				return n >> 10
			}
			n += 1<<10 + MessageOverhead
		}
	}
	for window, want := range map[int]int{0: 256, 1 << 20: 2048, 1 << 30: 4096} {
		if got := takes(window); got != want {
			t.Errorf("with a window of %d bytes it takes %d KiB, want %d", window, got, want)
		}
	}
}

// Two chunks are taken for one only if they are pieces of one message, end to end.
func TestOnlyPiecesEndToEndAreJoined(t *testing.T) {
	a := recovery.Ref{Kind: wire.TypeMessage, Mode: wire.Reliable, Channel: 1, Seq: 2, Off: 100, Len: 50}
	for _, test := range []struct {
		what   string
		change func(b *recovery.Ref)
		want   bool
	}{
		{"the next piece", func(*recovery.Ref) {}, true},
		{"a piece further on", func(b *recovery.Ref) { b.Off++ }, false},
		{"the piece before", func(b *recovery.Ref) { b.Off = 50 }, false},
		{"a piece of another message", func(b *recovery.Ref) { b.Seq++ }, false},
		{"a piece of another mode's message", func(b *recovery.Ref) { b.Mode = wire.Unordered }, false},
		{"a piece of another channel's message", func(b *recovery.Ref) { b.Channel++ }, false},
		{"another kind of chunk", func(b *recovery.Ref) { b.Kind = wire.TypeSkip }, false},
	} {
		both, b, want := a, a, a
		b.Off = a.Off + a.Len
		test.change(&b)
		if test.want {
			want.Len += b.Len
		}
		if got := Join(&both, &b); got != test.want || both != want {
			t.Errorf("%s: %v, and %+v in place of %+v", test.what, got, both, want)
		}
	}
	skip := recovery.Ref{Kind: wire.TypeSkip, Seq: 2}
	if again := skip; Join(&skip, &again) {
		t.Error("a chunk that carries no bytes is joined with itself")
	}
	if empty, again := (recovery.Ref{Kind: wire.TypeMessage}), (recovery.Ref{Kind: wire.TypeMessage}); Join(&empty, &again) {
		t.Error("an empty message is joined with its copy")
	}
}
