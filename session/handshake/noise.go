package handshake

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"math"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/flynn/noise"
	"github.com/google/uuid"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Result is what a finished handshake leaves.
type Result struct {
	Peer       wire.PeerID
	Params     wire.Params // the peer's
	Send, Recv [32]byte    // secrets of the two directions
	Hash       [32]byte    // of the whole handshake: channel binding, equal on both sides
	SessionID  uuid.UUID   // a name made from Hash, equal on both sides; not a secret
}

// x25519DH is X25519 (RFC 7748) as Noise calls it. It is circl's and not crypto/ecdh's,
// which takes nearly twice as long, and computes the public key of every private one
// that it is given as bytes. It serves one handshake of an identity, and looks up
// what is known of the peer.
type x25519DH struct {
	id        *Identity
	ephemeral Ephemeral       // of a responder, no more than the pair
	asked     [2]sharedSecret // of the identity key, newest first: one is the peer's
}

// A sharedSecret is what X25519 makes of the identity key and a public one.
type sharedSecret struct {
	public wire.PeerID
	secret x25519.Key
}

// GenerateKeypair implements [noise.DHFunc]: it is the key that was made before.
func (d *x25519DH) GenerateKeypair(io.Reader) (noise.DHKey, error) {
	pair := d.ephemeral.pair
	return noise.DHKey{Private: pair.private[:], Public: pair.public[:]}, nil
}

// DH implements [noise.DHFunc]. It fails for a point of low order.
func (d *x25519DH) DH(private, public []byte) ([]byte, error) {
	ofIdentity := subtle.ConstantTimeCompare(private, d.id.private) == 1
	if ofIdentity {
		if known, ok := d.id.known[wire.PeerID(public)]; ok {
			return known[:], nil
		}
	}
	if e := &d.ephemeral; e.usable && e.peer == wire.PeerID(public) && subtle.ConstantTimeCompare(private, e.pair.private[:]) == 1 {
		return e.shared[:], nil
	}
	var shared x25519.Key
	if !x25519.Shared(&shared, (*x25519.Key)(private), (*x25519.Key)(public)) {
		return nil, ErrKey
	}
	if ofIdentity {
		d.asked = [2]sharedSecret{{wire.PeerID(public), shared}, d.asked[0]}
	}
	return shared[:], nil
}

// remember is called when the handshake with peer has succeeded.
func (d *x25519DH) remember(peer wire.PeerID) {
	for _, a := range d.asked {
		if a.public == peer {
			d.id.known.add(peer, a.secret)
		}
	}
}

// DHLen implements [noise.DHFunc].
func (*x25519DH) DHLen() int { return wire.NoiseKey }

// DHName implements [noise.DHFunc].
func (*x25519DH) DHName() string { return "25519" }

func publicKey(private []byte) (public wire.PeerID) {
	x25519.KeyGen((*x25519.Key)(&public), (*x25519.Key)(private))
	return public
}

// newNoise returns the state of one side before its first message. The hash is SHA-256
// and not BLAKE2s because the handshake key then feeds an HKDF of the same hash in
// package seal, and processors have instructions for it.
func newNoise(dh *x25519DH, peer []byte, prologue []byte) (*noise.HandshakeState, error) {
	return noise.NewHandshakeState(noise.Config{
		CipherSuite:   noise.NewCipherSuite(dh, noise.CipherChaChaPoly, noise.HashSHA256),
		Pattern:       noise.HandshakeIK,
		Initiator:     peer != nil,
		Prologue:      prologue,
		StaticKeypair: noise.DHKey{Private: dh.id.private, Public: dh.id.public[:]},
		PeerStatic:    peer,
	})
}

// appMax is the longest application name; its length takes one byte.
const appMax = math.MaxUint8

// prologue returns what both sides must agree on beforehand (Noise §6): protocol,
// version and application.
func prologue(app string) ([]byte, error) {
	if len(app) > appMax {
		return nil, ErrApp
	}
	b := append([]byte("holdfast"), wire.Version, byte(len(app)))
	return append(b, app...), nil
}

// newResult gathers the outcome of the last message of a handshake.
func newResult(state *noise.HandshakeState, send, recv *noise.CipherState, peer wire.PeerID, params wire.Params) Result {
	hash := [32]byte(state.ChannelBinding())
	return Result{
		Peer:      peer,
		Params:    params,
		Send:      send.UnsafeKey(),
		Recv:      recv.UnsafeKey(),
		Hash:      hash,
		SessionID: sessionID(hash),
	}
}

// sessionID makes a UUID of version 8 (RFC 9562 §5.8) out of a handshake hash.
func sessionID(hash [32]byte) uuid.UUID {
	return uuid.NewHash(sha256.New(), uuid.Nil, hash[:], 8)
}
