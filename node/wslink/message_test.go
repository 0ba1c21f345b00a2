package wslink

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestMessageIsReadWholeOrNotAtAll(t *testing.T) {
	longest := strings.Repeat("00", DatagramMax)
	for _, c := range []struct {
		name, message string
		datagrams     int // 0: refused
	}{
		{"one datagram", "0003 414243", 1},
		{"two datagrams, as in wire/SPEC.md §6.6", "0003 414243 0002 4445", 2},
		{"longest datagram", "0800" + longest, 1},
		{"longest message", strings.Repeat("0800"+longest, 7) + "07e8" + longest[:2*2024], 8},
		{"most datagrams", strings.Repeat("0001 00", datagramsMax), datagramsMax},

		{"nothing", "", 0},
		{"an empty datagram", "0000", 0},
		{"an empty datagram after a good one", "0001 41 0000", 0},
		{"a datagram too long", "0801" + longest + "00", 0},
		{"half a length", "00", 0},
		{"half a length after a good datagram", "0001 41 00", 0},
		{"a length without its datagram", "0001", 0},
		{"a datagram cut short", "0003 4142", 0},
		{"bytes after the end", "0001 41 ff", 0},
		{"a datagram too many", strings.Repeat("0001 00", datagramsMax+1), 0},
		{"a byte too many", strings.Repeat("0800"+longest, 7) + "07e9" + longest[:2*2025], 0},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(c.message, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		n, err := check(b)
		if n != c.datagrams || (err == nil) != (c.datagrams > 0) {
			t.Errorf("%s: %d datagrams, error %v; want %d", c.name, n, err, c.datagrams)
		}
	}
}

// What passes check is what a sender would have written, byte for byte.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{"", "\x00\x01A", "\x00\x03ABC\x00\x02DE", "\x00\x00", "\x08\x01", "\x00\x02A",
		strings.Repeat("\x00\x01A", datagramsMax), strings.Repeat("\x00\x01A", datagramsMax+1)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := check(b)
		if err != nil {
			return
		}
		again := newMessage()
		defer again.free()
		for rest := b; len(rest) > 0; {
			var d []byte
			if d, rest = cut(rest); len(d) == 0 || len(d) > DatagramMax {
				t.Fatalf("a datagram of %d bytes", len(d))
			}
			if !again.fits(d) {
				t.Fatalf("a sender would not put so much in a message")
			}
			again.append(d)
		}
		if again.datagrams != n || !bytes.Equal(again.bytes(), b) {
			t.Errorf("%x: written again as %x", b, again.bytes())
		}
	})
}
