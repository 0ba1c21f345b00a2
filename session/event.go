package session

import (
	"net/netip"
	"strconv"

	"github.com/seed-67dce94e/holdfast/session/channels"
)

// A Path is where datagrams go: a link and, on a UDP link, an address. The core
// compares paths and knows direct from relayed; the shell knows what a link is.
type Path struct {
	Link   uint32         // 0 is the node's main UDP sockets; see LinkSocket for others
	Remote netip.AddrPort // zero on a relay link
}

// LinkSocket is set in the number of a link that is a further UDP socket of the
// node, such as one opened to get through a NAT. Paths on it are direct. A link
// that is neither 0 nor has LinkSocket set is a relay.
const LinkSocket uint32 = 1 << 31

// IsRelay reports whether datagrams on the path travel through a relay.
func (p Path) IsRelay() bool { return p.Link != 0 && p.Link&LinkSocket == 0 }

// String returns the remote address, after the number of the socket unless that
// is a main one, or the number of the relay link.
func (p Path) String() string {
	switch {
	case p.IsRelay():
		return "relay" + strconv.FormatUint(uint64(p.Link), 10)
	case p.Link != 0:
		return "socket" + strconv.FormatUint(uint64(p.Link&^LinkSocket), 10) + "/" + p.Remote.String()
	}
	return p.Remote.String()
}

// The types of messages are those of package channels.
type (
	// A Message is what an application sends.
	Message = channels.Message
	// A Received message is handed to the application once.
	Received = channels.Received
	// A MessageID names a message among those its session sent. It is 0 for those
	// that need no name.
	MessageID = channels.MessageID
	// A Fate is how far a message has come.
	Fate = channels.Fate
	// ChannelOptions say how a channel is sent.
	ChannelOptions = channels.Options
)

// Fates. A message is first Stored, then perhaps Read; or it fails, once.
const (
	Stored     = channels.Stored     // the peer's library has all of it
	Read       = channels.Read       // the peer's application has taken it
	Lost       = channels.Lost       // an unreliable message that was not acknowledged
	Expired    = channels.Expired    // its deadline passed before it was stored
	Superseded = channels.Superseded // a newer message with the same key took its place
	Canceled   = channels.Canceled   // by Cancel
	Unknown    = channels.Unknown    // the session ended first; the peer may or may not have it
	Refused    = channels.Refused    // longer than the peer accepts, which was learned only after Send
)

// An EventKind says what happened.
type EventKind uint8

// Event kinds, with the fields of Event that each one fills beside Session.
const (
	Established   EventKind = iota + 1 // keys are confirmed; Session.Initiator tells who began
	Readable                           // Channel has a message: drain it with Recv
	Writable                           // Send accepts again after ErrWouldBlock
	Outcome                            // Message has met Fate
	PathChanged                        // data now goes to Path; before it went to Old
	PathValidated                      // the peer answered on Path; data may go there later
	PathFailed                         // Path stopped answering
	Stranded                           // no path answers any more: find new ones (Session.AddPath) within the resume time
	Closed                             // Err says why; always the last event of a session
)

// An Event is a change that the caller may care about. It is one flat struct,
// so that draining events allocates nothing.
type Event struct {
	Kind      EventKind
	Session   *Session
	Channel   uint16
	Message   MessageID
	Fate      Fate
	Path, Old Path
	Err       error
}
