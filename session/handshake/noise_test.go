package handshake

import (
	"bytes"
	"crypto/ecdh"
	"math/rand/v2"
	"testing"
)

// The curve agrees with the standard library's on random keys and points, among which
// are points of the twist and some with the top bit set.
func TestX25519AgreesWithTheStandardLibrary(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for range 200 {
		private, point := make([]byte, 32), make([]byte, 32)
		random.Read(private)
		random.Read(point)
		key, err := ecdh.X25519().NewPrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		if public := publicKey(private); !bytes.Equal(public[:], key.PublicKey().Bytes()) {
			t.Fatalf("private key %x: public key %x, not %x", private, public, key.PublicKey().Bytes())
		}
		peer, err := ecdh.X25519().NewPublicKey(point)
		if err != nil {
			t.Fatal(err)
		}
		want, err := key.ECDH(peer)
		if err != nil {
			t.Fatal(err)
		}
		dh := x25519DH{id: &Identity{private: make([]byte, 32), known: make(knownSecrets)}}
		if got, err := dh.DH(private, point); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("private key %x and point %x: secret %x (%v), not %x", private, point, got, err, want)
		}
	}
}
