package node

import "github.com/seed-67dce94e/holdfast/wire"

// A PeerID is a peer's public key: what others dial. Its text form has a prefix
// and a checksum, so that a mistyped one is refused.
type PeerID = wire.PeerID

// A Ticket is a peer ID with the servers and addresses to find it by.
type Ticket = wire.Ticket

// ParsePeerID reads the text form of a peer ID.
func ParsePeerID(s string) (PeerID, error) { return wire.ParsePeerID(s) }

// ParseTicket reads the text form of a ticket, or a bare peer ID as a ticket
// that holds nothing else.
func ParseTicket(s string) (Ticket, error) { return wire.ParseTicket(s) }
