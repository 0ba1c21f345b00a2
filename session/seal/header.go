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
type headerKey [keyLen]byte

func newHeaderKey(secret [32]byte) (h headerKey) {
	expand(h[:], secret[:], labelHeader)
	return h
}

// mask writes the mask that belongs to a sample into the front of out, which
// lives on the heap already, so that nothing escapes for it. The block cipher is
// made when it is first used.
func (h *headerKey) mask(block *cipher.Block, out *[aes.BlockSize]byte, sample []byte, useAES bool) *[maskLen]byte {
	if useAES {
		if *block == nil {
			*block = must(aes.NewCipher(h[:aesLen]))
		}
		(*block).Encrypt(out[:], sample)
		return (*[maskLen]byte)(out[:maskLen])
	}
	// RFC 9001 §5.4.4: the sample is block counter and nonce, the mask is the
	// start of the key stream.
	stream := must(chacha20.NewUnauthenticatedCipher(h[:], sample[4:16]))
	stream.SetCounter(binary.LittleEndian.Uint32(sample))
	clear(out[:maskLen])
	stream.XORKeyStream(out[:maskLen], out[:maskLen])
	return (*[maskLen]byte)(out[:maskLen])
}
