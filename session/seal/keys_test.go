package seal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

var dst = wire.ConnID{1, 2, 3, 4, 5, 6, 7, 8}

// An end is one side of a session as far as this package goes.
type end struct {
	t        testing.TB
	keys     *Keys
	next     uint64 // packet number
	largest  uint64
	received bool
}

// newPair returns both ends of a session with fixed secrets.
func newPair(t testing.TB, useAES bool) (a, b *end) {
	one, two := [32]byte{1}, [32]byte{2}
	a = &end{t: t, keys: New(one, two, useAES)}
	b = &end{t: t, keys: New(two, one, useAES)}
	a.keys.SetOldKeysExpiry(oldKeysKept)
	b.keys.SetOldKeysExpiry(oldKeysKept)
	return a, b
}

const oldKeysKept = 300 * time.Millisecond

// eachCipher runs a test under both.
func eachCipher(t *testing.T, f func(t *testing.T, useAES bool)) {
	t.Run("AES", func(t *testing.T) { f(t, true) })
	t.Run("ChaCha", func(t *testing.T) { f(t, false) })
}

// sealAs seals a frame with the packet number pn.
func (e *end) sealAs(pn uint64, pnLen int, payload string) []byte {
	header := wire.AppendDataHeader(nil, dst, e.keys.Phase(), pn, pnLen)
	e.next = pn + 1
	return e.keys.Seal(header, []byte(payload), pn)
}

// seal seals the next frame; its payload is its packet number.
func (e *end) seal() []byte { return e.sealAs(e.next, 4, payloadOf(e.next)) }

func payloadOf(pn uint64) string { return fmt.Sprintf("frame %d", pn) }

// open opens a copy of frame, and fails the test unless the outcome is want.
func (e *end) open(now clock.Time, frame []byte, want error) {
	e.t.Helper()
	pn, payload, err := e.keys.Open(now, bytes.Clone(frame), e.largest, e.received)
	if !errors.Is(err, want) {
		e.t.Fatalf("open: error %v, want %v", err, want)
	}
	if err != nil {
		return
	}
	if string(payload) != payloadOf(pn) {
		e.t.Fatalf("packet %d holds %q", pn, payload)
	}
	e.largest = max(e.largest, pn)
	e.received = true
}

// pass carries one frame from e to another end and its acknowledgement back.
func (e *end) pass(now clock.Time, to *end) {
	e.t.Helper()
	pn := e.next
	to.open(now, e.seal(), nil)
	e.open(now, to.seal(), nil)
	e.keys.OnAck(pn)
	to.keys.OnAck(to.next - 1)
}

func TestFrameOpensToWhatWasSealed(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		for pnLen := 1; pnLen <= wire.MaxPNLen; pnLen++ {
			for _, size := range []int{wire.MaxPNLen, 5, 100, 1200, 65000} {
				a, b := newPair(t, useAES)
				want := strings.Repeat("x", size)
				frame := a.sealAs(7, pnLen, want)
				if len(frame) != wire.DataHeaderLen+pnLen+size+wire.TagLen {
					t.Fatalf("sealed length %d", len(frame))
				}
				pn, payload, err := b.keys.Open(0, frame, 0, false)
				if pn != 7 || string(payload) != want || err != nil {
					t.Fatalf("pnLen %d size %d: got %d, %d bytes, %v", pnLen, size, pn, len(payload), err)
				}
			}
		}
	})
}

func TestSealedFrameHidesPacketNumberAndPhase(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, _ := newPair(t, useAES)
		hidden := make(map[byte]bool)
		for range 64 {
			hidden[a.seal()[0]] = true
		}
		if len(hidden) < 16 {
			t.Errorf("64 frames have only %d first bytes", len(hidden))
		}
	})
}

func TestEveryBitFlippedIsRefused(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		frame := a.seal()
		for bit := range len(frame) * 8 {
			bad := bytes.Clone(frame)
			bad[bit/8] ^= 1 << (bit % 8)
			b.open(0, bad, ErrAuth)
		}
		if got := b.keys.Forgeries(); got != uint64(len(frame)*8) {
			t.Errorf("%d forgeries counted, want %d", got, len(frame)*8)
		}
		b.open(0, frame, nil)
	})
}

