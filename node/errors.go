package node

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
)

// Errors to test for with errors.Is.
var (
	// ErrClosed reports a call on a node or session that has ended. It matches
	// net.ErrClosed.
	ErrClosed = session.ErrClosed
	// ErrWouldBlock reports that there is no room for the message now.
	ErrWouldBlock = session.ErrWouldBlock
	// ErrTooLarge reports a message longer than the peer accepts, or an
	// unreliable or sequenced one longer than 64 KiB.
	ErrTooLarge = session.ErrTooLarge
	// ErrShortBuffer reports a buffer shorter than the message.
	ErrShortBuffer = session.ErrShortBuffer
	// ErrIdleTimeout ends a session that heard nothing for its idle timeout.
	ErrIdleTimeout = session.ErrIdleTimeout
	// ErrStranded ends a session that found no path for the resume time.
	ErrStranded = session.ErrStranded
	// ErrPeerRestarted ends a session that the peer no longer knows.
	ErrPeerRestarted = session.ErrPeerRestarted
	// ErrHandshakeTimeout reports a peer that did not answer a dial.
	ErrHandshakeTimeout = session.ErrHandshakeTimeout

	// ErrPeerAbsent reports a peer that no rendezvous server knows at present.
	ErrPeerAbsent = reach.ErrPeerAbsent
	// ErrOffline reports a Dial while no rendezvous server could be reached.
	ErrOffline = reach.ErrNoRendezvous
	// ErrNoRendezvous reports a Dial by a node that has no rendezvous server.
	ErrNoRendezvous = errors.New("node: no rendezvous server to find the peer with (set Config.Rendezvous, or use DialAddr)")
	// ErrSelf reports a dial of the node itself.
	ErrSelf = session.ErrSelf
	// ErrNoAddress reports a DialAddr without an address.
	ErrNoAddress = errors.New("node: no address to dial")
	// ErrRelayOnly reports a DialAddr by a node with Config.RelayOnly.
	ErrRelayOnly = errors.New("node: Config.RelayOnly forbids direct paths")
	// ErrChannel reports a message for channel 65535, which nodes keep for
	// themselves.
	ErrChannel = errors.New("node: channel 65535 is for nodes themselves")
	// ErrUndelivered reports a Close that could not wait for the peer to have
	// everything.
	ErrUndelivered = errors.New("node: closed before the peer had every message")
	// ErrSharedSocket reports a Rebind of a node that was given its socket.
	ErrSharedSocket = errors.New("node: cannot rebind Config.PacketConn")
	// ErrHandled reports an Accept by a node whose Handler takes its sessions.
	ErrHandled = errors.New("node: sessions go to Config.Handler")
)

// A CloseError ends a session that one side closed on purpose, with the code
// and reason that side gave.
type CloseError = session.CloseError

// A DialError reports every attempt of a dial that failed.
type DialError struct {
	Peer     PeerID
	Attempts []Attempt
}

// An Attempt is one way to the peer that a dial tried.
type Attempt struct {
	Kind   PathKind
	Remote netip.AddrPort // zero if the attempt did not come to an address
	Err    error
}

func (e *DialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node: cannot reach peer %s", e.Peer.Short())
	for i, a := range e.Attempts {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + a.String())
	}
	return b.String()
}

// String returns a form such as "direct 192.0.2.1:4000: no answer".
func (a Attempt) String() string {
	text := a.Err.Error()
	for _, pkg := range []string{"reach: ", "session: "} { // parts that the caller does not know
		text = strings.TrimPrefix(text, pkg)
	}
	if !a.Remote.IsValid() {
		return fmt.Sprintf("%v: %s", a.Kind, text)
	}
	return fmt.Sprintf("%v %v: %s", a.Kind, a.Remote, text)
}

// Unwrap returns the error of each attempt.
func (e *DialError) Unwrap() []error {
	errs := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		errs[i] = a.Err
	}
	return errs
}

// A SendError reports what became of a message that was not delivered.
type SendError struct {
	Fate Fate
}

func (e *SendError) Error() string { return "node: message " + e.Fate.String() }
