package node

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Delivery says what is promised of a message. The zero value is the safe one.
type Delivery = wire.Mode

// Deliveries.
const (
	Reliable   = wire.Reliable   // arrives once, in order
	Unordered  = wire.Unordered  // arrives once, in any order
	Unreliable = wire.Unreliable // sent once; may be lost or overtaken
	Sequenced  = wire.Sequenced  // sent once; what is older than the newest received is dropped
)

// A Message is what applications exchange. It arrives whole or not at all.
type Message struct {
	// Channel groups messages that share order and credit; there is no order
	// between channels.
	Channel uint16
	// Mode is how the message is delivered.
	Mode Delivery
	// Data is the content. Send copies it; a received one belongs to the receiver.
	Data []byte
	// Key, if not 0, makes the message replace one of its channel with the same
	// key that has not been sent yet. Not set on received messages.
	Key uint64
	// Deadline, if not zero, is when the message is dropped wherever it is. Not
	// set on received messages.
	Deadline time.Time
}

// A Fate is how far a message has come.
type Fate = session.Fate

// Fates.
const (
	Stored     = session.Stored     // the peer's node has all of it
	Read       = session.Read       // the peer's application has taken it
	Lost       = session.Lost       // an unreliable message that was not acknowledged
	Expired    = session.Expired    // its deadline passed first
	Superseded = session.Superseded // a newer message with the same key took its place
	Canceled   = session.Canceled   // by Receipt.Cancel
	Refused    = session.Refused    // longer than the peer accepts
	Unknown    = session.Unknown    // the session ended first; the peer may or may not have it
)

// Stats counts what a session has done.
type Stats = session.Stats
