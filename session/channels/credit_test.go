package channels

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

func TestSlowReaderBlocksOnlyItsChannel(t *testing.T) {
	a, b := newPair(Config{Window: 10_000, WindowMax: 10_000})
	for i := range 20 {
		send(t, a, 1, Message{Channel: 1, Data: body(uint32(i), 968)})
	}
	exchange(t, 1, a, b)
	if held := b.Stats().ReceiveHeld; held > 10_000 || held < 9_000 {
		t.Errorf("%d bytes held for a slow reader", held)
	}
	for i := range 20 {
		send(t, a, 1, Message{Channel: 2, Data: body(uint32(i), 968)})
		exchange(t, 1, a, b)
		wantReceived(t, b, 1, 2, string(body(uint32(i), 968)))
	}
	var got []string
	for len(got) < 20 {
		more := received(b, 1, 1)
		if len(more) == 0 {
			t.Fatalf("stuck after %d messages", len(got))
		}
		got = append(got, more...)
		exchange(t, 1, a, b)
	}
}

// TestMessagesLongerThanTheWindowComplete covers what a window alone would
// block for ever: messages longer than it, on both reliable modes of a channel
// at once, while other channels hold as much unread.
func TestMessagesLongerThanTheWindowComplete(t *testing.T) {
	const length = 50_000
	a, b := newPair(Config{MaxMessage: length, Window: 1024, WindowMax: 1024, SendBuffer: 10 << 20})
	channels := uint16(12)
	for ch := range channels {
		for mode := wire.Reliable; mode <= wire.Unordered; mode++ {
			send(t, a, 1, Message{Channel: ch, Mode: mode, Data: body(uint32(ch), length)})
		}
	}
	exchange(t, 1, a, b)
	if held := b.Stats().ReceiveHeld; held > extendedMax*2*length+1024*uint64(channels) {
		t.Errorf("%d bytes held", held)
	}
	done := 0
	for round := 0; done < 2*int(channels); round++ {
		if round > 100 {
			t.Fatalf("stuck with %d messages delivered", done)
		}
		for ch := range channels {
			done += len(received(b, 1, ch))
		}
		exchange(t, 1, a, b)
	}
	if b.extended > 0 {
		t.Errorf("%d channels still extended", b.extended)
	}
}

func TestCanceledLongMessagesGiveTheirReservationBack(t *testing.T) {
	const length = 50_000
	a, b := newPair(Config{MaxMessage: length, Window: 1024, WindowMax: 1024, SendBuffer: 10 << 20})
	for ch := range uint16(50) {
		id := send(t, a, 1, Message{Channel: ch, Data: body(1, length)})
		carry(t, 1, a, b)
		carry(t, 1, b, a)
		carry(t, 1, a, b)
		a.Cancel(1, id)
		exchange(t, 1, a, b)
	}
	send(t, a, 1, Message{Channel: 60, Data: body(2, length)})
	exchange(t, 1, a, b)
	wantReceived(t, b, 1, 60, string(body(2, length)))
}

func TestWindowGrowsForAFastReaderOfALongPath(t *testing.T) {
	run := func(first, size int, between time.Duration) int {
		a, b := newPair(Config{Window: 10_000, WindowMax: 100_000})
		b.SetPath(100*ms, 0, 1200)
		now := clock.Time(1)
		for i := range 200 {
			now = now.Add(between)
			n := first
			if i >= 100 {
				n = size
			}
			send(t, a, now, Message{Data: body(1, n)})
			exchange(t, now, a, b)
			received(b, now, 0)
			exchange(t, now, a, b)
		}
		return b.byID[0].window
	}
	if w := run(100, 3000, 10*ms); w != 100_000 {
		t.Errorf("window of a channel that fills it: %d", w)
	}
	if w := run(100, 3000, 1000*ms); w != windowTurns*(3000+MessageOverhead) {
		t.Errorf("window of a channel that needs a little more: %d", w)
	}
	if w := run(100, 1000, 1000*ms); w != 10_000 {
		t.Errorf("window of a channel that does not need it: %d", w)
	}
	if w := run(1000, 1000, 1000*ms); w != earlyTurns*(1000+MessageOverhead) {
		t.Errorf("window of a channel that may only have begun: %d", w)
	}
	if w := run(9000, 100, 1000*ms); w != earlyWindow*10_000 {
		t.Errorf("window of a channel that begins fast: %d", w)
	}
}

func TestLostCreditIsGrantedAgain(t *testing.T) {
	a, b := newPair(Config{Window: 1024, WindowMax: 1024})
	send(t, a, 1, Message{Data: body(1, 900)})
	send(t, a, 1, Message{Data: body(2, 900)})
	carry(t, 1, a, b)
	received(b, 1, 0)
	credit := appendFrame(b, 1, 1200)
	lost(b, 1, credit)
	lost(b, 1, credit)
	exchange(t, 1, a, b)
	wantReceived(t, b, 1, 0, string(body(2, 900)))
	exchange(t, 1, a, b)
	if lost(b, 1, credit); b.Pending() {
		t.Error("an outdated grant is repeated")
	}
}

