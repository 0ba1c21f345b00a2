package handshake

import (
	"github.com/cloudflare/circl/dh/x25519"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Keypair is the ephemeral key of one side in one handshake. It must serve no other.
type Keypair struct{ private, public x25519.Key }

// NewKeypair makes a key pair of 32 fresh random bytes.
func NewKeypair(random [32]byte) *Keypair {
	k := &Keypair{private: random}
	x25519.KeyGen(&k.public, &k.private)
	return k
}

// An Ephemeral is a Keypair for a handshake with one peer, and what X25519 makes of it
// and the peer's identity key: that is most of an INIT's work, needs nothing of whoever
// sends it, and can be done beforehand and elsewhere. Initiate uses it up.
type Ephemeral struct {
	pair   *Keypair
	peer   wire.PeerID
	shared x25519.Key
	usable bool // the peer's key is no point of low order
}

// Prepare does that work.
func Prepare(peer wire.PeerID, pair *Keypair) *Ephemeral {
	e := &Ephemeral{pair: pair, peer: peer}
	e.usable = x25519.Shared(&e.shared, &pair.private, (*x25519.Key)(&peer))
	return e
}
