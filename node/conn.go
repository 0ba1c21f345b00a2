package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Conn is a session with one peer. It outlives changes of address on either
// side. Its methods may be called by several goroutines at once.
type Conn struct {
	shard     *shard
	sess      *session.Session
	id        uuid.UUID
	initiator bool

	// All below is guarded by the shard's mutex.
	path     Path
	channels []*Channel // those in use, by ID
	ready    []*Channel // with messages for Conn.Recv or the Handler, in turn
	readers  waitList
	writers  waitList
	enders   waitList
	receipts map[session.MessageID]*Receipt
	watchers []*watcher
	done     chan struct{} // made by Done
	closing  bool          // this side has closed: its application wants no more of it
	err      error         // why the session has ended; nil while it has not
	untold   untold
	talk     nodeTalk
	troubled bool   // no path answered when last heard of
	rooms    uint32 // how often roomMade was called
	burst    burst
	held     *hold // not nil while the application does not know of the session
}

// Close codes that nodes use. Applications use codes below 1<<32.
const (
	CodeBusy    = session.CodeNode + iota // too many sessions wait to be accepted
	CodeGoodbye                           // the node is closing
	CodeNoPath                            // only a relay reaches the peer, and it may not be used
)

// closeTimeout bounds what Close waits for, whatever the peer does.
const closeTimeout = 5 * time.Second

func newConn(s *shard, sess *session.Session) *Conn {
	c := &Conn{
		shard:     s,
		sess:      sess,
		id:        sess.ID(),
		initiator: sess.Initiator(),
		path:      s.describe(sess.Path()),
	}
	sess.User = c
	return c
}

// Peer returns who is at the other end.
func (c *Conn) Peer() PeerID { return c.sess.Peer() }

// ID returns the session ID, equal on both sides, for logs and metrics.
func (c *Conn) ID() uuid.UUID { return c.id }

// Initiator reports whether this side opened the session.
func (c *Conn) Initiator() bool { return c.initiator }

// Path returns the way that data takes now.
func (c *Conn) Path() Path {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.presentPath()
}

// presentPath is the path of the data with what changes about it all the time. The
// shard is locked.
func (c *Conn) presentPath() Path {
	p := c.path
	p.RTT = c.sess.Stats().SmoothedRTT
	var paths [16]session.PathInfo
	for _, x := range c.sess.Paths(paths[:0]) {
		if x.Active {
			p.Validated = p.Validated || x.Validated
			p.ECN, p.Marked, p.Singly = x.ECN, x.Marked, x.Singly
		}
	}
	return p
}

// Paths returns the way that data takes now, and after it the others that have been
// proved.
func (c *Conn) Paths() []Path {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	var list []Path
	var buf [16]session.PathInfo
	for _, x := range c.sess.Paths(buf[:0]) {
		if !x.Validated && !x.Active {
			continue
		}
		p := c.shard.describe(x.Path)
		p.RTT, p.Validated = x.RTT, x.Validated
		p.ECN, p.Marked, p.Singly = x.ECN, x.Marked, x.Singly
		if x.Active {
			list = slices.Insert(list, 0, p)
		} else {
			list = append(list, p)
		}
	}
	return list
}

// Stats returns what the session has counted and measured.
func (c *Conn) Stats() Stats {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.sess.Stats()
}

// Send sends data reliably and in order on channel 0. It blocks only while the
// send buffer is full; that it returns does not mean that the peer has the
// message: see SendReceipt.
func (c *Conn) Send(ctx context.Context, data []byte) error {
	return c.send(ctx, &Message{Data: data}, nil)
}

// SendMessage sends a message, blocking while the send buffer is full. One that is
// Unreliable waits for room as well while the path answers, and if it does not, or
// if the message is Sequenced, pushes out the oldest of its kind: those that have
// waited longest are worth least. Its errors are that of ctx, ErrTooLarge, ErrClosed after Close, and the one that
// ended the session.
func (c *Conn) SendMessage(ctx context.Context, m Message) error {
	return c.send(ctx, &m, nil)
}

// TrySend sends a message, or returns ErrWouldBlock if the send buffer is full. One
// that is Unreliable or Sequenced rather pushes out the oldest of its kind.
func (c *Conn) TrySend(m Message) error {
	now := c.begin()
	defer c.leave()
	if err := c.ended(); err != nil {
		return err
	}
	err := c.sendNow(now, &m, nil, false)
	if err != nil {
		c.makeRoom()
	}
	return err
}

// SendReceipt sends a message and returns a receipt that tells what becomes of it.
func (c *Conn) SendReceipt(ctx context.Context, m Message) (*Receipt, error) {
	r := &Receipt{conn: c, mode: m.Mode}
	if err := c.send(ctx, &m, r); err != nil {
		return nil, err
	}
	return r, nil
}

