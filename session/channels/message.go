package channels

import (
	"errors"
	"strconv"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Message is what an application sends.
type Message struct {
	Channel  uint16
	Mode     wire.Mode
	Data     []byte     // copied by Send
	Key      uint64     // not 0: replaces a queued message of the channel that has the same key
	Deadline clock.Time // 0 is none: after it the message is dropped wherever it is
	Receipt  bool       // report Stored and Read, not failures alone
	Plain    bool       // unless it has a key, deadline or receipt: it needs no name, and nothing is reported of it
	Wait     bool       // if unreliable: rather meet ErrWouldBlock than push out the oldest in the queue
}

// nameless reports whether nobody will ask what became of the message.
func (m *Message) nameless() bool { return m.Plain && m.Key == 0 && m.Deadline == 0 && !m.Receipt }

// A Received message is handed to the application once.
type Received struct {
	Channel uint16
	Mode    wire.Mode
	Data    []byte // belongs to the receiver of it
}

// A MessageID names a message among those its session sent. It is 0 for those that
// need no name.
type MessageID uint64

// A Fate is how far a message has come.
type Fate uint8

// Fates. A message is first Stored, then perhaps Read; or it fails, once.
const (
	Stored     Fate = iota + 1 // the peer's library has all of it
	Read                       // the peer's application has taken it
	Lost                       // an unreliable message that was not acknowledged
	Expired                    // its deadline passed before it was stored
	Superseded                 // a newer message with the same key took its place
	Canceled                   // by Cancel
	Unknown                    // the session ended first; the peer may or may not have it
	Refused                    // longer than the peer accepts, which was learned only after Send
)

var fateNames = [...]string{"pending", "stored", "read", "lost", "expired", "superseded", "canceled", "unknown", "refused"}

func (f Fate) String() string {
	if int(f) < len(fateNames) {
		return fateNames[f]
	}
	return "fate(" + strconv.Itoa(int(f)) + ")"
}

// Failed reports whether the message will not be stored, or may not have been.
func (f Fate) Failed() bool { return f >= Lost }

// Errors of the calls that an application makes.
var (
	// ErrWouldBlock reports that the send buffer of the session is full.
	// TakeWritable tells when there is room again.
	ErrWouldBlock = errors.New("session: send buffer full")
	// ErrTooLarge reports a message longer than the peer accepts, or an
	// unreliable one longer than MaxUnreliable.
	ErrTooLarge = errors.New("session: message too large")
	// ErrTooManyChannels reports a message on one channel more than a session
	// may use.
	ErrTooManyChannels = errors.New("session: too many channels")
	// ErrMode reports a delivery mode that does not exist.
	ErrMode = errors.New("session: unknown delivery mode")
	// ErrShortBuffer reports a buffer shorter than the message. The message
	// stays queued.
	ErrShortBuffer = errors.New("session: buffer shorter than the message")
)

// Ways in which a peer can break the protocol.
var (
	errChannels      = errors.New("more channels than allowed")
	errCredit        = errors.New("more sent on a channel than its credit allows")
	errCreditChannel = errors.New("credit for a channel that carried nothing")
	errNumber        = errors.New("message number too far ahead")
	errLength        = errors.New("message longer than accepted")
	errTotal         = errors.New("fragments disagree on the length of a message")
	errOverlap       = errors.New("fragments disagree on the bytes of a message")
	errPack          = errors.New("messages that do not fit their pack")
	errFragments     = errors.New("message cut into too many fragments")
	errSkip          = errors.New("impossible skip")
	errRead          = errors.New("read receipt for a message that was not sent")
)

// reliable reports whether messages of the mode are sent until they are stored.
func reliable(m wire.Mode) bool { return m == wire.Reliable || m == wire.Unordered }
