package wire

import "encoding/binary"

// Version is the protocol version in every INIT frame. It is bound into the
// handshake, so that changing it on the way makes the handshake fail.
const Version = 1

// Sizes of the handshake frames and their parts. An INIT is longer than anything
// it is answered with, so a spoofed source gains nothing (SPEC §4).
const (
	MACLen    = 16
	NoiseKey  = 32
	ParamsLen = 8 + 16 + 1 + 1 + 4 + 4 + 4 + 8
	InitLen   = 2 + ConnIDLen + NoiseKey + (NoiseKey + TagLen) + (ParamsLen + TagLen) + 2*MACLen
	RespLen   = 1 + ConnIDLen + NoiseKey + (ParamsLen + TagLen) + MACLen
	CookieLen = 1 + ConnIDLen + 24 + 16 + TagLen
	ResetLen  = 1 + ConnIDLen + 16
	initMACs  = InitLen - 2*MACLen
	respMAC   = RespLen - MACLen
	initNoise = 2 + ConnIDLen
	respNoise = 1 + ConnIDLen
)

// Params is what each side tells the other inside the sealed part of its
// handshake frame. Every session starts from these.
type Params struct {
	ConnID        ConnID // the sender's: what the peer must address DATA frames to
	Token         ResetToken
	AES           bool   // has AES in hardware; AES-GCM is used if both have
	MaxAckDelay   uint8  // milliseconds
	IdleTimeout   uint32 // milliseconds; 0 is none
	MaxMessage    uint32 // the largest message the sender accepts, in bytes
	ChannelCredit uint32 // initial credit of every channel, in bytes
	// Crosses names the sender's end of another handshake with the same peer
	// that is under way, so that the two become one; zero if there is none.
	Crosses ConnID
}

// Append appends p in its fixed layout of ParamsLen bytes.
func (p *Params) Append(b []byte) []byte {
	b = append(b, p.ConnID[:]...)
	b = append(b, p.Token[:]...)
	var flags byte
	if p.AES {
		flags = 1
	}
	b = append(b, flags, p.MaxAckDelay)
	b = binary.BigEndian.AppendUint32(b, p.IdleTimeout)
	b = binary.BigEndian.AppendUint32(b, p.MaxMessage)
	b = binary.BigEndian.AppendUint32(b, p.ChannelCredit)
	return append(b, p.Crosses[:]...)
}

// ParseParams decodes exactly one Params.
func ParseParams(b []byte) (p Params, err error) {
	if len(b) < ParamsLen {
		return p, ErrShort
	}
	if len(b) > ParamsLen {
		return p, ErrTrailing
	}
	copy(p.ConnID[:], b)
	copy(p.Token[:], b[8:])
	if b[24] > 1 {
		return p, ErrRange
	}
	p.AES = b[24] == 1
	p.MaxAckDelay = b[25]
	p.IdleTimeout = binary.BigEndian.Uint32(b[26:])
	p.MaxMessage = binary.BigEndian.Uint32(b[30:])
	p.ChannelCredit = binary.BigEndian.Uint32(b[34:])
	copy(p.Crosses[:], b[38:])
	return p, nil
}

// An Init is the first handshake frame, split into its parts. Noise, MAC1 and
// MAC2 alias the frame.
type Init struct {
	Version uint8  // the receiver drops a version it does not speak
	Src     ConnID // where to address COOKIE and RESP
	Noise   []byte // Noise IK message 1
	MAC1    []byte
	MAC2    []byte // zero without a cookie
}

// ParseInit splits an INIT frame.
func ParseInit(b []byte) (f Init, err error) {
	if len(b) < InitLen {
		return f, ErrShort
	}
	if len(b) > InitLen {
		return f, ErrTrailing
	}
	if b[0] != typeInit {
		return f, ErrType
	}
	f.Version = b[1]
	copy(f.Src[:], b[2:])
	f.Noise = b[initNoise:initMACs:initMACs]
	f.MAC1 = b[initMACs : initMACs+MACLen : initMACs+MACLen]
	f.MAC2 = b[initMACs+MACLen:]
	return f, nil
}

// AppendInitHeader appends what precedes the Noise message of an INIT frame.
func AppendInitHeader(b []byte, src ConnID) []byte {
	return append(append(b, typeInit, Version), src[:]...)
}

// A Resp answers an INIT. Noise and MAC1 alias the frame.
type Resp struct {
	Dst   ConnID
	Noise []byte // Noise IK message 2
	MAC1  []byte
}

// ParseResp splits a RESP frame.
func ParseResp(b []byte) (f Resp, err error) {
	if len(b) < RespLen {
		return f, ErrShort
	}
	if len(b) > RespLen {
		return f, ErrTrailing
	}
	if b[0] != typeResp {
		return f, ErrType
	}
	copy(f.Dst[:], b[1:])
	f.Noise = b[respNoise:respMAC:respMAC]
	f.MAC1 = b[respMAC:]
	return f, nil
}

// AppendRespHeader appends what precedes the Noise message of a RESP frame.
func AppendRespHeader(b []byte, dst ConnID) []byte {
	return append(append(b, typeResp), dst[:]...)
}

// A Cookie answers an INIT under load: come back with a MAC2 made of this.
type Cookie struct {
	Dst    ConnID
	Nonce  [24]byte
	Sealed [16 + TagLen]byte
}

// Append appends f as a frame.
func (f *Cookie) Append(b []byte) []byte {
	b = append(append(b, typeCookie), f.Dst[:]...)
	b = append(b, f.Nonce[:]...)
	return append(b, f.Sealed[:]...)
}

// ParseCookie decodes a COOKIE frame.
func ParseCookie(b []byte) (f Cookie, err error) {
	if len(b) < CookieLen {
		return f, ErrShort
	}
	if len(b) > CookieLen {
		return f, ErrTrailing
	}
	if b[0] != typeCookie {
		return f, ErrType
	}
	copy(f.Dst[:], b[1:])
	copy(f.Nonce[:], b[9:])
	copy(f.Sealed[:], b[33:])
	return f, nil
}

// A Reset says that the sender knows no session under the connection ID it was
// sent, and proves by the token that it once issued that ID.
type Reset struct {
	ID    ConnID // the unknown one, echoed
	Token ResetToken
}

// Append appends f as a frame.
func (f *Reset) Append(b []byte) []byte {
	b = append(append(b, typeReset), f.ID[:]...)
	return append(b, f.Token[:]...)
}

// ParseReset decodes a RESET frame.
func ParseReset(b []byte) (f Reset, err error) {
	if len(b) < ResetLen {
		return f, ErrShort
	}
	if len(b) > ResetLen {
		return f, ErrTrailing
	}
	if b[0] != typeReset {
		return f, ErrType
	}
	copy(f.ID[:], b[1:])
	copy(f.Token[:], b[9:])
	return f, nil
}
