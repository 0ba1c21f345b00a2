package session

import (
	"errors"
	"fmt"
	"net"

	"github.com/seed-67dce94e/holdfast/session/channels"
)

// Errors that a caller tests for with errors.Is.
var (
	// ErrClosed reports a call on a session that has ended. It matches net.ErrClosed.
	ErrClosed error = closedError{}
	// ErrWouldBlock reports that the send buffer of the session is full. An
	// event of kind Writable follows when there is room again.
	ErrWouldBlock = channels.ErrWouldBlock
	// ErrTooLarge reports a message longer than the peer accepts, or an
	// unreliable one longer than 64 KiB.
	ErrTooLarge = channels.ErrTooLarge
	// ErrTooManyChannels reports a message on one channel more than a session
	// may use.
	ErrTooManyChannels = channels.ErrTooManyChannels
	// ErrMode reports a delivery mode that does not exist.
	ErrMode = channels.ErrMode
	// ErrShortBuffer reports a buffer shorter than the message. The message
	// stays queued.
	ErrShortBuffer = channels.ErrShortBuffer
	// ErrSelf reports an attempt to dial oneself.
	ErrSelf = errors.New("session: cannot dial oneself")
	// ErrLimit reports that the endpoint holds as many sessions as it may.
	ErrLimit = errors.New("session: too many sessions")
	// ErrHandshakeTimeout ends a session whose peer never answered.
	ErrHandshakeTimeout = errors.New("session: no answer from the peer")
	// ErrIdleTimeout ends a session that heard nothing for its idle timeout.
	ErrIdleTimeout = errors.New("session: idle timeout")
	// ErrStranded ends a session that had no working path for the resume time.
	ErrStranded = errors.New("session: no path to the peer")
	// ErrPeerRestarted ends a session that the peer no longer knows.
	ErrPeerRestarted = errors.New("session: the peer has restarted")
	// ErrKeysExhausted ends a session that used up its packet numbers or whose
	// key met too many forgeries (RFC 9001 §6.6).
	ErrKeysExhausted = errors.New("session: keys exhausted")
)

type closedError struct{}

func (closedError) Error() string        { return "session: closed" }
func (closedError) Is(target error) bool { return target == net.ErrClosed }

// A CloseError ends a session that one side closed on purpose. Code and Reason
// are what that side gave. It matches ErrClosed and net.ErrClosed.
type CloseError struct {
	Code   uint64
	Reason string
	Remote bool // the peer closed
}

func (e *CloseError) Error() string {
	by := "locally"
	if e.Remote {
		by = "by the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("session: closed %s (code %d)", by, e.Code)
	}
	return fmt.Sprintf("session: closed %s: %q (code %d)", by, e.Reason, e.Code)
}

// Is makes a CloseError match ErrClosed and net.ErrClosed.
func (e *CloseError) Is(target error) bool { return target == ErrClosed || target == net.ErrClosed }

// A ProtocolError ends a session whose peer broke the protocol in a frame that
// authenticated. It is sent to the peer as a close with code CodeProtocol.
type ProtocolError struct{ What string }

func (e *ProtocolError) Error() string { return "session: the peer broke the protocol: " + e.What }

// Close codes of the library itself. Applications use codes below 1<<32.
const (
	CodeProtocol uint64 = 1 << 32   // the peer broke the protocol
	CodeNode     uint64 = 1<<32 + 4 // the first of those of package node
)
