package wire

import (
	"bytes"
	"testing"
)

// Steady state allocates nothing: each entry decodes one vector and encodes it
// again into a buffer that is there already.
func TestNoAllocs(t *testing.T) {
	var (
		buf  = make([]byte, 0, 2048)
		c    Chunk
		m    Rendezvous
		acks = make([]Range, 0, MaxAckRanges)
	)
	check := func(name string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(50, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	for _, v := range readVectors(t) {
		if v.expect != "ok" {
			continue
		}
		raw, mask := v.raw, v.mask
		frame := bytes.Clone(raw)
		switch v.kind {
		case "varint":
			check(v.name, func() {
				n, _, _ := ConsumeVarint(raw)
				buf = AppendVarint(buf[:0], n)
			})
		case "data":
			check(v.name, func() {
				copy(frame, raw)
				_ = Classify(frame)
				dst, _ := Destination(frame)
				_ = Sample(frame)
				pn, n, phase, _ := UnmaskHeader(frame, &mask)
				buf = AppendDataHeader(buf[:0], dst, phase, DecodePacketNumber(pn, true, pn, n), PacketNumberLen(pn, pn, true))
				MaskHeader(frame, &mask, n)
			})
		case "chunk":
			check(v.name, func() {
				if _, err := ConsumeChunk(raw, &c); err != nil {
					t.Fatal(err)
				}
				if c.Type != TypeAck && c.Type != TypeAckECN {
					buf = appendChunk(buf[:0], &c, 1)
					return
				}
				acks = acks[:0]
				for r, ok := c.Ack.Next(); ok; r, ok = c.Ack.Next() {
					acks = append(acks, r)
				}
				buf = AppendAckECN(buf[:0], c.Ack.Delay, acks, c.Ack.Counts, 1200)
			})
		case "params":
			check(v.name, func() {
				p, _ := ParseParams(raw)
				buf = p.Append(buf[:0])
			})
		case "init":
			check(v.name, func() {
				f, _ := ParseInit(raw)
				buf = AppendInitHeader(buf[:0], f.Src)
			})
		case "resp":
			check(v.name, func() {
				f, _ := ParseResp(raw)
				buf = AppendRespHeader(buf[:0], f.Dst)
			})
		case "cookie":
			check(v.name, func() {
				f, _ := ParseCookie(raw)
				buf = f.Append(buf[:0])
			})
		case "reset":
			check(v.name, func() {
				f, _ := ParseReset(raw)
				buf = f.Append(buf[:0])
			})
		case "rendezvous":
			check(v.name, func() {
				if err := ParseRendezvous(raw, &m); err != nil {
					t.Fatal(err)
				}
				for candidate := range m.Introduce.Candidates.All() {
					_ = candidate.Addr
				}
				buf = appendRendezvous(buf[:0], &m)
			})
		case "relay":
			check(v.name, func() {
				peer, _, _ := ParseRelay(raw)
				buf = AppendRelay(buf[:0], peer)
			})
		case "peerid":
			check(v.name, func() { buf, _ = PeerID(raw).AppendText(buf[:0]) })
		}
	}
	// What comes from an attacker is refused for free as well.
	for _, v := range readVectors(t) {
		if v.kind == "chunk" && v.expect != "ok" {
			check(v.name, func() { _, _ = ConsumeChunk(v.raw, &c) })
		}
		if v.kind == "rendezvous" && v.expect != "ok" {
			check(v.name, func() { _ = ParseRendezvous(v.raw, &m) })
		}
	}
}
