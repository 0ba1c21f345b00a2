package wslink

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// Specification (wire/SPEC.md §6.6).
const (
	// Subprotocol is what both sides name in the WebSocket handshake.
	Subprotocol = "holdfast.1"
	// Path is where a server takes connections.
	Path = "/holdfast"
	// DatagramMax is the length of the largest datagram.
	DatagramMax = 2048

	datagramsMax = 64    // in a message
	messageMax   = 16376 // bytes; with the header of a WebSocket frame, one TLS record
	prefixLen    = 2     // bytes of the length before each datagram
)

// A message is the body of one WebSocket message: being filled to be sent, or as
// it was read. Messages are pooled, so that an idle connection holds none.
type message struct {
	datagrams int // counted only when sending
	n         int
	buf       [messageMax + 1]byte // one more, to see that a peer's is too long
}

var messages = sync.Pool{New: func() any { return new(message) }}

func newMessage() *message {
	m := messages.Get().(*message)
	m.datagrams, m.n = 0, 0
	return m
}

func (m *message) free() { messages.Put(m) }

func (m *message) bytes() []byte { return m.buf[:m.n] }

func (m *message) fits(datagram []byte) bool {
	return m.datagrams < datagramsMax && m.n+prefixLen+len(datagram) <= messageMax
}

func (m *message) append(datagram []byte) {
	binary.BigEndian.PutUint16(m.buf[m.n:], uint16(len(datagram)))
	m.n += prefixLen + copy(m.buf[m.n+prefixLen:], datagram)
	m.datagrams++
}

// check counts the datagrams of a message that a peer sent. A message is taken
// as a whole or not at all.
func check(b []byte) (datagrams int, err error) {
	if len(b) > messageMax {
		return 0, fmt.Errorf("wslink: message is longer than %d bytes", messageMax)
	}
	if len(b) == 0 {
		return 0, fmt.Errorf("wslink: message is empty")
	}
	for at := 0; at < len(b); datagrams++ {
		if datagrams == datagramsMax {
			return 0, fmt.Errorf("wslink: message has more than %d datagrams", datagramsMax)
		}
		rest := b[at:]
		if len(rest) < prefixLen {
			return 0, fmt.Errorf("wslink: message ends inside the length at byte %d", at)
		}
		n := int(binary.BigEndian.Uint16(rest))
		if n == 0 || n > DatagramMax {
			return 0, fmt.Errorf("wslink: length at byte %d is %d, want 1 to %d", at, n, DatagramMax)
		}
		if n > len(rest)-prefixLen {
			return 0, fmt.Errorf("wslink: length at byte %d is %d, but %d bytes follow", at, n, len(rest)-prefixLen)
		}
		at += prefixLen + n
	}
	return datagrams, nil
}

// cut returns the first datagram of a message that passed check, and the rest.
func cut(b []byte) (datagram, rest []byte) {
	end := prefixLen + int(binary.BigEndian.Uint16(b))
	return b[prefixLen:end:end], b[end:]
}
