package reach

import (
	"errors"
	"fmt"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Errors that end an introduction or refuse to begin one.
var (
	// ErrPeerAbsent reports that no server knows the peer, or that it is busy:
	// servers do not tell the two apart.
	ErrPeerAbsent = errors.New("reach: the peer is not online, or busy")
	// ErrNoRendezvous reports that no server could be asked.
	ErrNoRendezvous = errors.New("reach: no rendezvous server answers")
	// ErrSelf reports an attempt to be introduced to oneself.
	ErrSelf = errors.New("reach: cannot be introduced to oneself")
	// ErrLimit reports too many introductions or servers at once.
	ErrLimit = errors.New("reach: too many at once")
)

// A RefusedError is a server's refusal to introduce. It matches ErrPeerAbsent if
// that is what it means.
type RefusedError struct {
	Server wire.PeerID
	Code   wire.RefusedCode
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("reach: rendezvous server %s: %s", e.Server.Short(), e.Code)
}

// Is makes a refusal for want of the peer match ErrPeerAbsent.
func (e *RefusedError) Is(target error) bool {
	return target == ErrPeerAbsent && (e.Code == wire.RefusedAbsent || e.Code == wire.RefusedBusy)
}
