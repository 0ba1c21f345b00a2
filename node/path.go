package node

import (
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// A PathKind says how datagrams reach the peer.
type PathKind uint8

// Kinds of path.
const (
	Direct   PathKind = iota // over UDP to the peer, or to the NAT before it
	Relayed                  // through a rendezvous server, which cannot read it
	Streamed                 // over a WebSocket: to or from a rendezvous server, where UDP does not pass
)

var pathKindNames = [...]string{"direct", "relayed", "websocket"}

// String returns "direct", "relayed" or "websocket".
func (k PathKind) String() string {
	if int(k) < len(pathKindNames) {
		return pathKindNames[k]
	}
	return "unknown"
}

// MarshalText implements [encoding.TextMarshaler].
func (k PathKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A Path is the way that a session's datagrams take at present.
type Path struct {
	Kind   PathKind       `json:"kind"`
	Remote netip.AddrPort `json:"remote"`           // the address datagrams go to: the server's on a relayed path
	Local  netip.AddrPort `json:"local,omitzero"`   // this node's socket; zero on a path that is not direct
	Via    PeerID         `json:"via,omitzero"`     // the server of a relayed path
	RTT    time.Duration  `json:"rtt_ns,omitempty"` // smoothed; zero if not measured yet

	// Validated says that the peer has answered at Remote. Until then, the
	// address is only where its latest datagram claims to come from.
	Validated bool `json:"validated"`

	// ECN says whether the path keeps ECN marks, by which routers tell of congestion
	// without dropping anything. It stays unknown where marks are not set: on relayed
	// paths, and until data has taken the path.
	ECN    ECNState `json:"ecn,omitzero"`
	Marked uint64   `json:"marked,omitempty"` // datagrams that routers have marked since that was last tested, as the peer tells

	// Singly says that datagrams leave one by one, at the price of more system calls:
	// those that left in one call got lost more often than others, so the driver or
	// the kernel spoils them. They are tried again after ten minutes.
	Singly bool `json:"singly,omitempty"`
}

// An ECNState says whether a path keeps ECN marks (RFC 9000 §13.4.2).
type ECNState = session.ECNState

// States of ECN on a path.
const (
	ECNUnknown = session.ECNUnknown // its first datagrams have yet to tell, or none was heard of
	ECNCapable = session.ECNCapable // a mark slows sending down as a loss would
	ECNFailed  = session.ECNFailed  // something on the path clears or changes marks, or a system cannot set or read them
)

// String returns a form such as "direct 192.0.2.1:4000".
func (p Path) String() string {
	switch p.Kind {
	case Streamed:
		return "websocket " + p.Remote.String()
	case Relayed:
		return "relayed via " + p.Via.Short() + " " + p.Remote.String()
	}
	return "direct " + p.Remote.String()
}

// same reports whether p and q are one way, whatever their round-trip times.
func (p Path) same(q Path) bool {
	return p.Kind == q.Kind && p.Remote == q.Remote && p.Via == q.Via
}
