package wire

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// seed adds the vectors of the given types, good ones and bad ones.
func seed(f *testing.F, kinds ...string) {
	f.Helper()
	for _, v := range readVectors(f) {
		if slices.Contains(kinds, v.kind) {
			f.Add(v.raw)
		}
	}
}

// fuzzRecoder checks the law of every codec here: a value has one encoding.
func fuzzRecoder(f *testing.F, kind string) {
	seed(f, kind)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, again, err := recoders[kind](b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x was read, and written as %x", b, again)
		}
	})
}

func FuzzVarint(f *testing.F)     { fuzzRecoder(f, "varint") }
func FuzzInit(f *testing.F)       { fuzzRecoder(f, "init") }
func FuzzResp(f *testing.F)       { fuzzRecoder(f, "resp") }
func FuzzCookie(f *testing.F)     { fuzzRecoder(f, "cookie") }
func FuzzReset(f *testing.F)      { fuzzRecoder(f, "reset") }
func FuzzParams(f *testing.F)     { fuzzRecoder(f, "params") }
func FuzzRendezvous(f *testing.F) { fuzzRecoder(f, "rendezvous") }
func FuzzRelay(f *testing.F)      { fuzzRecoder(f, "relay") }

func FuzzClassify(f *testing.F) {
	seed(f, "data", "init", "resp", "cookie", "reset", "chunk")
	f.Fuzz(func(t *testing.T, b []byte) {
		kind := Classify(b)
		for want, parse := range map[Kind]recoder{
			KindInit: recodeInit, KindResp: recodeResp, KindCookie: recodeCookie, KindReset: recodeReset,
		} {
			if _, _, err := parse(b); err == nil && kind != want {
				t.Errorf("%x is a good %v, and is classified as %v", b, want, kind)
			}
		}
		if id, ok := Destination(b); ok != (len(b) >= DataHeaderLen) || ok && !bytes.Equal(id[:], b[1:9]) {
			t.Errorf("%x: destination %v, %t", b, id, ok)
		}
	})
}

func FuzzHeader(f *testing.F) {
	for _, v := range readVectors(f) {
		if v.kind == "data" {
			for _, largest := range []uint64{0, 0x7f, 0x80, 0xabe8b3, MaxPacketNumber - 0x80, MaxPacketNumber} {
				f.Add(v.raw, v.mask[:], largest)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b, maskBytes []byte, largest uint64) {
		var mask [5]byte
		copy(mask[:], maskBytes)
		if Classify(b) != KindData {
			return
		}
		if _, again, err := recodeData(b, mask); err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x was read, and written as %x", b, again)
		}
		if len(b) < MinDataLen {
			return
		}
		largest &= MaxPacketNumber
		low, n, _, _ := UnmaskHeader(bytes.Clone(b), &mask)
		pn := DecodePacketNumber(largest, true, low, n)
		if want := nearestPacketNumber(largest, low, n); pn != want {
			t.Errorf("%#x in %d bytes after %#x is %#x, want %#x", low, n, largest, pn, want)
		}
	})
}

// nearestPacketNumber is RFC 9000 §17.1 in words: of all numbers that end in the
// given bytes, the one closest to what is expected next; of two as close, the
// later one.
func nearestPacketNumber(largest, low uint64, n int) uint64 {
	expected, win := largest+1, uint64(1)<<(8*n)
	best, found := uint64(0), false
	base := expected / win
	for _, block := range []uint64{base - 1, base, base + 1} {
		candidate := block*win + low
		if block == ^uint64(0) || candidate > MaxPacketNumber {
			continue
		}
		if !found || distance(candidate, expected) <= distance(best, expected) {
			best, found = candidate, true
		}
	}
	return best
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }

func FuzzChunk(f *testing.F) {
	seed(f, "chunk")
	var all []byte
	for _, v := range readVectors(f) {
		if v.kind == "chunk" && v.expect == "ok" {
			all = append(all, v.raw...)
		}
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Chunk
		for len(b) > 0 {
			rest, err := ConsumeChunk(b, &c)
			if err != nil {
				return
			}
			took := b[:len(b)-len(rest)]
			if len(took) == 0 {
				t.Fatalf("%v took no bytes of %x", c.Type, b)
			}
			if again := appendChunk(nil, &c, len(took)); !bytes.Equal(again, took) {
				t.Fatalf("%x was read as %v, and written as %x", took, c.String(), again)
			}
			b = rest
		}
	})
}

