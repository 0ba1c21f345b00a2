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
	SendSTUN                          // send Data to Addr from the socket Link
	OpenRelay                         // let the session with Peer, old or new, use relay Link too
	Probe                             // let the session with Peer probe the path from the socket Link to Addr
	Guess                             // send a PATH_CHALLENGE of the session with Peer from the socket Link to Addr
	SendOpener                        // send any datagram from the socket Link to Addr that dies on the way (OpenerTTL)
	OpenSocket                        // open a UDP socket of Addr's family beside the main one, under the number Link
	CloseSocket                       // close the socket Link once no session uses it
	Surveyed                          // Findings tell more than before
	Registered                        // Server knows this node: peers can be introduced through it
	Introduced                        // introduction ID to Peer begins: probing starts when a server said
	Failed                            // introduction ID to Peer came to nothing; Err says why
)

// OpenerTTL is the TTL of datagrams that are to open this side's NATs without
// reaching the other's: there may be two NATs on this side, and a router or two
// before the next.
const OpenerTTL = 4

// An Action is what the node is to do next. It is one flat struct, so that
// draining actions allocates nothing.
type Action struct {
	Kind   ActionKind
	Server int
	Data   []byte // belongs to the receiver of the action
	Addr   netip.AddrPort
	Peer   wire.PeerID
	Link   uint32 // of a relay or of a socket; 0 is the main socket
	ID     uuid.UUID
	Err    error
}