func (c *Conn) send(ctx context.Context, m *Message, r *Receipt) error {
	s, now := c.shard, c.begin()
	defer c.leave()
	for {
		if err := c.ended(); err != nil {
			return err
		}
		err := c.sendNow(now, m, r, true)
		if err == nil {
			return nil
		}
		room := c.makeRoom()
		if err != ErrWouldBlock {
			return err
		}
		if !room {
			c.burst.paused(now)
			if err = s.wait(ctx, &c.writers); err != nil {
				return err
			}
		}
		now = c.look()
		c.burst.waited(now)
		if !room && c.burst.run == steadyRun {
			c.noteFlood(ctx, now)
		}
	}
}

// roomMade lets those who wait to send look again.
func (c *Conn) roomMade() {
	c.rooms++
	c.writers.wake()
}

// makeRoom sends what is held back after a message was refused, and reports whether that,
// or what else was due, has let senders go on.
func (c *Conn) makeRoom() bool {
	before := c.rooms
	c.letGo(c.shard.node.now())
	return c.rooms != before
}

// sendNow gives a message to the core. If it is refused the caller drains.
func (c *Conn) sendNow(now session.Time, m *Message, r *Receipt, wait bool) error {
	if m.Channel == wire.ChannelNode {
		return ErrChannel
	}
	if r != nil && len(c.receipts) >= receiptsMax {
		return ErrWouldBlock
	}
	if c.burst.blind && !m.Deadline.IsZero() {
		now = c.look()
	}
	s := c.shard
	id, err := c.sess.Send(now, &session.Message{
		Channel:  m.Channel,
		Mode:     m.Mode,
		Data:     m.Data,
		Key:      m.Key,
		Deadline: s.node.coreTime(now, m.Deadline),
		Receipt:  r != nil,
		Plain:    r == nil,
		Wait:     wait,
	})
	if err != nil {
		return err
	}
	if r != nil {
		c.track(id, r)
	}
	s.usedAt = now
	c.sent(now, len(m.Data))
	return nil
}

// ended returns why no more can be sent, or nil.
func (c *Conn) ended() error {
	if c.closing {
		return ErrClosed
	}
	return c.err
}

// Recv returns the next message of any channel that was not opened with
// Channel. It takes them in turn, so that no channel starves another. After the
// peer has closed, it returns what had arrived before and then the error that
// ended the session: a *CloseError, or one such as ErrIdleTimeout or
// ErrStranded.
func (c *Conn) Recv(ctx context.Context) (Message, error) {
	return c.receive(ctx, &c.readers, c.take)
}

// receive waits until take has a message.
func (c *Conn) receive(ctx context.Context, readers *waitList, take func(session.Time) (session.Received, bool)) (Message, error) {
	s := c.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	for now := s.back(); ; {
		if c.closing {
			return Message{}, ErrClosed
		}
		r, ok := take(now)
		s.took(ok)
		switch {
		case ok:
			return Message{Channel: r.Channel, Mode: r.Mode, Data: r.Data}, nil
		case c.err != nil:
			return Message{}, c.err
		}
		var err error
		if now, err = c.await(ctx, readers); err != nil {
			return Message{}, err
		}
	}
}

// await waits for a message to take, or for the end, and returns when it ceases to.
func (c *Conn) await(ctx context.Context, readers *waitList) (now session.Time, err error) {
	s := c.shard
	if now = s.loan.seenAt; s.loan.unseen > 0 {
		now = s.look()
	}
	c.flush(now)
	if c.closing || c.err != nil {
		return now, nil
	}
	if err = s.wait(ctx, readers); err != nil {
		return 0, err
	}
	now = s.node.now()
	s.loan.seenAt = now
	return now, nil
}

// take returns the next message for Recv.
func (c *Conn) take(now session.Time) (r session.Received, ok bool) {
	ok = c.inTurn(func(channel uint16) bool {
		r, ok = c.sess.Recv(now, channel)
		return ok
	})
	return r, ok
}

// inTurn lets recv try the ready channels until one has a message, which then
// goes to the end of the line.
func (c *Conn) inTurn(recv func(channel uint16) bool) bool {
	for len(c.ready) > 0 {
		ch := c.ready[0]
		last := len(c.ready) - 1
		copy(c.ready, c.ready[1:])
		if !ch.opened && recv(ch.id) {
			c.ready[last] = ch
			return true
		}
		ch.ready = false
		c.ready[last] = nil
		c.ready = c.ready[:last]
	}
	return false
}