func TestEveryTruncationIsRefused(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		frame := a.seal()
		for n := range frame {
			want := ErrAuth
			if n < wire.MinDataLen {
				want = wire.ErrShort
			}
			b.open(0, frame[:n], want)
		}
		b.open(0, append(bytes.Clone(frame), 0), ErrAuth)
		b.open(0, frame, nil)
	})
}

func TestFrameOfAnotherDirectionOrSessionIsRefused(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, _ := newPair(t, useAES)
		frame := a.seal()
		a.open(0, frame, ErrAuth) // reflected
		other := &end{t: t, keys: New([32]byte{2}, [32]byte{3}, useAES)}
		other.open(0, frame, ErrAuth)
		_, wrongCipher := newPair(t, !useAES)
		wrongCipher.open(0, frame, ErrAuth)
	})
}

func TestForgedFrameLeavesKeysUsable(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		b.open(0, a.seal(), nil)
		phase := b.keys.Phase()
		noise := bytes.Repeat([]byte{0x5a}, 64)
		for i := range 1000 {
			noise[i%64]++
			b.open(0, noise, ErrAuth)
		}
		if b.keys.Phase() != phase {
			t.Error("noise flipped the key phase")
		}
		b.open(0, a.seal(), nil)
	})
}

// TestSealInPlaceOrFromElsewhere wants the same frame whichever way, and the plaintext
// that is not in the frame as it was.
func TestSealInPlaceOrFromElsewhere(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		inPlace, _ := newPair(t, useAES)
		elsewhere, _ := newPair(t, useAES)
		plaintext := bytes.Repeat([]byte("message "), 170)
		header := wire.AppendDataHeader(make([]byte, 0, 1500), dst, false, 7, 2)
		frame := append(header, plaintext...)
		want := inPlace.keys.Seal(header, frame[len(header):], 7)
		header = wire.AppendDataHeader(make([]byte, 0, 1500), dst, false, 7, 2)
		got := elsewhere.keys.Seal(header, plaintext, 7)
		if !bytes.Equal(got, want) {
			t.Error("the frames differ")
		}
		if &got[0] != &header[0] {
			t.Error("the frame was copied")
		}
		if string(plaintext) != strings.Repeat("message ", 170) {
			t.Error("the plaintext was changed")
		}
	})
}

// A packet number is part of a nonce: using one twice gives the key away.
func TestSealingAPacketNumberTwicePanics(t *testing.T) {
	for _, pn := range []uint64{0, 4, 5, wire.MaxPacketNumber + 1} {
		a, _ := newPair(t, false)
		a.sealAs(5, 4, "payload")
		mustPanic(t, func() { a.sealAs(pn, 4, "payload") })
	}
}

func TestSealingAFrameWithoutASamplePanics(t *testing.T) {
	a, _ := newPair(t, false)
	mustPanic(t, func() { a.sealAs(0, 1, "ab") })
	a.sealAs(0, 1, "abc")
}

func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}

func TestPacketNumbersEndWhereVarintsDo(t *testing.T) {
	a, b := newPair(t, false)
	b.largest, b.received = wire.MaxPacketNumber-1, true
	b.open(0, a.sealAs(wire.MaxPacketNumber, 4, payloadOf(wire.MaxPacketNumber)), nil)

	// Only a dishonest peer goes on. Its number could not be acknowledged.
	const beyond = wire.MaxPacketNumber + 1
	header := wire.AppendDataHeader(nil, dst, false, beyond, 4)
	frame := a.keys.sending.cipher(false).Seal(header, a.keys.nonceFor(&a.keys.sending, beyond), []byte("payload"), header)
	wire.MaskHeader(frame, a.keys.sendHeader.mask(&a.keys.use().sendMask, &a.keys.use().mask, wire.Sample(frame), false), 4)
	b.open(0, frame, ErrAuth)
}

