package node

import (
	"context"

	"github.com/seed-67dce94e/holdfast/session"
)

// A Receipt tells what becomes of one message.
type Receipt struct {
	conn *Conn
	mode Delivery

	// Guarded by the shard's mutex.
	id      session.MessageID
	reached Fate // 0, Stored or Read
	failed  Fate // why it went no further; 0 while it may
	waiters waitList
}

// receiptsMax bounds the receipts of a session that are still open; SendReceipt
// waits for room beyond it.
const receiptsMax = 65536

// Stored waits until the peer's node has all of the message. It returns a
// *SendError if that will not happen, or may not have happened when the session
// ended.
func (r *Receipt) Stored(ctx context.Context) error { return r.wait(ctx, session.Stored) }

// Read waits until the peer's application has taken the message. It returns a
// *SendError if that will not be known. Only the reading of reliable messages is
// reported: for others Read returns when they are stored.
func (r *Receipt) Read(ctx context.Context) error {
	if !r.reportsRead() {
		return r.wait(ctx, session.Stored)
	}
	return r.wait(ctx, session.Read)
}

func (r *Receipt) reportsRead() bool { return r.mode == Reliable || r.mode == Unordered }

// Fate returns how far the message has come; 0 while nothing is known.
func (r *Receipt) Fate() Fate {
	r.conn.shard.mu.Lock()
	defer r.conn.shard.mu.Unlock()
	return max(r.reached, r.failed)
}

// Cancel takes the message back if the peer has not stored it, and reports
// whether that succeeded.
func (r *Receipt) Cancel() (canceled bool) {
	r.conn.shard.drive(func(now session.Time) {
		if r.reached == 0 && r.failed == 0 {
			canceled = r.conn.sess.Cancel(now, r.id)
		}
	})
	return canceled
}

func (r *Receipt) wait(ctx context.Context, want Fate) error {
	s := r.conn.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	for r.reached < want {
		if r.failed != 0 {
			return &SendError{Fate: r.failed}
		}
		if err := s.wait(ctx, &r.waiters); err != nil {
			return err
		}
	}
	return nil
}

// track remembers r until its message has met its last fate.
func (c *Conn) track(id session.MessageID, r *Receipt) {
	if c.receipts == nil {
		c.receipts = make(map[session.MessageID]*Receipt)
	}
	r.id = id
	c.receipts[id] = r
}

func (c *Conn) outcome(id session.MessageID, fate Fate) {
	r := c.receipts[id]
	if r == nil {
		return
	}
	if fate.Failed() {
		r.failed = fate
	} else {
		r.reached = fate
	}
	if fate != session.Stored || !r.reportsRead() {
		c.untrack(id)
	}
	r.waiters.wake()
}

func (c *Conn) untrack(id session.MessageID) {
	if len(c.receipts) == receiptsMax {
		c.roomMade() // SendReceipt may wait for room
	}
	delete(c.receipts, id)
}

// failReceipts ends what is still open when the session ends.
func (c *Conn) failReceipts() {
	for _, r := range c.receipts {
		r.failed = session.Unknown
		r.waiters.wake()
	}
	c.receipts = nil
}