// FuzzMessage goes the other way round: every value that can be written is read
// back as it was.
func FuzzMessage(f *testing.F) {
	f.Add(uint16(0), uint8(0), uint64(5), uint64(0), uint64(5), []byte("hello"))
	f.Add(uint16(65535), uint8(0x7f), uint64(1<<40), uint64(1<<20), uint64(1<<21), []byte("part"))
	f.Fuzz(func(t *testing.T, channel uint16, bits uint8, seq, offset, total uint64, data []byte) {
		m := Message{
			Channel: channel, Mode: Mode(bits & 3), Fragment: bits&4 != 0, Receipt: bits&8 != 0, Urgent: bits&16 != 0,
			Packed: bits&32 != 0, Seq: seq & MaxVarint, Total: uint64(len(data)), Data: data,
		}
		if m.Fragment {
			m.Offset, m.Total = offset&MaxVarint, total&MaxVarint
		}
		b := m.Append(nil)
		var c Chunk
		rest, err := ConsumeChunk(b, &c)
		if m.Packed && (m.Receipt || m.Mode == Sequenced) {
			if err != ErrType {
				t.Fatalf("%v: error %v", &m, err)
			}
			return
		}
		end := new(big.Int).Add(new(big.Int).SetUint64(m.Offset), big.NewInt(int64(len(data))))
		proper := len(data) > 0 && uint64(len(data)) < m.Total && end.Cmp(new(big.Int).SetUint64(m.Total)) <= 0
		if m.Fragment && !proper {
			if err != ErrRange {
				t.Fatalf("fragment %d+%d of %d: error %v", m.Offset, len(data), m.Total, err)
			}
			return
		}
		if err != nil || len(rest) > 0 {
			t.Fatalf("%x: rest %x, %v", b, rest, err)
		}
		got := c.Message
		if !bytes.Equal(got.Data, m.Data) {
			t.Fatalf("data %x, want %x", got.Data, m.Data)
		}
		got.Data, m.Data = nil, nil
		if got.Channel != m.Channel || got.Mode != m.Mode || got.Seq != m.Seq || got.Offset != m.Offset || got.Total != m.Total ||
			got.Fragment != m.Fragment || got.Receipt != m.Receipt || got.Urgent != m.Urgent || got.Packed != m.Packed {
			t.Fatalf("%+v, want %+v", got, m)
		}
	})
}

// FuzzAck compares the codec with a set of packet numbers, which cannot get gaps
// and lengths wrong.
func FuzzAck(f *testing.F) {
	f.Add([]byte{1, 2, 3, 5, 6, 9, 200, 201}, uint64(1<<40), uint16(1200))
	f.Add([]byte{0}, uint64(0), uint16(5))
	f.Add([]byte{0, 2, 4, 6, 8, 10}, uint64(MaxPacketNumber-255), uint16(12))
	f.Fuzz(func(t *testing.T, offsets []byte, base uint64, limit uint16) {
		if len(offsets) == 0 {
			return
		}
		base = min(base, MaxPacketNumber-255)
		var have [256]bool
		for _, o := range offsets {
			have[o] = true
		}
		ranges := rangesOf(&have, base)
		counts := ECNCounts{ECT0: base / 2, CE: uint64(limit % 3)}
		b := AppendAckECN(nil, base, ranges, counts, int(limit))
		if len(b) == 0 {
			if len(AppendAckECN(nil, base, ranges[:1], counts, 64)) <= int(limit) {
				t.Fatalf("nothing written within %d bytes, though one range fits", limit)
			}
			return
		}
		var c Chunk
		if rest, err := ConsumeChunk(b, &c); err != nil || len(rest) > 0 || len(b) > int(limit) {
			t.Fatalf("%x with limit %d: rest %x, %v", b, limit, rest, err)
		}
		if c.Ack.Largest != ranges[0].Hi {
			t.Fatalf("largest %d, want %d", c.Ack.Largest, ranges[0].Hi)
		}
		if c.Ack.Counts != counts {
			t.Fatalf("counts %v, want %v", c.Ack.Counts, counts)
		}
		lowest := uint64(0)
		for r, ok := c.Ack.Next(); ok; r, ok = c.Ack.Next() {
			for pn := r.Lo; pn <= r.Hi; pn++ {
				if pn < base || pn > base+255 || !have[pn-base] {
					t.Fatalf("%d is acknowledged and was never received", pn)
				}
				have[pn-base] = false
			}
			lowest = r.Lo
		}
		for o, missing := range have {
			if pn := base + uint64(o); missing && pn >= lowest {
				t.Fatalf("%d is missing, though older ones are acknowledged", pn)
			}
		}
	})
}

