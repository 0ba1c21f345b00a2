package channels

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/fifo"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Set is all channels of one session, in both directions. Make one with New.
// It is not safe for concurrent use. After each call the caller drains
// NextReadable, NextOutcome and TakeWritable.
type Set struct {
	cfg      Config
	pool     *Pool
	byID     map[uint16]*channel
	channels []*channel // in order of first use, so that walking them is deterministic
	recent   *channel   // the last one found: most calls are about the same
	opened   int        // channels that we have sent on
	accepted int        // channels that the peer has sent on
	rtt      time.Duration
	frame    int // the longest message chunk that a datagram surely has room for
	stats    Stats

	// What we send.
	sending        bool   // from SetPeer to Abort
	lengthMax      int    // the longest message that the peer accepts
	initialCredit  uint64 // what the peer grants each channel from the start
	ids            idTable
	sendBuffer     int                   // how many bytes each channel may buffer
	buffered       int                   // bytes of unresolved reliable messages, with overhead
	unfinished     int                   // reliable messages, and SKIPs, that the peer has not acknowledged
	crowded        bool                  // Send has refused a message because there are too many
	unsent         list[outgoing]        // unreliable messages not wholly sent, oldest first
	unsentCount    int                   // of these, with those in packs
	unsentBytes    int                   // of these
	backlogged     bool                  // Send has refused an unreliable message that asked to wait
	due            heap[*outgoing]       // by deadline
	classes        []*class              // highest priority first
	skips          list[outgoing]        // withdrawn messages whose SKIP is to be sent
	credits        fifo.Queue[*channel]  // whose CREDIT is to be sent
	reads          fifo.Queue[wire.Read] // to be sent
	awaiting       map[wire.Read]MessageID
	awaitingOrder  fifo.Queue[wire.Read] // oldest first; includes some no longer in awaiting
	outcomes       fifo.Queue[outcome]
	flying         list[outgoing] // sent on low-latency channels and not acknowledged, oldest first
	tail           *outgoing      // of these, sent last; nil once it is settled
	copiesEach     int            // what Append may repeat: each so often
	copiesBytes    int            // and so many bytes
	covered        covered        // by what Fill has returned
	writableSignal bool
	refusedAt      clock.Time // when Send last found no room for a reliable message; 0 if never
	urgentAt       clock.Time // when the application last sent a short message of low latency; 0 if never

	// What we receive.
	partials    list[incoming] // half-built unreliable messages, oldest first
	unread      list[incoming] // unreliable messages not taken by the application, oldest first
	unreadBytes int            // of these
	readable    fifo.Queue[uint16]
	extended    int                  // channels that are extended
	waiting     fifo.Queue[*channel] // to be extended
	grown       int                  // by how much windows have grown, over all channels
}

type outcome struct {
	id   MessageID
	fate Fate
}

// New returns a Set that queues messages and sends none until SetPeer.
func New(cfg Config) *Set {
	cfg = cfg.withDefaults()
	s := cfg.Pool.newSet()
	s.cfg, s.pool, s.lengthMax, s.sendBuffer = cfg, cfg.Pool, cfg.MaxMessage, cfg.SendBuffer
	s.SetPath(0, 0, 0)
	return s
}

// reset makes the record fit for another session.
func (s *Set) reset() {
	clear(s.byID)
	clear(s.channels)
	*s = Set{byID: s.byID, channels: s.channels[:0]}
}

// SetPeer tells the longest message that the peer accepts and the credit that
// it grants every channel from the start. Queued messages that turn out to be
// too long meet the fate Refused. It is called again if another handshake takes
// over before the peer has taken anything in; what was sent by then is sent anew
// under the same numbers, and keeps its credit.
func (s *Set) SetPeer(maxMessage, channelCredit int) {
	s.sending = true
	s.lengthMax = min(maxMessage, lengthMax)
	s.initialCredit = uint64(channelCredit)
	for _, ch := range s.channels {
		ch.limit = max(s.initialCredit, ch.used)
		for mode := range ch.out {
			s.refuseTooLong(&ch.out[mode])
		}
		s.schedule(ch)
	}
}

func (s *Set) refuseTooLong(st *outStream) {
	for n := st.queue.head; n != nil; {
		m := n.item
		n = n.next
		if m.total > s.lengthMax {
			s.withdraw(m, Refused)
		}
	}
}

// Configure sets how a channel is sent, from the next chunk on.
func (s *Set) Configure(ch uint16, o Options) {
	c := s.channel(ch)
	s.unschedule(c)
	c.options = o
	c.class = s.class(o.Priority)
	s.schedule(c)
}

// Window returns the credit of each channel that the peer must be told before
// it sends: what SetPeer gets on the other side.
func (s *Set) Window() int { return s.cfg.Window }

// SetPath tells the smoothed round-trip time of the path, its congestion window and
// the size of its datagrams in bytes, which the credit granted, the send buffers and
// the packing of unreliable messages follow.
func (s *Set) SetPath(rtt time.Duration, window, datagram int) {
	s.rtt, s.frame = rtt, max(datagram-frameOverhead, 0)
	if s.cfg.SendBuffer == 0 {
		s.setBuffer(min(max(2*window, SendBufferMin), SendBufferMax))
	}
}

// setBuffer sets the send buffer of each channel, and lets those go on for whom there
// is room now.
func (s *Set) setBuffer(n int) {
	more := n > s.sendBuffer
	s.sendBuffer = n
	if more {
		for _, ch := range s.channels {
			s.signalWritable(ch)
		}
	}
}

// Pending reports whether Append would put out anything now.
func (s *Set) Pending() bool {
	return s.sending && (s.skips.n > 0 || s.credits.Len() > 0 || s.reads.Len() > 0 || s.nextChannel() != nil)
}

