package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A vector is one worked example of testdata/vectors.
type vector struct {
	name, kind, text, expect string
	raw                      []byte
	mask                     [5]byte // of a DATA frame
}

var expectations = map[string]error{
	"ok":         nil,
	"short":      ErrShort,
	"trailing":   ErrTrailing,
	"notminimal": ErrNotMinimal,
	"range":      ErrRange,
	"type":       ErrType,
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	files, err := filepath.Glob("testdata/vectors/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	var all []vector
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for record := range strings.SplitSeq(string(text), "\n\n") {
			if strings.HasPrefix(record, "#") {
				continue
			}
			all = append(all, parseVector(t, file, record))
		}
	}
	return all
}

func parseVector(t testing.TB, file, record string) (v vector) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(record), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		var err error
		switch {
		case !ok:
			t.Fatalf("%s: no field in %q", file, line)
		case key == "name":
			v.name = value
		case key == "type":
			v.kind = value
		case key == "hex":
			v.raw, err = hex.DecodeString(strings.ReplaceAll(value, " ", ""))
		case key == "mask":
			_, err = hex.Decode(v.mask[:], []byte(value))
		case key == "text":
			v.text = value
		case key == "expect":
			v.expect = value
		default:
			t.Fatalf("%s: unknown field in %q", file, line)
		}
		if err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
	}
	if _, ok := expectations[v.expect]; !ok || v.name == "" {
		t.Fatalf("%s: no name or expectation in %q", file, record)
	}
	return v
}

// A recoder decodes b, all of it, and returns what it understood as text and
// the same value encoded again.
type recoder func(b []byte) (text string, again []byte, err error)

func (v vector) recoder() recoder {
	if v.kind == "data" {
		return func(b []byte) (string, []byte, error) { return recodeData(b, v.mask) }
	}
	return recoders[v.kind]
}

var recoders = map[string]recoder{
	"varint":     recodeVarint,
	"params":     recodeParams,
	"init":       recodeInit,
	"resp":       recodeResp,
	"cookie":     recodeCookie,
	"reset":      recodeReset,
	"chunk":      recodeChunk,
	"rendezvous": recodeRendezvous,
	"relay":      recodeRelay,
}

func recodeVarint(b []byte) (string, []byte, error) {
	v, rest, err := ConsumeVarint(b)
	if err == nil && len(rest) > 0 {
		err = ErrTrailing
	}
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprint(v), AppendVarint(nil, v), nil
}

func recodeData(b []byte, mask [5]byte) (string, []byte, error) {
	if len(b) < MinDataLen {
		return "", nil, ErrShort
	}
	clear := bytes.Clone(b)
	pn, n, phase, ok := UnmaskHeader(clear, &mask)
	if !ok {
		return "", nil, ErrRange
	}
	dst, _ := Destination(b)
	sealed := clear[DataHeaderLen+n:]
	again := append(AppendDataHeader(nil, dst, phase, pn, n), sealed...)
	MaskHeader(again, &mask, n)
	bit := 0
	if phase {
		bit = 1
	}
	return fmt.Sprintf("dst=%v phase=%d pn=%0*x sealed=%d", dst, bit, 2*n, pn, len(sealed)), again, nil
}

func recodeParams(b []byte) (string, []byte, error) {
	p, err := ParseParams(b)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("id=%v token=%x aes=%t max_ack_delay=%dms idle=%dms max_message=%d credit=%d crosses=%v",
		p.ConnID, p.Token, p.AES, p.MaxAckDelay, p.IdleTimeout, p.MaxMessage, p.ChannelCredit, p.Crosses), p.Append(nil), nil
}

func recodeInit(b []byte) (string, []byte, error) {
	f, err := ParseInit(b)
	if err != nil {
		return "", nil, err
	}
	again := AppendInitHeader(nil, f.Src)
	again[1] = f.Version
	again = append(append(append(again, f.Noise...), f.MAC1...), f.MAC2...)
	return fmt.Sprintf("version=%d src=%v noise=%d", f.Version, f.Src, len(f.Noise)), again, nil
}

func recodeResp(b []byte) (string, []byte, error) {
	f, err := ParseResp(b)
	if err != nil {
		return "", nil, err
	}
	again := append(append(AppendRespHeader(nil, f.Dst), f.Noise...), f.MAC1...)
	return fmt.Sprintf("dst=%v noise=%d", f.Dst, len(f.Noise)), again, nil
}

func recodeCookie(b []byte) (string, []byte, error) {
	f, err := ParseCookie(b)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("dst=%v nonce=%x", f.Dst, f.Nonce), f.Append(nil), nil
}

func recodeReset(b []byte) (string, []byte, error) {
	f, err := ParseReset(b)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("id=%v token=%x", f.ID, f.Token), f.Append(nil), nil
}

func recodeChunk(b []byte) (string, []byte, error) {
	var c Chunk
	rest, err := ConsumeChunk(b, &c)
	if err != nil {
		return "", nil, err
	}
	if len(rest) > 0 {
		return "", nil, ErrTrailing
	}
	return c.String(), appendChunk(nil, &c, len(b)), nil
}

// appendChunk encodes c, which took size bytes; PADDING alone does not know.
func appendChunk(b []byte, c *Chunk, size int) []byte {
	switch c.Type {
	case TypePadding:
		return append(b, make([]byte, size)...)
	case TypePing:
		return append(b, byte(TypePing))
	case TypeAck, TypeAckECN:
		return AppendAckECN(b, c.Ack.Delay, ackRanges(c.Ack), c.Ack.Counts, size)
	case TypePathChallenge, TypePathResponse:
		return AppendPath(b, c.Type, c.Path)
	case TypeNewConnID:
		return c.NewConnID.Append(b)
	case TypeRetireConnID:
		return AppendRetireConnID(b, c.Retire)
	case TypeCredit:
		return c.Credit.Append(b)
	case TypeSkip:
		return c.Skip.Append(b)
	case TypeRead:
		return c.Read.Append(b)
	case TypeClose:
		return c.Close.Append(b)
	case TypeMessage:
		return c.Message.Append(b)
	}
	panic("decoded a chunk of unknown type")
}

