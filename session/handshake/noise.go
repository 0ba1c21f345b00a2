package handshake

import (
	"crypto/ecdh"
	"crypto/sha256"
	"io"
	"math"

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

// The names that a keyPair goes by inside Noise.
var (
	staticHandle    = []byte{'s'}
	ephemeralHandle = []byte{'e'}
)

// A keyPair holds the two private keys of one side of one handshake, and is the
// Diffie-Hellman function that Noise calls. Noise passes private keys as bytes,
// and to parse those costs crypto/ecdh as much as the exchange itself, since it
// computes the public key. So Noise gets only a handle, and the keys, parsed
// once, stay here.
type keyPair struct {
	static, ephemeral *ecdh.PrivateKey
}

// GenerateKeypair implements [noise.DHFunc]. It generates nothing: the ephemeral
// key was an argument.
func (k *keyPair) GenerateKeypair(io.Reader) (noise.DHKey, error) {
	return noise.DHKey{Private: ephemeralHandle, Public: k.ephemeral.PublicKey().Bytes()}, nil
}

// DH implements [noise.DHFunc]. It fails for a point of low order.
func (k *keyPair) DH(handle, public []byte) ([]byte, error) {
	point, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	key := k.static
	if handle[0] == ephemeralHandle[0] {
		key = k.ephemeral
	}
	return key.ECDH(point)
}

// DHLen implements [noise.DHFunc].
func (k *keyPair) DHLen() int { return wire.NoiseKey }

// DHName implements [noise.DHFunc].
func (k *keyPair) DHName() string { return "25519" }

// newNoise returns the state of one side before its first message. The hash is
// SHA-256 and not BLAKE2s because the handshake key then feeds an HKDF of the
// same hash in package seal, and processors have instructions for it.
func newNoise(id *Identity, keys *keyPair, peer []byte, prologue []byte) (*noise.HandshakeState, error) {
	return noise.NewHandshakeState(noise.Config{
		CipherSuite:   noise.NewCipherSuite(keys, noise.CipherChaChaPoly, noise.HashSHA256),
		Pattern:       noise.HandshakeIK,
		Initiator:     peer != nil,
		Prologue:      prologue,
		StaticKeypair: noise.DHKey{Private: staticHandle, Public: id.public[:]},
		PeerStatic:    peer,
	})
}

func parseEphemeral(private [32]byte) (*ecdh.PrivateKey, error) {
	return ecdh.X25519().NewPrivateKey(private[:])
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
