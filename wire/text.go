package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

const checksumLen = 4

const base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567" // RFC 4648 §6, in lower case

var textEncoding = base32.NewEncoding(base32Alphabet).WithPadding(base32.NoPadding)

// appendText appends a text form: a prefix, then in base32 the value and a
// checksum. The prefix says what it is and in which version; base32 survives
// being read aloud, typed in capitals and double-clicked; the checksum catches
// what was mistyped. It may write to the capacity of value.
func appendText(b []byte, prefix string, value []byte) []byte {
	sum := textChecksum(prefix, value)
	b = append(b, prefix...)
	return textEncoding.AppendEncode(b, append(value, sum[:]...))
}

// parseText decodes s, whose value has from minValue to maxValue bytes; what is
// the noun for error messages.
func parseText(what, prefix, s string, minValue, maxValue int) ([]byte, error) {
	s = strings.TrimSpace(s)
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return nil, wrongPrefix(what, prefix, s)
	}
	encoded, err := canonicalBase32(what, len(prefix), s[len(prefix):])
	if err != nil {
		return nil, err
	}
	if limit := len(prefix) + textEncoding.EncodedLen(maxValue+checksumLen); len(s) > limit {
		return nil, fmt.Errorf("wire: %s is too long: %d characters, want at most %d", what, len(s), limit)
	}
	if limit := len(prefix) + textEncoding.EncodedLen(minValue+checksumLen); len(s) < limit {
		return nil, fmt.Errorf("wire: %s is cut short: %d characters, want at least %d", what, len(s), limit)
	}
	raw, err := textEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("wire: %s is cut short: no value has %d characters", what, len(s))
	}
	value := raw[:len(raw)-checksumLen]
	sum := textChecksum(prefix, value)
	// The second comparison refuses stray bits in the last character.
	if !bytes.Equal(raw[len(value):], sum[:]) || textEncoding.EncodeToString(raw) != encoded {
		return nil, fmt.Errorf("wire: %s does not match its checksum (mistyped?)", what)
	}
	return value, nil
}

// canonicalBase32 returns s in lower case, or an error that points at the first
// character that is not base32. before is how many characters precede s. Only
// ASCII is folded: Unicode has other characters whose lower case is a "k".
func canonicalBase32(what string, before int, s string) (string, error) {
	lower := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		if !strings.ContainsRune(base32Alphabet, r) {
			return "", fmt.Errorf("wire: %s has a bad character %q at position %d", what, r, before+len(lower)+1)
		}
		lower = append(lower, byte(r))
	}
	return string(lower), nil
}

func textChecksum(prefix string, value []byte) (sum [checksumLen]byte) {
	var buf [64]byte // a peer ID fits
	h := sha256.Sum256(append(append(buf[:0], prefix...), value...))
	copy(sum[:], h[:])
	return sum
}

func wrongPrefix(what, prefix, s string) error {
	if s == "" {
		return errors.New("wire: " + what + " is empty")
	}
	if strings.HasPrefix(strings.ToLower(s), ticketPrefix) {
		return fmt.Errorf("wire: want a %s, which starts with %q; this is a ticket", what, prefix)
	}
	return fmt.Errorf("wire: %s does not start with %q", what, prefix)
}
