package node

import (
	"net/netip"
	"time"
)

// A PathKind says how datagrams reach the peer.
type PathKind uint8

// Kinds of path.
const (
	Direct  PathKind = iota // over UDP to the peer, or to the NAT before it
	Relayed                 // through a rendezvous server, which cannot read it
)

// String returns "direct" or "relayed".
func (k PathKind) String() string {
	if k == Relayed {
		return "relayed"
	}
	return "direct"
}

// MarshalText implements [encoding.TextMarshaler].
func (k PathKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A Path is the way that a session's datagrams take at present.
type Path struct {
	Kind   PathKind       `json:"kind"`
	Remote netip.AddrPort `json:"remote"`           // the address datagrams go to: the server's on a relayed path
	Via    PeerID         `json:"via,omitzero"`     // the server of a relayed path
	RTT    time.Duration  `json:"rtt_ns,omitempty"` // smoothed; zero if not measured yet

	// Validated says that the peer has answered at Remote. Until then, the
	// address is only where its latest datagram claims to come from.
	Validated bool `json:"validated"`
}

// String returns a form such as "direct 192.0.2.1:4000".
func (p Path) String() string {
	if p.Kind == Relayed {
		return "relayed via " + p.Via.Short() + " " + p.Remote.String()
	}
	return "direct " + p.Remote.String()
}

// same reports whether p and q are one way, whatever their round-trip times.
func (p Path) same(q Path) bool {
	return p.Kind == q.Kind && p.Remote == q.Remote && p.Via == q.Via
}
