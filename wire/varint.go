package wire

import "encoding/binary"

// MaxVarint is the largest integer that a variable-length integer can carry
// (RFC 9000 §16).
const MaxVarint = 1<<62 - 1

// AppendVarint appends v in the shortest form of RFC 9000 §16. It panics if v
// exceeds MaxVarint, which is a bug in the caller and never input.
func AppendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, 0x40|byte(v>>8), byte(v))
	case v < 1<<30:
		return append(b, 0x80|byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	case v <= MaxVarint:
		return binary.BigEndian.AppendUint64(b, 0xc0<<56|v)
	}
	panic("wire: varint out of range")
}

// VarintLen returns the number of bytes AppendVarint uses for v.
func VarintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	}
	return 8
}

// ConsumeVarint reads an integer from the front of b and returns what follows
// it. Unlike QUIC it refuses an integer that could have been shorter, so that
// each value has one encoding.
func ConsumeVarint(b []byte) (v uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, ErrShort
	}
	n := 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, nil, ErrShort
	}
	switch n {
	case 1:
		return uint64(b[0]), b[1:], nil
	case 2:
		v = uint64(b[0]&0x3f)<<8 | uint64(b[1])
	case 4:
		v = uint64(binary.BigEndian.Uint32(b)) & (1<<30 - 1)
	case 8:
		v = binary.BigEndian.Uint64(b) & MaxVarint
	}
	if VarintLen(v) != n {
		return 0, nil, ErrNotMinimal
	}
	return v, b[n:], nil
}