func rangesOf(have *[256]bool, base uint64) (ranges []Range) {
	for o := 255; o >= 0; o-- {
		pn := base + uint64(o)
		switch {
		case !have[o]:
		case o < 255 && have[o+1]:
			ranges[len(ranges)-1].Lo = pn
		default:
			ranges = append(ranges, Range{pn, pn})
		}
	}
	return ranges
}

func FuzzPeerID(f *testing.F) {
	f.Add("")
	f.Add(" " + strings.ToUpper(examplePeer(3).String()))
	f.Add(examplePeer(3).String()[:60] + "z")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePeerID(s)
		if err != nil {
			if !p.IsZero() {
				t.Errorf("%q: %v and a peer ID", s, err)
			}
			return
		}
		if want := strings.ToLower(strings.TrimSpace(s)); p.String() != want {
			t.Errorf("%q was read, and written as %s", s, p)
		}
	})
}

func FuzzPeerIDIsReadBack(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Add(bytes.Repeat([]byte{0xff}, 32))
	f.Fuzz(func(t *testing.T, key []byte) {
		var p PeerID
		copy(p[:], key)
		got, err := ParsePeerID(p.String())
		if p.IsZero() == (err == nil) || got != p {
			t.Errorf("%x came back as %x, %v", p, got, err)
		}
	})
}

// FuzzTicket owns the value, as an attacker does: the checksum is made to fit.
func FuzzTicket(f *testing.F) {
	seed(f, "ticket")
	full, err := fullTicket().MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	value, err := parseText("ticket", ticketPrefix, string(full), ticketLenMin, ticketLenMax)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Fuzz(func(t *testing.T, value []byte) {
		text := string(appendText(nil, ticketPrefix, bytes.Clone(value)))
		ticket, err := ParseTicket(text)
		if err == nil && ticket.String() != text {
			t.Errorf("%x was read as %+v, and written as %s", value, ticket, ticket)
		}
	})
}

func FuzzServer(f *testing.F) {
	for _, v := range readVectors(f) {
		if v.kind == "server" {
			f.Add(string(v.raw[32:]))
		}
	}
	f.Add("[fe80::1%25]:1")
	f.Add("1.2.3.4.:7411")
	f.Fuzz(func(t *testing.T, addr string) {
		s, err := ParseServer(examplePeer(1).String() + "@" + addr)
		if err != nil {
			return
		}
		again, err := ParseServer(s.String())
		if err != nil || again != s {
			t.Errorf("%q was read as %q, and that as %q, %v", addr, s.Addr, again.Addr, err)
		}
		if ticket := (Ticket{Peer: s.ID, Servers: []Server{s}}); ticket.validate() != nil {
			t.Errorf("%q is a server, and refused in a ticket: %v", addr, ticket.validate())
		}
	})
}

// FuzzTextForms gives the parsers of what people paste raw strings.
func FuzzTextForms(f *testing.F) {
	f.Add("hft1aaaa")
	f.Add(examplePeer(1).String() + "@rv.example.net:7411")
	f.Add(string(binary.BigEndian.AppendUint64(nil, 1<<63)))
	f.Fuzz(func(t *testing.T, s string) {
		if ticket, err := ParseTicket(s); err == nil && ticket.validate() != nil {
			t.Errorf("%q became a ticket that is not valid: %v", s, ticket.validate())
		}
		if server, err := ParseServer(s); err == nil && server.ID.IsZero() {
			t.Errorf("%q became a server of nobody", s)
		}
	})
}