// Messages returns an iterator over what Recv returns. It ends quietly when
// either side closes with code 0; any other end is its last element.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := c.Recv(ctx)
			if err != nil && isGoodbye(err) {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// isGoodbye reports whether err says that a session was closed in good order.
func isGoodbye(err error) bool {
	var closed *CloseError
	if errors.As(err, &closed) {
		return closed.Code == 0 || closed.Code == CodeGoodbye
	}
	return errors.Is(err, ErrClosed)
}

// Done returns a channel that is closed when the session has ended.
func (c *Conn) Done() <-chan struct{} {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err returns why the session has ended, or nil while it has not.
func (c *Conn) Err() error {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.err
}

// Close delivers what was sent, then closes the session. It returns within 5 s:
// if the peer has not stored every reliable message by then, or the session ends
// before, with an error that matches ErrUndelivered. Closing a session that has
// ended already does nothing: its end was told by Recv, Send and Err.
func (c *Conn) Close() error {
	return c.closeWithin(closeTimeout)
}

func (c *Conn) closeWithin(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s := c.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.err != nil {
		c.stopUse()
		return nil
	}
	c.closeWhenSent(0, "")
	for c.err == nil {
		if s.wait(ctx, &c.enders) == nil {
			continue
		}
		now := s.node.now()
		c.sess.Close(now, 0, "")
		s.drain(now)
		return ErrUndelivered
	}
	if e, ok := errors.AsType[*CloseError](c.err); !ok || e.Remote {
		return fmt.Errorf("%w: %w", ErrUndelivered, c.err)
	}
	return nil
}

// closeWhenSent begins to close. The shard is locked.
func (c *Conn) closeWhenSent(code uint64, reason string) {
	c.stopUse()
	now := c.shard.node.now()
	c.sess.CloseWhenSent(now, code, reason)
	c.shard.drain(now)
}

// CloseWith closes the session at once. The peer's calls return a *CloseError
// with the code and reason; what it has not stored is lost.
func (c *Conn) CloseWith(code uint64, reason string) error {
	c.shard.drive(func(now session.Time) {
		c.stopUse()
		c.sess.Close(now, code, reason)
	})
	return nil
}

// stopUse ends the calls that wait: this side's application has closed.
func (c *Conn) stopUse() {
	c.closing = true
	c.wakeAll()
}

func (c *Conn) wakeAll() {
	c.readers.wake()
	c.roomMade()
	c.talk.waiting.wake()
	for _, ch := range c.channels {
		ch.readers.wake()
	}
	for _, w := range c.watchers {
		w.waiting.wake()
	}
}

// handleEvent takes an event of the core. It makes no change to the core.
func (c *Conn) handleEvent(now session.Time, ev session.Event) {
	switch ev.Kind {
	case session.Readable:
		c.readable(now, ev.Channel)
	case session.Writable:
		c.roomMade()
	case session.Outcome:
		c.outcome(ev.Message, ev.Fate)
	case session.PathChanged:
		c.pathChanged(ev.Path)
	case session.PathValidated:
		c.pathValidated(ev.Path)
	case session.PathFailed, session.Stranded:
		if ev.Path != c.sess.Path() {
			c.standbyLost()
			return
		}
		c.troubled = true
		c.pathLost(ev.Kind == session.Stranded)
	case session.Closed:
		c.end(ev.Err)
	}
}

func (c *Conn) readable(now session.Time, id uint16) {
	if id == wire.ChannelNode {
		c.shard.talking = append(c.shard.talking, c)
		return
	}
	c.shard.usedAt = now
	ch := c.channel(id)
	if ch.opened {
		ch.readers.wake()
		return
	}
	if !ch.ready {
		ch.ready = true
		c.ready = append(c.ready, ch)
	}
	switch {
	case c.shard.node.cfg.Handler == nil:
		c.readers.wake()
	case c.held == nil:
		c.shard.dispatch.messages(c)
	}
}

// standbyLost takes note that a relay does not answer which carries no data.
func (c *Conn) standbyLost() {
	if r := c.shard.reach; r != nil {
		r.retune(c)
	}
}

// pathValidated tells those who look for paths that there is one.
func (c *Conn) pathValidated(p session.Path) {
	c.troubled = false
	if r := c.shard.reach; r != nil {
		r.client.PathUp(c.Peer(), p.Remote)
		r.retune(c)
	}
}

func (c *Conn) pathChanged(to session.Path) {
	c.shard.noteStream(c, to)
	if r := c.shard.reach; r != nil {
		r.left = true
		r.retune(c)
	}
	old := c.path
	c.path = c.shard.describe(to)
	if c.path.same(old) {
		return
	}
	if c.held != nil {
		c.release()
		return
	}
	if old.Kind == Direct && c.path.Kind == Relayed && c.shard.reach != nil {
		c.shard.reach.pathLost(c) // a relay carries on, but a direct path is wanted back
	}
	c.shard.dispatch.pathChanged(c, old)
	c.notify(Event{Kind: EventPathChanged, Old: old, New: c.path})
}

// pathLost asks for an introduction as soon as the path is in doubt: by the time
// that it is given up, the answer may be here.
func (c *Conn) pathLost(stranded bool) {
	if c.shard.reach != nil {
		c.shard.reach.pathLost(c)
	}
	if stranded && c.held == nil {
		c.shard.dispatch.stranded(c)
		c.notify(Event{Kind: EventStranded, Old: c.path, New: c.path})
	}
}

func (c *Conn) end(err error) {
	c.err = err
	c.failReceipts()
	c.notify(Event{Kind: EventClosed, Old: c.path, New: c.path, Err: err})
	c.wakeAll()
	c.enders.wake()
	if c.done != nil {
		close(c.done)
	}
	c.shard.forget(c)
	if c.held != nil {
		c.held.failed(c.shard.node.now(), err)
		return
	}
	c.shard.dispatch.closed(c)
}

// Node returns the node that the session belongs to.
func (c *Conn) Node() *Node { return c.shard.node }
