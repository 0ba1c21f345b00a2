package channels

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// bytesByChannel fills n frames and adds up what each channel got.
func bytesByChannel(s *Set, n int) map[uint16]int {
	got := map[uint16]int{}
	for range n {
		for _, ref := range appendFrame(s, 1, 1200).refs {
			got[ref.Channel] += int(ref.Len)
		}
	}
	return got
}

func unlimited() *Set {
	s := New(Config{SendBuffer: 1 << 30})
	s.SetPeer(16<<20, 1<<30)
	return s
}

func TestEqualChannelsShareByWeight(t *testing.T) {
	s := unlimited()
	s.Configure(2, Options{Weight: 3})
	for ch := range uint16(3) {
		for range 10 {
			send(t, s, 1, Message{Channel: ch, Data: make([]byte, 100_000*(1+int(ch)))})
		}
	}
	got := bytesByChannel(s, 500)
	for ch, share := range []int{1, 1, 3} {
		if want := 500 * 1175 * share / 5; got[uint16(ch)] < want*97/100 || got[uint16(ch)] > want*103/100 {
			t.Errorf("channel %d got %d bytes, want %d", ch, got[uint16(ch)], want)
		}
	}
}

func TestHigherPriorityGoesFirst(t *testing.T) {
	s := unlimited()
	s.Configure(1, Options{Priority: 5})
	s.Configure(2, Options{Priority: -5})
	for ch := range uint16(3) {
		send(t, s, 1, Message{Channel: ch, Data: make([]byte, 11_000)})
	}
	var order []uint16
	for s.Pending() {
		for _, ref := range appendFrame(s, 1, 1200).refs {
			if n := len(order); n == 0 || order[n-1] != ref.Channel {
				order = append(order, ref.Channel)
			}
		}
	}
	if len(order) != 3 || order[0] != 1 || order[1] != 0 || order[2] != 2 {
		t.Errorf("order %v", order)
	}
}

func TestSmallMessageDoesNotWaitForALongOne(t *testing.T) {
	s := unlimited()
	send(t, s, 1, Message{Channel: 0, Data: make([]byte, 1<<20)})
	bytesByChannel(s, 100)
	send(t, s, 1, Message{Channel: 1, Data: make([]byte, 100)})
	send(t, s, 1, Message{Channel: 0, Mode: wire.Unreliable, Data: make([]byte, 100)})
	refs := appendFrame(s, 1, 1200).refs
	refs = append(refs, appendFrame(s, 1, 1200).refs...)
	small := 0
	for _, ref := range refs {
		if ref.Len == 100 {
			small++
		}
	}
	if small != 2 {
		t.Errorf("the next two frames carry %+v", refs)
	}
}

func TestSilentChannelSavesUpNoShare(t *testing.T) {
	s := unlimited()
	send(t, s, 1, Message{Channel: 1})
	send(t, s, 1, Message{Channel: 0, Data: make([]byte, 2<<20)})
	bytesByChannel(s, 500)
	send(t, s, 1, Message{Channel: 1, Data: make([]byte, 1<<20)})
	if got := bytesByChannel(s, 100); got[0] < 50*1100 {
		t.Errorf("shares %v", got)
	}
}

func TestLostBytesGoBeforeNewOnes(t *testing.T) {
	s := unlimited()
	send(t, s, 1, Message{Data: make([]byte, 10_000)})
	first := appendFrame(s, 1, 1200)
	appendFrame(s, 1, 1200)
	lost(s, 1, first)
	if ref := appendFrame(s, 1, 1200).refs[0]; ref.Off != 0 {
		t.Errorf("sent %+v", ref)
	}
	if ref := appendFrame(s, 1, 1200).refs[0]; ref.Off < 2000 {
		t.Errorf("then %+v", ref)
	}
}

func TestSmallMessagesShareAFrame(t *testing.T) {
	s := unlimited()
	for range 100 {
		send(t, s, 1, Message{Mode: wire.Unreliable, Data: make([]byte, 20)})
	}
	f := appendFrame(s, 1, 1200)
	if len(f.refs) < 1200/24-1 {
		t.Errorf("%d messages of 20 bytes in a frame of 1200", len(f.refs))
	}
}

func TestUnreliableMessageIsNotCutToFillAFrame(t *testing.T) {
	s := unlimited()
	for range 2 {
		send(t, s, 1, Message{Mode: wire.Unreliable, Data: make([]byte, 800)})
	}
	for range 2 {
		refs := appendFrame(s, 1, 1200).refs
		if len(refs) != 1 || refs[0].Len != 800 {
			t.Errorf("%+v", refs)
		}
	}
}

func TestAppendStaysWithinEveryLimit(t *testing.T) {
	for limit := range 400 {
		a, b := newPair(Config{MaxMessage: 100_000})
		for i, n := range []int{0, 63, 64, 65, 127, 129, 150, 200, 1000, 16_383, 70_000} {
			send(t, a, 1, Message{Channel: uint16(i * 6000), Data: make([]byte, n), Mode: wire.Mode(i % 2)})
		}
		b0 := make([]byte, 0, 512)
		for range 40 {
			var refs []recovery.Ref
			b0, refs = a.Append(1, b0[:0], limit, nil)
			if len(b0) > limit {
				t.Fatalf("%d bytes, limit %d", len(b0), limit)
			}
			if limit >= RoomMin && a.Pending() && len(refs) == 0 {
				t.Fatalf("no progress in %d bytes", limit)
			}
			if err := handleFrame(b, 1, b0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLowLatencyAsksForAcksAtOnce(t *testing.T) {
	s := unlimited()
	s.Configure(0, Options{LowLatency: true})
	send(t, s, 1, Message{Data: []byte("x")})
	var c wire.Chunk
	if _, err := wire.ConsumeChunk(appendFrame(s, 1, 1200).chunks, &c); err != nil || !c.Message.Urgent {
		t.Errorf("%v %v", &c, err)
	}
}
