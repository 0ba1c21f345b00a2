package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
)

func TestVarintBoundariesTakeTheLeastBytes(t *testing.T) {
	for _, c := range []struct {
		v    uint64
		size int
	}{
		{0, 1}, {1<<6 - 1, 1}, {1 << 6, 2}, {1<<14 - 1, 2}, {1 << 14, 4}, {1<<30 - 1, 4}, {1 << 30, 8}, {MaxVarint, 8},
	} {
		b := AppendVarint(nil, c.v)
		if len(b) != c.size || VarintLen(c.v) != c.size {
			t.Errorf("%d: %d bytes, VarintLen %d, want %d", c.v, len(b), VarintLen(c.v), c.size)
		}
		v, rest, err := ConsumeVarint(append(b, 0xaa))
		if v != c.v || err != nil || !bytes.Equal(rest, []byte{0xaa}) {
			t.Errorf("%d came back as %d, rest %x, %v", c.v, v, rest, err)
		}
	}
}

func TestVarintTooLargeIsABugOfTheCaller(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	AppendVarint(nil, MaxVarint+1)
}

func TestPacketNumberLength(t *testing.T) {
	for _, c := range []struct {
		name      string
		pn, acked uint64
		any       bool
		want      int
	}{
		{"RFC 9000 A.2, 16 bits", 0xac5c02, 0xabe8b3, true, 2},
		{"RFC 9000 A.2, 18 bits", 0xace8fe, 0xabe8b3, true, 3},
		{"first packet", 0, 0, false, 1},
		{"next packet", 1001, 1000, true, 1},
		{"nothing acknowledged, 126 outstanding", 126, 0, false, 1},
		{"nothing acknowledged, 127 outstanding", 127, 0, false, 2},
		{"many outstanding", 1 << 30, 0, true, 4},
		{"never more than four", MaxPacketNumber, 0, true, 4},
	} {
		if got := PacketNumberLen(c.pn, c.acked, c.any); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}

func TestPacketNumberIsRestored(t *testing.T) {
	for _, c := range []struct {
		name      string
		largest   uint64
		any       bool
		truncated uint64
		n         int
		want      uint64
	}{
		{"RFC 9000 A.3", 0xa82f30ea, true, 0x9b32, 2, 0xa82f9b32},
		{"first", 0, false, 0, 1, 0},
		{"first, later ones lost before", 0, false, 200, 1, 200},
		{"wraps forward", 0xff, true, 0x00, 1, 0x100},
		{"half a window ahead is the later of two as close", 0xff, true, 0x80, 1, 0x180},
		{"half a window behind is the later of two as close", 0x17f, true, 0x00, 1, 0x200},
		{"old one before a wrap", 0x100, true, 0xff, 1, 0xff},
		{"near the end", MaxPacketNumber - 1, true, 0xff, 1, MaxPacketNumber},
		{"never beyond the end", MaxPacketNumber, true, 0x01, 1, MaxPacketNumber - 0xfe},
	} {
		if got := DecodePacketNumber(c.largest, c.any, c.truncated, c.n); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

// RFC 9000 §17.1: the sender's choice of length lets the receiver restore the
// number whatever it has received of what is outstanding.
func TestEncodedPacketNumberIsRestoredWhateverArrivedBefore(t *testing.T) {
	for _, base := range []uint64{0, 1, 100, 1 << 20, 1 << 40, MaxPacketNumber - 1<<24} {
		for _, ahead := range []uint64{1, 2, 100, 127, 128, 1 << 14, 1<<15 - 1, 1 << 15, 1 << 22, 1 << 23} {
			pn := base + ahead
			n := PacketNumberLen(pn, base, true)
			low := pn & (1<<(8*n) - 1)
			for _, largest := range []uint64{base, base + 1, pn - 1, pn, pn + ahead - 1} {
				if got := DecodePacketNumber(largest, true, low, n); got != pn {
					t.Fatalf("%#x, acked %#x, in %d bytes, after %#x: %#x", pn, base, n, largest, got)
				}
			}
		}
	}
}

func TestClassifyTellsDatagramsApart(t *testing.T) {
	stun := "000100002112a442000102030405060708090a0b"
	for _, c := range []struct {
		in   string
		want Kind
	}{
		{"", KindUnknown},
		{stun, KindSTUN},
		{stun[:38], KindUnknown},
		{"0001000021 12a443000102030405060708090a0b", KindUnknown},
		{"4" + stun[1:], KindData},
		{"40", KindData}, {"7f", KindData}, {"3f", KindUnknown}, {"80", KindUnknown},
		{"c0", KindUnknown}, {"c1", KindInit}, {"c2", KindResp}, {"c3", KindCookie}, {"c4", KindReset}, {"c5", KindUnknown},
		{"16fefd", KindUnknown}, // DTLS
	} {
		raw := bytes.ReplaceAll([]byte(c.in), []byte(" "), nil)
		b, err := hex.DecodeString(string(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := Classify(b); got != c.want {
			t.Errorf("%s: %v, want %v", c.in, got, c.want)
		}
	}
}

func TestHeaderProtectionHidesFlagsAndPacketNumberAlone(t *testing.T) {
	mask := [5]byte{0xff, 0xff, 0xff, 0xff, 0xff}
	for n := 1; n <= MaxPNLen; n++ {
		clear := AppendDataHeader(nil, ConnID{1, 2, 3}, true, 0x01020304, n)
		clear = append(clear, make([]byte, MinDataLen)...)
		frame := bytes.Clone(clear)
		MaskHeader(frame, &mask, n)
		if Classify(frame) != KindData {
			t.Errorf("%d bytes: not a DATA frame any more: %x", n, frame[0])
		}
		if id, ok := Destination(frame); !ok || id != (ConnID{1, 2, 3}) {
			t.Errorf("%d bytes: connection ID %v", n, id)
		}
		if !bytes.Equal(Sample(frame), Sample(clear)) {
			t.Errorf("%d bytes: the sample changed", n)
		}
		pn, gotLen, phase, ok := UnmaskHeader(frame, &mask)
		if want := uint64(0x01020304) & (1<<(8*n) - 1); pn != want || gotLen != n || !phase || !ok {
			t.Errorf("%d bytes: %#x in %d, phase %t, ok %t", n, pn, gotLen, phase, ok)
		}
		if !bytes.Equal(frame, clear) {
			t.Errorf("%d bytes: %x, want %x", n, frame, clear)
		}
	}
}

func TestFrameOverheadStaysWithinItsBudget(t *testing.T) {
	if DataOverheadMax > 29 {
		t.Errorf("a DATA frame adds %d bytes", DataOverheadMax)
	}
	m := Message{Channel: 63, Seq: 1<<30 - 1}
	const pnLen = 2 // up to 32,767 packets outstanding
	if got := DataHeaderLen + pnLen + m.HeaderLen(32) + TagLen; got > 35 {
		t.Errorf("a lone message of 32 bytes costs %d bytes above UDP", got)
	}
}

// An endpoint answers a datagram that nothing is known about with a shorter one.
func TestNoAnswerIsLongerThanItsCause(t *testing.T) {
	if RespLen >= InitLen || CookieLen >= InitLen {
		t.Errorf("INIT has %d bytes, RESP %d, COOKIE %d", InitLen, RespLen, CookieLen)
	}
	if ResetLen >= MinDataLen {
		t.Errorf("RESET has %d bytes, the shortest DATA %d", ResetLen, MinDataLen)
	}
}

func TestAckKeepsTheNewestRangesThatFit(t *testing.T) {
	var ranges []Range
	for i := range uint64(200) {
		hi := 100_000 - i*100
		ranges = append(ranges, Range{hi - i%70, hi})
	}
	counts := ECNCounts{ECT0: 1 << 20, CE: 7}
	for limit := range 400 {
		b := AppendAckECN(nil, 80, ranges, counts, limit)
		if len(b) > limit {
			t.Fatalf("limit %d: %d bytes", limit, len(b))
		}
		if len(b) == 0 {
			if limit >= 14 {
				t.Fatalf("limit %d: nothing, though one range takes 14 bytes", limit)
			}
			continue
		}
		var c Chunk
		if rest, err := ConsumeChunk(b, &c); err != nil || len(rest) > 0 {
			t.Fatal(rest, err)
		}
		got := ackRanges(c.Ack)
		if !slices.Equal(got, ranges[:len(got)]) || len(got) > MaxAckRanges || c.Ack.Delay != 80 || c.Ack.Counts != counts {
			t.Fatalf("limit %d: %v", limit, c.String())
		}
		if n := len(got); n < MaxAckRanges {
			if longer := AppendAckECN(nil, 80, ranges[:n+1], counts, math.MaxInt); len(longer) <= limit {
				t.Fatalf("limit %d: %d ranges, though %d take %d bytes", limit, n, n+1, len(longer))
			}
		}
	}
}

// A decoder that fills a value used before must leave no counts of the old one.
func TestAckWithoutCountsForgetsTheOldOnes(t *testing.T) {
	one := []Range{{0, 0}}
	var c Chunk
	for _, counts := range []ECNCounts{{ECT0: 1, ECT1: 2, CE: 3}, {}} {
		if _, err := ConsumeChunk(AppendAckECN(nil, 0, one, counts, 100), &c); err != nil || c.Ack.Counts != counts {
			t.Errorf("%v: read %v, %v", counts, c.Ack.Counts, err)
		}
	}
	if c.Type != TypeAck {
		t.Errorf("%v has no counts to tell", c.Type)
	}
}

func TestAckDelayIsCappedAtWhatTheFormatHolds(t *testing.T) {
	var c Chunk
	if _, err := ConsumeChunk(AppendAck(nil, math.MaxUint64, []Range{{0, 0}}, 100), &c); err != nil {
		t.Fatal(err)
	}
	if c.Ack.Delay != (1<<30-1)*AckDelayUnit {
		t.Errorf("delay %d", c.Ack.Delay)
	}
}

func TestCopyOfAnAckIsWalkedOnItsOwn(t *testing.T) {
	var c Chunk
	if _, err := ConsumeChunk(AppendAck(nil, 0, []Range{{9, 10}, {1, 5}}, 100), &c); err != nil {
		t.Fatal(err)
	}
	first, second := ackRanges(c.Ack), ackRanges(c.Ack)
	if len(first) != 2 || !slices.Equal(first, second) {
		t.Errorf("%v and %v", first, second)
	}
}

func TestCloseReasonIsCutAtItsLimit(t *testing.T) {
	long := Close{Code: 7, Reason: bytes.Repeat([]byte("x"), MaxCloseReason+1)}
	var c Chunk
	if _, err := ConsumeChunk(long.Append(nil), &c); err != nil || len(c.Close.Reason) != MaxCloseReason {
		t.Errorf("%d bytes, %v", len(c.Close.Reason), err)
	}
}

func TestMessageHeaderLenIsExact(t *testing.T) {
	for _, v := range []uint64{0, 63, 64, 16383, 16384, 1<<30 - 1, 1 << 30, MaxVarint} {
		for _, fragment := range []bool{false, true} {
			m := Message{Channel: uint16(min(v, MaxChannel)), Seq: v, Fragment: fragment, Offset: v, Total: v}
			for _, n := range []int{0, 63, 64, 1200, 70000} {
				if got, want := len(m.AppendHeader(nil, n)), m.HeaderLen(n); got != want {
					t.Errorf("%+v with %d bytes: header of %d, HeaderLen %d", m, n, got, want)
				}
			}
		}
	}
}

func TestLargestChunksFitTheirPublishedLengths(t *testing.T) {
	n := NewConnID{Seq: MaxVarint, RetireTo: MaxVarint}
	if got := len(n.Append(nil)); got != NewConnIDLenMax {
		t.Errorf("NEW_CONNECTION_ID %d, want %d", got, NewConnIDLenMax)
	}
	if got := len(AppendPath(nil, TypePathChallenge, [8]byte{})); got != PathLen {
		t.Errorf("PATH_CHALLENGE %d, want %d", got, PathLen)
	}
	s := Skip{Channel: MaxChannel, Seq: MaxVarint, Sent: MaxVarint}
	if got := len(s.Append(nil)); got != ControlLenMax {
		t.Errorf("SKIP %d, want %d", got, ControlLenMax)
	}
	c, r := Credit{MaxChannel, MaxVarint}, Read{Channel: MaxChannel, Seq: MaxVarint}
	for _, b := range [][]byte{c.Append(nil), r.Append(nil), AppendRetireConnID(nil, MaxVarint)} {
		if len(b) > ControlLenMax {
			t.Errorf("%v takes %d", ChunkType(b[0]), len(b))
		}
	}
	p := Punch{Peer: examplePeer(1), Candidates: fullCandidates()}
	if got := len(p.Append(nil)); got != RendezvousLenMax {
		t.Errorf("PUNCH %d, want %d", got, RendezvousLenMax)
	}
	if got := len(AppendRelay(nil, examplePeer(1))); got != RelayHeaderLen {
		t.Errorf("RELAY %d, want %d", got, RelayHeaderLen)
	}
}

func fullCandidates() (c Candidates) {
	for i := range byte(MaxCandidates) {
		ip := netip.AddrFrom16([16]byte{0: 0x20, 15: i})
		c.Add(Candidate{CandidateMapped, netip.AddrPortFrom(ip, 7411)})
	}
	return c
}

func TestCandidatesRefuseWhatCannotBeAPeer(t *testing.T) {
	for _, bad := range []string{
		"0.0.0.0:1", "[::]:1", "10.0.0.1:0", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1",
		"[::ffff:10.0.0.1]:1", "[fe80::1%eth0]:1",
	} {
		var c Candidates
		if c.Add(Candidate{CandidateHost, netip.MustParseAddrPort(bad)}) || c.Len() != 0 {
			t.Errorf("%s accepted", bad)
		}
	}
	var c Candidates
	if c.Add(Candidate{}) || c.Add(Candidate{0, netip.MustParseAddrPort("10.0.0.1:1")}) || c.Add(Candidate{CandidateMapped + 1, netip.MustParseAddrPort("10.0.0.1:1")}) {
		t.Error("candidate of no kind accepted")
	}
}

func TestCandidatesKeepOrderAndStopAtTheirLimit(t *testing.T) {
	c := fullCandidates()
	if c.Len() != MaxCandidates {
		t.Fatalf("%d of %d", c.Len(), MaxCandidates)
	}
	if c.Add(Candidate{CandidateHost, netip.MustParseAddrPort("10.0.0.1:1")}) {
		t.Error("one too many accepted")
	}
	i := byte(0)
	for candidate := range c.All() {
		if last := candidate.Addr.Addr().As16(); last[15] != i {
			t.Errorf("position %d holds %v", i, candidate.Addr)
		}
		if i++; i == 5 {
			break
		}
	}
	var twice Candidates
	same := netip.MustParseAddrPort("10.0.0.1:1")
	if !twice.Add(Candidate{CandidateHost, same}) || twice.Add(Candidate{CandidateReflexive, same}) || twice.Len() != 1 {
		t.Error("an address is in the list twice")
	}
}

// A decoder that fills a value used before must leave nothing of the old one.
func TestDecodedCandidatesForgetTheOldOnes(t *testing.T) {
	m := Rendezvous{Accept: Accept{NAT: NAT{Ports: PortsRandom}, Candidates: fullCandidates()}}
	refusal := Accept{Peer: examplePeer(1)}
	if err := ParseRendezvous(refusal.Append(nil), &m); err != nil {
		t.Fatal(err)
	}
	if m.Accept != refusal {
		t.Errorf("left over: %v", &m)
	}
}

func TestOnlyProbingChunksMayFlyOnAnUnprovenPath(t *testing.T) {
	probing := []ChunkType{TypePadding, TypePathChallenge, TypePathResponse, TypeNewConnID} // RFC 9000 §9.1
	silent := []ChunkType{TypePadding, TypeAck, TypeAckECN, TypeClose}                      // RFC 9002 §2
	for typ := range chunkNames {
		if typ.Probing() != slices.Contains(probing, typ) {
			t.Errorf("%v: probing %t", typ, typ.Probing())
		}
		if typ.AckEliciting() != !slices.Contains(silent, typ) {
			t.Errorf("%v: ack-eliciting %t", typ, typ.AckEliciting())
		}
	}
}

func TestUnknownValuesStillHaveAText(t *testing.T) {
	for got, want := range map[string]string{
		fmt.Sprint(ChunkType(0x2a)):            "CHUNK_0x2a",
		fmt.Sprint(Mode(9)):                    "mode(9)",
		fmt.Sprint(Kind(99)):                   "unknown",
		fmt.Sprint(CandidateKind(9)):           "unknown",
		fmt.Sprint(&Rendezvous{Type: 0x2a}):    "RENDEZVOUS_0x2a",
		fmt.Sprint(&Chunk{Type: TypePing}):     "PING",
		fmt.Sprint(RefusedBusy, RefusedAbsent): "busy peer is not registered",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
