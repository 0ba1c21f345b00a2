package handshake

import (
	"errors"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Errors. Only ErrSelf and ErrApp can be a local caller's mistake; the others
// name for tests and counters why a frame was dropped.
var (
	ErrVersion = errors.New("handshake: unknown protocol version")
	ErrMAC     = errors.New("handshake: MAC1 does not match")
	ErrAuth    = errors.New("handshake: frame does not authenticate")
	ErrKey     = errors.New("handshake: not a usable public key")
	ErrSelf    = errors.New("handshake: the peer is oneself")
	ErrApp     = errors.New("handshake: application name too long")
)

// An Identity is a private key and what follows from it. One goroutine at a
// time may use it.
type Identity struct {
	private  []byte
	public   wire.PeerID
	macKey   [32]byte // of MAC1 in frames to us
	resetKey [32]byte
	known    knownSecrets
}

// NewIdentity returns the identity of an X25519 private key. All but the
// all-zero key, which nobody generated, are good.
func NewIdentity(private [32]byte) (*Identity, error) {
	if private == [32]byte{} {
		return nil, errors.New("handshake: the private key is all zero")
	}
	id := &Identity{private: private[:], public: publicKey(private[:]), known: make(knownSecrets)}
	id.macKey = macKey(id.public)
	id.resetKey = deriveKey(labelReset, private[:])
	return id, nil
}

// Public returns the peer ID that others dial.
func (id *Identity) Public() wire.PeerID { return id.public }

// ResetToken returns the token that proves that this identity issued conn. It
// depends on the private key alone, so an endpoint that lost its sessions in a
// restart can still tell their peers so.
func (id *Identity) ResetToken(conn wire.ConnID) wire.ResetToken {
	return wire.ResetToken(sum128(id.resetKey[:], conn[:]))
}

// checkPeer refuses a peer ID that cannot be, or should not be, the other side.
// A coordinate has one reduced encoding; X25519 ignores the top bit and reduces
// the rest (RFC 7748 §5), so without this check one key could go by several peer
// IDs and slip past a list of them.
func (id *Identity) checkPeer(peer wire.PeerID) error {
	if peer == id.public {
		return ErrSelf
	}
	if peer.IsZero() || !reduced(peer) {
		return ErrKey
	}
	return nil
}

// reduced reports whether the little-endian integer p is below 2^255 - 19.
func reduced(p wire.PeerID) bool {
	if p[31] != 0x7f {
		return p[31] < 0x7f
	}
	for _, b := range p[1:31] {
		if b != 0xff {
			return true
		}
	}
	return p[0] < 0xed
}
