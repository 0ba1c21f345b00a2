package wire

import "encoding/binary"

// A Kind says what a datagram holds, judged by its first bytes alone, as
// RFC 7983 does for protocols that share a port.
type Kind uint8

// The kinds of datagram. STUN (RFC 8489) shares the socket with our frames.
const (
	KindUnknown Kind = iota
	KindSTUN
	KindData
	KindInit
	KindResp
	KindCookie
	KindReset
)

// First bytes. A DATA frame has the bits 01 on top and hides the other six
// under header protection; the rest are whole bytes.
const (
	dataFixed  = 0x40
	typeInit   = 0xc1
	typeResp   = 0xc2
	typeCookie = 0xc3
	typeReset  = 0xc4

	keyPhaseBit  = 0x04
	reservedBits = 0x38
	pnLenBits    = 0x03

	stunMagic     = 0x2112a442
	stunHeaderLen = 20
)

// Sizes of a DATA frame.
const (
	DataHeaderLen   = 1 + ConnIDLen // before the packet number
	TagLen          = 16            // the authentication tag at the end
	SampleLen       = 16            // what header protection is keyed with
	MaxPNLen        = 4
	DataOverheadMax = DataHeaderLen + MaxPNLen + TagLen
	// MinDataLen leaves a whole sample after the longest packet number.
	MinDataLen = DataHeaderLen + MaxPNLen + SampleLen
)

// Classify tells the kinds of datagram apart. It looks at the first byte and,
// for STUN, at the magic cookie; what it names need not be well formed.
func Classify(b []byte) Kind {
	if len(b) == 0 {
		return KindUnknown
	}
	switch {
	case b[0]&0xc0 == dataFixed:
		return KindData
	case b[0] < 4:
		if len(b) >= stunHeaderLen && binary.BigEndian.Uint32(b[4:]) == stunMagic {
			return KindSTUN
		}
	case b[0] == typeInit:
		return KindInit
	case b[0] == typeResp:
		return KindResp
	case b[0] == typeCookie:
		return KindCookie
	case b[0] == typeReset:
		return KindReset
	}
	return KindUnknown
}

// Destination returns the connection ID of a DATA, RESP, COOKIE or RESET frame:
// the one by which the receiver finds the session. In a RESET it is the peer's
// and not the receiver's own.
func Destination(b []byte) (id ConnID, ok bool) {
	if len(b) < DataHeaderLen {
		return id, false
	}
	return ConnID(b[1:DataHeaderLen]), true
}

// AppendDataHeader appends the header of a DATA frame, unprotected: the type
// byte, the receiver's connection ID and the low pnLen bytes of pn.
func AppendDataHeader(b []byte, dst ConnID, keyPhase bool, pn uint64, pnLen int) []byte {
	first := byte(dataFixed | (pnLen - 1))
	if keyPhase {
		first |= keyPhaseBit
	}
	b = append(b, first)
	b = append(b, dst[:]...)
	for i := pnLen - 1; i >= 0; i-- {
		b = append(b, byte(pn>>(8*i)))
	}
	return b
}

// MaskHeader applies a header-protection mask (RFC 9001 §5.4.1) to the header of
// a DATA frame whose packet number is pnLen bytes long.
func MaskHeader(frame []byte, mask *[5]byte, pnLen int) {
	frame[0] ^= mask[0] & 0x3f
	for i := range pnLen {
		frame[DataHeaderLen+i] ^= mask[1+i]
	}
}

// Sample returns the bytes of a DATA frame that header protection is keyed
// with. The frame is at least MinDataLen long.
func Sample(frame []byte) []byte {
	const at = DataHeaderLen + MaxPNLen
	return frame[at : at+SampleLen : at+SampleLen]
}

// UnmaskHeader removes header protection in place and returns the fields it
// hid. ok is false if a reserved bit is set. The caller drops such a frame, but
// only after it has checked the tag: dropping it sooner would show in the timing
// what the mask was (RFC 9001 §9.5).
func UnmaskHeader(frame []byte, mask *[5]byte) (truncated uint64, pnLen int, keyPhase, ok bool) {
	frame[0] ^= mask[0] & 0x3f
	pnLen = int(frame[0]&pnLenBits) + 1
	for i := range pnLen {
		frame[DataHeaderLen+i] ^= mask[1+i]
		truncated = truncated<<8 | uint64(frame[DataHeaderLen+i])
	}
	return truncated, pnLen, frame[0]&keyPhaseBit != 0, frame[0]&reservedBits == 0
}
