package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

// The ChaCha20-Poly1305 short header packet of RFC 9001 appendix A.5, step by
// step. QUIC's labels differ from ours and so does its header, all else agrees.
func TestDerivationsAndMaskMatchRFC9001ChaCha20Packet(t *testing.T) {
	secret := unhex(t, "9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
	for _, tc := range []struct{ label, want string }{
		{"tls13 quic key", "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8"},
		{"tls13 quic iv", "e0459b3474bdd0e44a41c144"},
		{"tls13 quic hp", "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4"},
		{"tls13 quic ku", "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9"},
	} {
		got := make([]byte, len(tc.want)/2)
		expand(got, secret, tc.label)
		wantBytes(t, tc.label, got, unhex(t, tc.want))
	}

	key := make([]byte, keyLen)
	expand(key, secret, "tls13 quic key")
	e := epoch{aead: newAEAD(key, false)}
	expand(e.iv[:], secret, "tls13 quic iv")
	var k Keys
	nonce := k.nonceFor(&e, 654360564)
	wantBytes(t, "nonce", nonce, unhex(t, "e0459b3474bdd0e46d417eb0"))
	sealed := e.aead.Seal(nil, nonce, []byte{0x01}, unhex(t, "4200bff4"))
	wantBytes(t, "sealed", sealed, unhex(t, "655e5cd55c41f69080575d7999c25a5bfb"))

	var h headerKey
	expand(h[:], secret, "tls13 quic hp")
	mask := h.mask(&k.use().sendMask, &k.use().mask, sealed[1:], false)
	wantBytes(t, "mask", mask[:], unhex(t, "aefefe7d03"))
}

// The client Initial of RFC 9001 appendix A.2.
func TestMaskMatchesRFC9001AESPacket(t *testing.T) {
	block, err := aes.NewCipher(unhex(t, "9f50449e04a0e810283a1e9933adedd2"))
	if err != nil {
		t.Fatal(err)
	}
	var h headerKey
	var out [aes.BlockSize]byte
	mask := h.mask(&block, &out, unhex(t, "d1b1c98dd7689fb8ec11d242b123dc9b"), true)
	wantBytes(t, "mask", mask[:], unhex(t, "437b9aec36"))
}

// TestAESFrameIsWhatTheSpecificationSays makes one by the words of wire/SPEC.md §3.4.
func TestAESFrameIsWhatTheSpecificationSays(t *testing.T) {
	secret := [32]byte(unhex(t, "9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b"))
	derive := func(label string, n int) []byte {
		info := string([]byte{0, byte(n), byte(len(label))}) + label + "\x00"
		out, err := hkdf.Expand(sha256.New, secret[:], info, n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	blockOf := func(label string) cipher.Block {
		b, err := aes.NewCipher(derive(label, 32)[:16])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const pn = 0x1234
	header := wire.AppendDataHeader(nil, dst, false, pn, 2)
	nonce := derive("holdfast iv", 12)
	nonce[10] ^= pn >> 8
	nonce[11] ^= pn & 0xff
	aead, err := cipher.NewGCM(blockOf("holdfast key"))
	if err != nil {
		t.Fatal(err)
	}
	want := aead.Seal(bytes.Clone(header), nonce, []byte("plaintext"), header)
	mask := make([]byte, aes.BlockSize)
	blockOf("holdfast hp").Encrypt(mask, want[13:29])
	want[0] ^= mask[0] & 0x3f
	want[9] ^= mask[1]
	want[10] ^= mask[2]

	got := New(secret, [32]byte{}, true).Seal(header, []byte("plaintext"), pn)
	wantBytes(t, "frame", got, want)
}
