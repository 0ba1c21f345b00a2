package channels

// Limits that both sides of a session rely on.
const (
	// MessageOverhead is what every reliable or unordered message takes of the
	// credit of its channel beside its bytes. It is what makes a flood of empty
	// messages finite.
	MessageOverhead = 32
	// NumberWindow bounds how far ahead of the lowest unresolved message of its
	// stream a reliable or unordered message may be numbered.
	NumberWindow = 1 << 16
	// MaxUnreliable is the longest unreliable or sequenced message. More
	// fragments than it holds would hardly ever all arrive.
	MaxUnreliable = 64 << 10
	// DefaultMaxChannels is how many channels each side may send on.
	DefaultMaxChannels = 256
)

// Limits of this implementation.
// Bounds of a send buffer that follows the congestion window, in bytes.
const (
	SendBufferMin = 256 << 10
	SendBufferMax = 4 << 20
)

const (
	// RoomMin is the room that Append needs to make progress on any message:
	// the longest chunk header, and a fragment with what it may not leave over.
	RoomMin = 160

	unsentMessages       = 1024    // unreliable ones
	unreadMessages       = 4096    // likewise: a burst arrives faster than it is taken
	unreliableQueueBytes = 1 << 20 // of either
	partialsMax          = 20      // half-built unreliable messages
	fragmentMin          = 64      // a shorter piece is not sent, unless nothing else is missing around it
	segmentMin           = 32      // how long the pieces received must be on average: fragmentMin, less for odd ones
	segmentsMax          = 8192    // pieces of one message that do not join
	readsMax             = 1 << 14 // receipts waiting to be sent
	awaitingMax          = 1 << 16 // stored messages whose receipt may still come
	lengthMax            = 1 << 30 // so that offsets fit a recovery.Ref
	extendedMax          = 4       // channels that hold more than their window, for messages longer than that
	windowMin            = 1 << 10
	growthMax            = 4  // channels whose window may grow to WindowMax
	windowTurns          = 8  // round trips
	earlyTurns           = 32 // of a channel that has not used up the window that it began with
	earlyWindow          = 8  // times that window is the most that it may have then
)

// Config sets up a Set. The zero value of every field works.
type Config struct {
	// MaxMessage is the longest message to accept, in bytes. If zero, 16 MiB.
	MaxMessage int
	// SendBuffer is how many bytes of a channel's reliable and unordered messages, with
	// MessageOverhead for each, may wait to be stored by the peer. The message
	// that reaches the limit is still taken. If zero, twice the congestion window,
	// from SendBufferMin to SendBufferMax: what lies here longer only grows old.
	SendBuffer int
	// Window is how many bytes each channel may hold for a slow reader at
	// first. The peer must be told Set.Window as its initial credit. If zero,
	// 256 KiB; the least is 1 KiB.
	Window int
	// WindowMax is how far a channel's window grows to keep a fast reader's
	// path full, for a few channels at a time. If zero, 8 MiB.
	WindowMax int
	// MaxChannels is how many channels each side may send on. If zero,
	// DefaultMaxChannels.
	MaxChannels int
	// Pool holds free buffers; Sets of one shard may share it. If nil, the Set
	// has its own.
	Pool *Pool
}

func (c Config) withDefaults() Config {
	orDefault(&c.MaxMessage, 16<<20)
	orDefault(&c.Window, 256<<10)
	orDefault(&c.WindowMax, 8<<20)
	orDefault(&c.MaxChannels, DefaultMaxChannels)
	c.MaxMessage = min(c.MaxMessage, lengthMax)
	c.Window = max(c.Window, windowMin)
	c.WindowMax = max(c.WindowMax, c.Window)
	if c.Pool == nil {
		c.Pool = NewPool()
	}
	return c
}

func orDefault(v *int, def int) {
	if *v == 0 {
		*v = def
	}
}

// Options say how a channel is sent.
type Options struct {
	// Priority orders channels: while one of higher priority has something to
	// send, those below wait.
	Priority int8
	// Weight is the share of the session among channels of equal priority. If
	// zero, 1.
	Weight int
	// LowLatency asks the peer to acknowledge the channel's messages at once, and
	// has short ones repeated before they are known to be lost.
	LowLatency bool
}
