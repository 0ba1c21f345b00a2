package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
)

// maskLen is how much of a mask a header takes: the first byte and the longest
// packet number.
const maskLen = 5

// A headerKey makes the masks of header protection (RFC 9001 §5.4) of one
// direction.
type headerKey struct {
	key   [keyLen]byte
	block cipher.Block // AES, made of key when it is first used; nil at rest, and with ChaCha20
}

func newHeaderKey(secret [32]byte) (h headerKey) {
	expand(h.key[:], secret[:], labelHeader)
	return h
}

// mask writes the mask that belongs to a sample into the front of out, which
// lives on the heap already, so that nothing escapes for it.
func (h *headerKey) mask(out *[aes.BlockSize]byte, sample []byte, useAES bool) *[maskLen]byte {
	if useAES {
		if h.block == nil {
			h.block = must(aes.NewCipher(h.key[:]))
		}
		h.block.Encrypt(out[:], sample)
		return (*[maskLen]byte)(out[:maskLen])
	}
	// RFC 9001 §5.4.4: the sample is block counter and nonce, the mask is the
	// start of the key stream.
	stream := must(chacha20.NewUnauthenticatedCipher(h.key[:], sample[4:16]))
	stream.SetCounter(binary.LittleEndian.Uint32(sample))
	clear(out[:maskLen])
	stream.XORKeyStream(out[:maskLen], out[:maskLen])
	return (*[maskLen]byte)(out[:maskLen])
}
