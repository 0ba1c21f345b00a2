package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"
)

// Labels of the derivations, in the places of "quic key", "quic iv", "quic hp"
// and "quic ku" (RFC 9001 §5.1, §6.1).
const (
	labelKey    = "holdfast key"
	labelIV     = "holdfast iv"
	labelHeader = "holdfast hp"
	labelUpdate = "holdfast ku"
)

const (
	keyLen   = 32 // of ChaCha20
	aesLen   = 16 // of AES-128, the front of it: as strong as the X25519 it comes from
	nonceLen = 12
)

// An epoch is what protects one direction during one key phase. A nil epoch is
// absent.
type epoch struct {
	secret [32]byte // what the next epoch grows from; erased once it has
	key    [keyLen]byte
	aead   cipher.AEAD // made of key when it is first used; nil at rest
	iv     [nonceLen]byte
}

func newEpoch(secret [32]byte) epoch {
	e := epoch{secret: secret}
	expand(e.key[:], secret[:], labelKey)
	expand(e.iv[:], secret[:], labelIV)
	return e
}

// cipher returns the AEAD of e. What it holds for its key is many times as long
// as the key.
func (e *epoch) cipher(useAES bool) cipher.AEAD {
	if e.aead == nil {
		e.aead = newAEAD(e.key[:], useAES)
	}
	return e.aead
}

// successor returns the epoch that follows e, and erases the secret in e so that
// whoever steals the later keys cannot go back.
func (e *epoch) successor() epoch {
	var secret [32]byte
	expand(secret[:], e.secret[:], labelUpdate)
	clear(e.secret[:])
	next := newEpoch(secret)
	clear(secret[:])
	return next
}

func (e *epoch) present() bool { return e != nil }

// erase forgets the secrets of e, which may be absent.
func (e *epoch) erase() {
	if e != nil {
		*e = epoch{}
	}
}

func newAEAD(key []byte, useAES bool) cipher.AEAD {
	if useAES {
		return must(cipher.NewGCM(must(aes.NewCipher(key[:aesLen]))))
	}
	return must(chacha20poly1305.New(key))
}

// expand fills dst by HKDF-Expand with SHA-256 (RFC 5869) under an info string in
// the shape of TLS 1.3's HkdfLabel (RFC 8446 §7.1): length, label, no context.
func expand(dst, secret []byte, label string) {
	info := make([]byte, 0, 64)
	info = binary.BigEndian.AppendUint16(info, uint16(len(dst)))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	out := must(hkdf.Expand(sha256.New, secret, string(info), len(dst)))
	copy(dst, out)
	clear(out)
}

// must returns v. The errors it stands for are about key and output lengths,
// which are constants here.
func must[T any](v T, err error) T {
	if err != nil {
		panic("seal: " + err.Error())
	}
	return v
}