func TestFloodOfEmptyMessagesIsHeldBack(t *testing.T) {
	a, b := newPair(Config{Window: 1024, WindowMax: 1024})
	for range 1000 {
		send(t, a, 1, Message{})
	}
	exchange(t, 1, a, b)
	if n := len(received(b, 1, 0)); n != 1024/MessageOverhead {
		t.Errorf("%d empty messages held", n)
	}
}

// TestPeerThatBreaksTheProtocolIsFound sends what no honest peer sends.
func TestPeerThatBreaksTheProtocolIsFound(t *testing.T) {
	message := func(m wire.Message) func(*Set) error {
		return func(s *Set) error { return s.HandleMessage(1, &m) }
	}
	whole := func(seq uint64, n int) func(*Set) error {
		return message(wire.Message{Seq: seq, Total: uint64(n), Data: make([]byte, n)})
	}
	fragment := func(off, total uint64, data string) func(*Set) error {
		return message(wire.Message{Fragment: true, Offset: off, Total: total, Data: []byte(data)})
	}
	pack := func(data string) func(*Set) error {
		return message(wire.Message{Packed: true, Total: uint64(len(data)), Data: []byte(data)})
	}
	packFragment := func(off uint64, data string) func(*Set) error {
		return message(wire.Message{Packed: true, Fragment: true, Offset: off, Total: 901, Data: []byte(data)})
	}
	skip := func(k wire.Skip) func(*Set) error {
		return func(s *Set) error { return s.HandleSkip(1, &k) }
	}
	tests := []struct {
		name  string
		steps []func(*Set) error
		want  error
	}{
		{"too long", []func(*Set) error{whole(0, 5001)}, errLength},
		{"huge total", []func(*Set) error{fragment(0, 0xffffffff, "x")}, errLength},
		{"beyond the credit", []func(*Set) error{whole(0, 1500), whole(1, 1500)}, errCredit},
		{"numbers beyond the credit", []func(*Set) error{whole(100, 0)}, errCredit},
		{"number beyond the window", []func(*Set) error{whole(NumberWindow, 0)}, errNumber},
		{"total changes", []func(*Set) error{fragment(0, 900, "ab"), fragment(2, 901, "cd")}, errTotal},
		{"becomes whole and short", []func(*Set) error{fragment(0, 900, "ab"), whole(0, 2)}, errTotal},
		{"other bytes", []func(*Set) error{fragment(0, 900, "abc"), fragment(1, 900, "bX")}, errOverlap},
		{"pack without messages", []func(*Set) error{message(wire.Message{Packed: true})}, errPack},
		{"message beyond its pack", []func(*Set) error{pack("\x02a")}, errPack},
		{"length beyond its pack", []func(*Set) error{pack("\x01a\x40")}, errPack},
		{"length that could be shorter", []func(*Set) error{pack("\x40\x01a")}, errPack},
		{"message beyond its pack, late", []func(*Set) error{packFragment(0, "\x01a"), packFragment(2, "\x44\x00")}, errPack},
		{"length beyond its pack, in two parts", []func(*Set) error{packFragment(0, "\x43\x82"+strings.Repeat("x", 898)), packFragment(900, "\x80")}, errPack},
		{"becomes a pack", []func(*Set) error{fragment(0, 901, "\x01a"), packFragment(2, "\x01b")}, errPack},
		{"slivers", []func(*Set) error{
			fragment(10, 900, "a"), fragment(20, 900, "a"), fragment(30, 900, "a"),
			fragment(40, 900, "a"), fragment(50, 900, "a"),
		}, errFragments},
		{"skip below what was sent", []func(*Set) error{fragment(10, 900, "abc"), skip(wire.Skip{Sent: MessageOverhead + 12})}, errSkip},
		{"skip beyond the message", []func(*Set) error{fragment(10, 900, "abc"), skip(wire.Skip{Sent: MessageOverhead + 901})}, errSkip},
		{"skip of what never began", []func(*Set) error{skip(wire.Skip{Sent: 0})}, errSkip},
		{"skip of an unreliable message", []func(*Set) error{skip(wire.Skip{Mode: wire.Unreliable, Sent: MessageOverhead})}, errSkip},
		{"skip beyond the credit", []func(*Set) error{skip(wire.Skip{Sent: 3000})}, errCredit},
		{"read of nothing", []func(*Set) error{func(s *Set) error { return s.HandleRead(1, &wire.Read{}) }}, errRead},
		{"credit for nothing", []func(*Set) error{func(s *Set) error { return s.HandleCredit(1, &wire.Credit{}) }}, errCreditChannel},
		{"long unreliable", []func(*Set) error{message(wire.Message{Mode: wire.Unreliable, Fragment: true, Total: MaxUnreliable + 1, Data: []byte("x")})}, errLength},
		{"too many channels", []func(*Set) error{
			message(wire.Message{Channel: 1}), message(wire.Message{Channel: 2}),
			message(wire.Message{Channel: 3}), message(wire.Message{Channel: 4}),
		}, errChannels},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := New(Config{MaxMessage: 5000, Window: 2000, WindowMax: 2000, MaxChannels: 3})
			s.SetPeer(5000, 2000)
			last := len(test.steps) - 1
			for _, step := range test.steps[:last] {
				if err := step(s); err != nil {
					t.Fatal(err)
				}
				check(t, s)
			}
			if err := test.steps[last](s); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			check(t, s)
		})
	}
}

