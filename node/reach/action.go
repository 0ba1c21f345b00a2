package reach

import (
	"net/netip"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/wire"
)

// An ActionKind says what the node is to do.
type ActionKind uint8

// Action kinds, with the fields of Action that each one fills.
const (
	DialServer  ActionKind = iota + 1 // open a session with Server, then report ServerUp or ServerDown
	SendControl                       // send Data to Server, reliably, on wire.ChannelControl
	SendSTUN                          // send Data to Addr from the socket that peers are to reach
	OpenRelay                         // let the session with Peer, old or new, use relay Link too
	Probe                             // let the session with Peer probe the path to Addr
	Registered                        // Server knows this node: peers can be introduced through it
	Introduced                        // introduction ID to Peer begins: probing starts when a server said
	Failed                            // introduction ID to Peer came to nothing; Err says why
)

// An Action is what the node is to do next. It is one flat struct, so that
// draining actions allocates nothing.
type Action struct {
	Kind   ActionKind
	Server int
	Data   []byte // belongs to the receiver of the action
	Addr   netip.AddrPort
	Peer   wire.PeerID
	Link   uint32
	ID     uuid.UUID
	Err    error
}