func TestKeysExhaustAtTheLimitsOfTheCipher(t *testing.T) {
	for _, tc := range []struct {
		name              string
		useAES            bool
		sealed, forgeries uint64
		want              bool
	}{
		{"AES below", true, 1<<23 - 1, 1<<52 - 1, false},
		{"AES sealed", true, 1 << 23, 0, true},
		{"AES forgeries", true, 0, 1 << 52, true},
		{"ChaCha below", false, 1 << 40, 1<<36 - 1, false},
		{"ChaCha forgeries", false, 0, 1 << 36, true},
	} {
		k := New([32]byte{1}, [32]byte{2}, tc.useAES)
		k.sealed, k.forgeries = tc.sealed, tc.forgeries
		if got := k.Exhausted(); got != tc.want {
			t.Errorf("%s: exhausted = %v", tc.name, got)
		}
	}
}

func TestZeroErasesSecrets(t *testing.T) {
	a, _ := newPair(t, false)
	a.keys.Zero()
	if *a.keys != (Keys{oldExpiry: clock.Never}) {
		t.Error("something is left")
	}
}

// Rest gives back what the ciphers take, and nothing else changes.
func TestKeysAtRestAreTheSameKeys(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		now := clock.Time(0)
		for range 3 { // in each key phase
			a.pass(now, b)
			b.pass(now, a)
			a.keys.Rest()
			b.keys.Rest()
			if a.keys.sending.aead != nil || a.keys.current.aead != nil || a.keys.tools != nil {
				t.Fatal("a cipher is kept")
			}
			a.pass(now, b)
			b.pass(now, a)
			a.keys.Update()
			a.pass(now, b) // takes b along
			b.pass(now, a)
			now = now.Add(oldKeysKept)
			a.keys.DropOld(now)
			b.keys.DropOld(now)
		}
	})
}

func TestSealAndOpenAllocateNothing(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		buf := make([]byte, 0, 1500)
		payload := make([]byte, 1200)
		noise := make([]byte, 1200)
		allocs := testing.AllocsPerRun(200, func() {
			frame := a.keys.Seal(wire.AppendDataHeader(buf, dst, a.keys.Phase(), a.next, 2), payload, a.next)
			a.next++
			pn, _, err := b.keys.Open(0, frame, b.largest, b.received)
			if err != nil {
				t.Fatal(err)
			}
			b.largest, b.received = pn, true
			noise[0]++
			b.keys.Open(0, noise, b.largest, true)
		})
		if allocs != 0 {
			t.Errorf("%v allocations per frame", allocs)
		}
	})
}

func FuzzOpenNoise(f *testing.F) {
	f.Add([]byte{}, uint64(0), false, false)
	f.Add(bytes.Repeat([]byte{0x40}, wire.MinDataLen), uint64(wire.MaxPacketNumber), true, true)
	f.Fuzz(func(t *testing.T, frame []byte, largest uint64, received, useAES bool) {
		a, b := newPair(t, useAES)
		if _, _, err := b.keys.Open(0, bytes.Clone(frame), largest&wire.MaxPacketNumber, received); err == nil {
			t.Fatal("noise opened")
		}
		b.open(0, a.seal(), nil)
	})
}

func BenchmarkSealOpen(b *testing.B) {
	for _, useAES := range []bool{true, false} {
		for _, size := range []int{64, 1200} {
			b.Run(fmt.Sprintf("aes=%v/%d", useAES, size), func(b *testing.B) { benchmarkSealOpen(b, useAES, size) })
		}
	}
}

func benchmarkSealOpen(b *testing.B, useAES bool, size int) {
	from, to := newPair(b, useAES)
	buf := make([]byte, 0, 1500)
	payload := make([]byte, size-wire.DataHeaderLen-2-wire.TagLen)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		frame := from.keys.Seal(wire.AppendDataHeader(buf, dst, false, from.next, 2), payload, from.next)
		from.next++
		pn, _, err := to.keys.Open(0, frame, to.largest, to.received)
		if err != nil {
			b.Fatal(err)
		}
		to.largest, to.received = pn, true
	}
}

func BenchmarkOpenNoise(b *testing.B) {
	_, to := newPair(b, true)
	noise := make([]byte, 1200)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		noise[20+i%900] += byte(i)
		to.keys.Open(0, noise, 0, false)
	}
}
