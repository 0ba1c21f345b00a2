package wire

import (
	"encoding/hex"
	"errors"
)

// ConnIDLen is the length of a connection ID in bytes.
const ConnIDLen = 8

// A ConnID names a session to the endpoint that chose it. Every DATA frame
// carries the receiver's; an address never names a session.
type ConnID [ConnIDLen]byte

// String returns the ID in hexadecimal.
func (c ConnID) String() string { return hex.EncodeToString(c[:]) }

// A ResetToken proves that a RESET frame comes from the endpoint that issued
// the connection ID it belongs to (SPEC §4.4).
type ResetToken [16]byte

// Decode errors. A caller that reads from the network counts and drops; these
// name what was wrong for tests and logs.
var (
	ErrShort      = errors.New("wire: truncated")
	ErrTrailing   = errors.New("wire: trailing bytes")
	ErrNotMinimal = errors.New("wire: integer not in its shortest form")
	ErrRange      = errors.New("wire: value out of range")
	ErrType       = errors.New("wire: unknown type")
)
