package wire

import (
	"fmt"
	"strings"
)

// A PeerID is a peer's public key (X25519). It is what others dial.
type PeerID [32]byte

const (
	peerPrefix  = "hf1"
	peerTextLen = len(peerPrefix) + 58 // base32 of 36 bytes
	shortLen    = len(peerPrefix) + 8
)

// IsZero reports whether p is the zero PeerID, which names nobody.
func (p PeerID) IsZero() bool { return p == PeerID{} }

// String returns the text form: "hf1", then the key and a checksum in base32.
func (p PeerID) String() string {
	var buf [peerTextLen]byte
	return string(p.append(buf[:0]))
}

// Short returns the first characters of the text form, for logs. It does not
// identify the peer to anyone who could choose their key.
func (p PeerID) Short() string {
	var buf [peerTextLen]byte
	return string(p.append(buf[:0])[:shortLen])
}

// AppendText implements [encoding.TextAppender]. The error is always nil.
func (p PeerID) AppendText(b []byte) ([]byte, error) { return p.append(b), nil }

// MarshalText implements [encoding.TextMarshaler]. The error is always nil.
func (p PeerID) MarshalText() ([]byte, error) {
	return p.append(make([]byte, 0, peerTextLen)), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParsePeerID].
func (p *PeerID) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePeerID(string(text))
	return err
}

// ParsePeerID reads the text form of a peer ID, in either case and with space
// around it. Its errors are meant for the person who typed it.
func ParsePeerID(s string) (p PeerID, err error) {
	if strings.Contains(s, "@") {
		return p, fmt.Errorf("wire: want a peer ID alone; %q has an address with it", abbreviate(s))
	}
	value, err := parseText("peer ID", peerPrefix, s, len(p), len(p))
	if err != nil {
		return p, err
	}
	copy(p[:], value)
	if p.IsZero() {
		return p, fmt.Errorf("wire: peer ID is all zero, which names nobody")
	}
	return p, nil
}

func (p PeerID) append(b []byte) []byte {
	var value [len(p) + checksumLen]byte
	return appendText(b, peerPrefix, append(value[:0], p[:]...))
}