func TestMemoryFollowsWhatArrivedAndNotWhatWasDeclared(t *testing.T) {
	s := New(Config{})
	heap := func() (n int) {
		for _, in := range s.byID[0].in[wire.Unordered].open {
			for _, g := range in.segs {
				n += cap(g.data)
			}
		}
		return n
	}
	for i := range uint64(1000) {
		m := wire.Message{Mode: wire.Unordered, Seq: i, Fragment: true, Offset: 1000, Total: 16 << 20, Data: []byte("x")}
		if err := s.HandleMessage(1, &m); err != nil {
			t.Fatal(err)
		}
	}
	if n := heap(); n > 1000*64 {
		t.Errorf("%d bytes of buffers for 1000 bytes received", n)
	}
}

func TestHalfBuiltUnreliableMessagesAreBounded(t *testing.T) {
	s := New(Config{})
	part := func(seq, off uint64) {
		m := wire.Message{Mode: wire.Unreliable, Seq: seq, Fragment: true, Offset: off, Total: 2, Data: []byte("x")}
		if err := s.HandleMessage(1, &m); err != nil {
			t.Fatal(err)
		}
		check(t, s)
	}
	for seq := range uint64(1000) {
		part(seq, 0)
	}
	for seq := range uint64(1000) {
		part(seq, 1)
	}
	if n := len(received(s, 1, 0)); n != partialsMax {
		t.Errorf("%d messages completed, want the newest %d", n, partialsMax)
	}
}

// TestUnfinishedMessageDoesNotOpenTheChannelForMore has a peer that never
// finishes a long reliable message, so that its channel stays extended, and
// meanwhile sends long unordered ones that nobody reads.
func TestUnfinishedMessageDoesNotOpenTheChannelForMore(t *testing.T) {
	const length = 50_000
	s := New(Config{MaxMessage: length, Window: 1024, WindowMax: 1024})
	part := wire.Message{Fragment: true, Total: length, Data: []byte("x")}
	if err := s.HandleMessage(1, &part); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(0); ; seq++ {
		for off := uint64(0); off < length; off += 400 {
			m := wire.Message{Mode: wire.Unordered, Seq: seq, Fragment: true, Offset: off, Total: length, Data: make([]byte, 400)}
			if err := s.HandleMessage(1, &m); err != nil {
				if held := s.Stats().ReceiveHeld; held < length || held > 2*length+1024 {
					t.Errorf("%d bytes held: %v", held, err)
				}
				return
			}
			check(t, s)
		}
	}
}

func TestOldUnreliableNumbersAreForgotten(t *testing.T) {
	s := New(Config{})
	for _, seq := range []uint64{0, 5, 1000, 1_000_000, 1<<62 - 1, 1 << 61, 7} {
		m := wire.Message{Mode: wire.Unreliable, Seq: seq}
		for range 2 {
			if err := s.HandleMessage(1, &m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(received(s, 1, 0)); n != 5 {
		t.Errorf("%d delivered, want those not more than %d behind, once", n, seenMax)
	}
	if n := len(s.byID[0].seen.words); n > 2*seenMax/64 {
		t.Errorf("%d words to remember %d numbers", n, seenMax)
	}
}

// A second handshake may take over and grant less than was used under the first.
func TestCreditThatWasUsedIsKeptWhenAHandshakeTakesOver(t *testing.T) {
	s := New(Config{})
	s.SetPeer(1<<20, 1<<16)
	for range 2 {
		if _, err := s.Send(1, &Message{Data: make([]byte, 400)}); err != nil {
			t.Fatal(err)
		}
		s.Append(1, nil, 1200, nil)
	}
	s.SetPeer(1<<20, 100)
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if _, err := s.Send(1, &Message{Data: make([]byte, 400)}); err != nil {
		t.Fatal(err)
	}
	if b, _ := s.Append(1, nil, 1200, nil); len(b) > 0 {
		t.Errorf("%d bytes were sent without credit", len(b))
	}
}

// What was refused for want of room may be sent as soon as the path turns out to carry
// more: nothing need be acknowledged before.
func TestLargerSendBufferLetsSendersGoOn(t *testing.T) {
	a, _ := newPair(Config{})
	for {
		if _, err := a.Send(1, &Message{Data: body(1, 60_000)}); err == ErrWouldBlock {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	a.SetPath(100*ms, SendBufferMin/2, 1200)
	if a.TakeWritable() {
		t.Error("writable, with the buffer as it was")
	}
	a.SetPath(100*ms, SendBufferMin, 1200)
	if !a.TakeWritable() {
		t.Error("not writable, with twice the buffer")
	}
}