// Owes reports whether credit or receipts are to be sent.
func (s *Set) Owes() bool { return s.credits.Len() > 0 || s.reads.Len() > 0 }

// Drained reports whether everything sent is settled: nothing is queued, and
// nothing reliable is unacknowledged.
func (s *Set) Drained() bool { return s.unfinished == 0 && s.unsent.n == 0 }

// NextReadable returns a channel that has become readable. It is reported once;
// the caller then receives from it until there is nothing left.
func (s *Set) NextReadable() (ch uint16, ok bool) {
	ch, ok = s.readable.Pop()
	if ok {
		s.find(ch).announced = false
	}
	return ch, ok
}

// TakeWritable reports, once, that Send has room again after ErrWouldBlock.
func (s *Set) TakeWritable() bool {
	w := s.writableSignal
	s.writableSignal = false
	return w
}

// NextOutcome returns what became of a message: Stored and Read for those that
// asked for a receipt, failures for all.
func (s *Set) NextOutcome() (MessageID, Fate, bool) {
	o, ok := s.outcomes.Pop()
	return o.id, o.fate, ok
}

// Abort gives every unresolved message the fate Unknown, in the order of Send,
// and sends nothing more; Send must not be called after it. What was received
// can still be taken.
func (s *Set) Abort() {
	s.sending = false
	for _, m := range s.ids.inOrder() {
		s.report(m.name(), Unknown)
		s.settle(m)
		s.retire(m)
	}
	for _, ch := range s.channels {
		for mode := range ch.out {
			ch.out[mode].each(s.retire) // withdrawn, with their SKIP unacknowledged
		}
		s.schedule(ch)
	}
}

// A channel is both directions of one channel of the session.
type channel struct {
	id       uint16
	opened   bool // we have sent on it
	accepted bool // the peer has sent on it

	// What we send.
	options     Options
	class       *class
	virtualTime uint64 // of the class, when the channel's next chunk may start
	ready       int    // place in the heap of the class; -1 if nothing can be sent
	buffered    int    // bytes of its unresolved reliable messages, with overhead
	blocked     bool   // Send has returned ErrWouldBlock for want of room here
	modes       uint8  // a bit for each that messages were sent in
	out         [4]outStream
	used        uint64 // credit used
	limit       uint64 // credit granted by the peer

	// What we receive.
	in        [2]inStream    // reliable and unordered
	seen      numberSet      // unreliable messages, the latest seenMax
	newest    uint64         // one above the newest sequenced message completed
	unread    list[incoming] // in the order to be taken
	announced bool           // the channel is in Set.readable
	received  uint64         // credit used by the peer
	consumed  uint64         // of it, freed again
	granted   uint64         // credit granted to the peer
	window    int            // how far granted should be ahead of consumed
	turn      clock.Time     // when the round trip began in which use is measured
	turnFrom  uint64         // consumed by then
	creditDue bool           // the channel is in Set.credits
	reserved  uint64         // granted may go up to here for messages in progress
	extended  bool           // granted or reserved is beyond consumed + window
	waits     bool           // the channel is in Set.waiting
}

// find returns a channel, or nil if it was never used.
func (s *Set) find(id uint16) *channel {
	if s.recent != nil && s.recent.id == id {
		return s.recent
	}
	ch := s.byID[id]
	if ch != nil {
		s.recent = ch
	}
	return ch
}

// channel returns a channel, made if it is new.
func (s *Set) channel(id uint16) *channel {
	if ch := s.find(id); ch != nil {
		return ch
	}
	ch := s.pool.newChannel()
	ch.id, ch.limit = id, s.initialCredit
	ch.granted, ch.window = uint64(s.cfg.Window), s.cfg.Window
	s.add(ch)
	return ch
}

// add takes in a channel that is new, or that was at rest.
func (s *Set) add(ch *channel) {
	ch.class = s.class(ch.options.Priority)
	s.byID[ch.id] = ch
	s.channels = append(s.channels, ch)
	if ch.opened {
		s.opened++
	}
	if ch.accepted {
		s.accepted++
	}
}

func newChannel() *channel {
	ch := &channel{ready: -1}
	for mode := range ch.out {
		ch.out[mode].channel, ch.out[mode].mode = ch, wire.Mode(mode)
	}
	return ch
}

// reset makes the record fit for another channel; it keeps a little room for
// messages in flight.
func (ch *channel) reset() {
	const flightKept = 64
	var flights [len(ch.out)][]*outgoing
	for i := range ch.out {
		if f := ch.out[i].flight; len(f) <= flightKept {
			flights[i] = f
		}
	}
	*ch = channel{ready: -1}
	for i := range ch.out {
		ch.out[i].channel, ch.out[i].mode, ch.out[i].flight = ch, wire.Mode(i), flights[i]
	}
}

// open returns a channel to send on.
func (s *Set) open(id uint16) (*channel, error) {
	if ch := s.find(id); ch != nil && ch.opened {
		return ch, nil
	}
	if s.opened == s.cfg.MaxChannels {
		return nil, ErrTooManyChannels
	}
	ch := s.channel(id)
	ch.opened = true
	s.opened++
	return ch, nil
}

// accept returns a channel that the peer sends on.
func (s *Set) accept(now clock.Time, id uint16) (*channel, error) {
	if ch := s.find(id); ch != nil && ch.accepted {
		return ch, nil
	}
	if s.accepted == s.cfg.MaxChannels {
		return nil, errChannels
	}
	ch := s.channel(id)
	ch.accepted, ch.turn = true, now
	s.accepted++
	return ch, nil
}