func ackRanges(a Ack) (ranges []Range) {
	for r, ok := a.Next(); ok; r, ok = a.Next() {
		ranges = append(ranges, r)
	}
	return ranges
}

func recodeRendezvous(b []byte) (string, []byte, error) {
	var m Rendezvous
	if err := ParseRendezvous(b, &m); err != nil {
		return "", nil, err
	}
	return m.String(), appendRendezvous(nil, &m), nil
}

func appendRendezvous(b []byte, m *Rendezvous) []byte {
	switch m.Type {
	case RendezvousRegister:
		return m.Register.Append(b)
	case RendezvousRegistered:
		return m.Registered.Append(b)
	case RendezvousIntroduce:
		return m.Introduce.Append(b)
	case RendezvousInvite:
		return m.Invite.Append(b)
	case RendezvousAccept:
		return m.Accept.Append(b)
	case RendezvousPunch:
		return m.Punch.Append(b)
	case RendezvousRefused:
		return m.Refused.Append(b)
	case RendezvousDrain:
		return m.Drain.Append(b)
	case RendezvousGone:
		return m.Gone.Append(b)
	}
	panic("decoded a message of unknown type")
}

func recodeRelay(b []byte) (string, []byte, error) {
	peer, datagram, err := ParseRelay(b)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("peer=%s datagram=%d", peer.Short(), len(datagram)), append(AppendRelay(nil, peer), datagram...), nil
}

func TestVectorsDecodeAndEncodeToTheSameBytes(t *testing.T) {
	for _, v := range readVectors(t) {
		recode := v.recoder()
		if recode == nil {
			continue // a text form
		}
		text, again, err := recode(v.raw)
		if !errors.Is(err, expectations[v.expect]) {
			t.Errorf("%s: error %v, want %s", v.name, err, v.expect)
			continue
		}
		if err != nil {
			continue
		}
		if text != v.text {
			t.Errorf("%s:\n got %s\nwant %s", v.name, text, v.text)
		}
		if !bytes.Equal(again, v.raw) {
			t.Errorf("%s: encoded again:\n got %x\nwant %x", v.name, again, v.raw)
		}
	}
}

func TestEveryTruncationIsRefusedAsShort(t *testing.T) {
	for _, v := range readVectors(t) {
		recode := v.recoder()
		if recode == nil || v.expect != "ok" {
			continue
		}
		for n := range min(len(v.raw), indivisible(v)) {
			if _, _, err := recode(v.raw[:n]); err != ErrShort {
				t.Errorf("%s: first %d of %d bytes: error %v, want %v", v.name, n, len(v.raw), err, ErrShort)
			}
		}
	}
}

// indivisible is how much of a vector only makes sense whole: padding, the
// datagram of a RELAY and the sealed body of a DATA frame have any length.
func indivisible(v vector) int {
	switch {
	case v.kind == "chunk" && ChunkType(v.raw[0]) == TypePadding:
		return 1
	case v.kind == "relay":
		return RelayHeaderLen + 1
	case v.kind == "data":
		return MinDataLen
	}
	return len(v.raw)
}

func TestEveryFrameAndMessageRefusesATrailingByte(t *testing.T) {
	for _, v := range readVectors(t) {
		recode := v.recoder()
		if recode == nil || v.expect != "ok" || indivisible(v) != len(v.raw) || v.kind == "chunk" || v.kind == "data" {
			continue
		}
		if _, _, err := recode(append(bytes.Clone(v.raw), 0)); err != ErrTrailing {
			t.Errorf("%s with a byte more: error %v, want %v", v.name, err, ErrTrailing)
		}
	}
}

func TestSpecShowsEveryVector(t *testing.T) {
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(string(spec)), "")
	for _, v := range readVectors(t) {
		if v.expect != "ok" {
			continue
		}
		want := strings.Join(strings.Fields(v.name), "") + hex.EncodeToString(v.raw)
		if !strings.Contains(squeezed, want) {
			t.Errorf("SPEC.md does not show %q as %x", v.name, v.raw)
		}
	}
}

func TestEveryTypeHasAVector(t *testing.T) {
	chunks, messages, kinds := map[ChunkType]bool{}, map[RendezvousType]bool{}, map[Kind]bool{}
	for _, v := range readVectors(t) {
		if v.expect != "ok" {
			continue
		}
		switch v.kind {
		case "chunk":
			if typ := ChunkType(v.raw[0]); typ&0xc0 == TypeMessage {
				chunks[TypeMessage] = true
			} else {
				chunks[typ] = true
			}
		case "rendezvous", "relay":
			messages[RendezvousType(v.raw[0])] = true
		case "data", "init", "resp", "cookie", "reset":
			kinds[Classify(v.raw)] = true
		}
	}
	for typ := range chunkNames {
		if !chunks[typ] {
			t.Errorf("no vector for %v", typ)
		}
	}
	for typ := RendezvousRegister; typ <= RendezvousAccept; typ++ {
		if !messages[typ] {
			t.Errorf("no vector for rendezvous type %#02x", typ)
		}
	}
	for kind := KindData; kind <= KindReset; kind++ {
		if !kinds[kind] {
			t.Errorf("no vector for %v", kind)
		}
	}
}
