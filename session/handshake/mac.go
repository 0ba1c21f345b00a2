package handshake

import (
	"crypto/subtle"
	"hash"

	"golang.org/x/crypto/blake2s"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Labels keep the keys that come from one value apart.
const (
	labelMAC    = "holdfast mac1"
	labelCookie = "holdfast cookie"
	labelReset  = "holdfast reset"
)

// macKey returns the key of MAC1 in frames to a peer. It is no secret from those
// who know the peer ID: MAC1 proves just that knowledge.
func macKey(peer wire.PeerID) [32]byte { return deriveKey(labelMAC, peer[:]) }

// cookieKey returns the key that seals COOKIE frames from a peer.
func cookieKey(peer wire.PeerID) [32]byte { return deriveKey(labelCookie, peer[:]) }

// deriveKey hashes a label and a value of 32 bytes.
func deriveKey(label string, value []byte) [32]byte {
	return blake2s.Sum256(append([]byte(label), value...))
}

// sum128 returns the keyed BLAKE2s-128 of message.
func sum128(key, message []byte) (sum [wire.MACLen]byte) {
	h := newHasher(key)
	return *h.sum(message)
}

// A hasher computes keyed BLAKE2s-128 sums again and again without allocating.
// BLAKE2s takes a key by itself and is fast on every machine in one block or
// four, which is all that these frames are.
type hasher struct {
	hash hash.Hash
	out  [wire.MACLen]byte
}

func newHasher(key []byte) *hasher {
	h, err := blake2s.New128(key)
	if err != nil {
		panic("handshake: " + err.Error()) // no key, or one beyond 32 bytes
	}
	return &hasher{hash: h}
}

// sum returns the sum of the parts one after the other, valid until the next
// call.
func (h *hasher) sum(parts ...[]byte) *[wire.MACLen]byte {
	h.hash.Reset()
	for _, p := range parts {
		h.hash.Write(p)
	}
	h.hash.Sum(h.out[:0])
	return &h.out
}

// matches reports in constant time whether mac is the sum of message.
func (h *hasher) matches(mac, message []byte) bool {
	return subtle.ConstantTimeCompare(h.sum(message)[:], mac) == 1
}
