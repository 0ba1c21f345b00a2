package node

import (
	"runtime"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// A burst of messages shares datagrams, and system calls: a message that is sent
// less than burstGap after the one before on the same session waits for others,
// until there are burstMax bytes, or for a part of the time for which the burst has
// gone on. One that comes alone leaves at once, in the goroutine of its sender, and so
// does a short one of a low-latency channel.
const (
	burstGap   = 10 * time.Microsecond
	burstRun   = 3 // messages in a row that may be chance
	burstMax   = 60 << 10
	burstShare = 2 // of the time so far, within burstWait
	burstWait  = 20 * time.Microsecond
	burstLong  = 400 * time.Microsecond
	burstLook  = 8 // messages for which the time is looked at once
	// A burst of steadyRun messages goes on after a pause of up to steadyPause: the
	// system has given the processor to others. It has to be half as long again before
	// the next one.
	steadyRun   = 64
	steadyPause = 200 * time.Microsecond
)

// A burst is what a session's application sends without a pause.
type burst struct {
	began  session.Time
	seenAt session.Time // when the time was last looked at, as a message was sent
	end    session.Time // until when messages are held back, at the latest
	bytes  int          // held back
	run    int32        // messages so far
	unseen int8         // messages since seenAt, with that one
	blind  bool         // the present message is sent without looking
	long   bool         // many messages have just left
}

// begin locks the shard for a message and returns when the application called, or,
// within a burst, when it last did: to look at the time takes as long as to send a
// message. The shard's timer is set meanwhile, whatever the sender does.
func (c *Conn) begin() session.Time {
	s, b := c.shard, &c.burst
	if !s.mu.TryLock() {
		now := s.node.now() // the shard may be busy for a while
		s.mu.Lock()
		b.blind = false
		return now
	}
	if b.bytes == 0 || b.unseen >= burstLook || s.armed > b.end {
		return c.look()
	}
	b.blind = true
	return b.seenAt
}

// leave unlocks the shard after a message. Whoever sends without a pause lets others
// run now and then, who may have been waiting for the processor: the runtime gives it
// to them after 10 ms. That is no pause of the sender's.
func (c *Conn) leave() {
	long := c.burst.long
	c.burst.long = false
	c.shard.mu.Unlock()
	if long {
		runtime.Gosched()
		c.shard.mu.Lock()
		c.burst.waited(c.shard.node.now())
		c.shard.mu.Unlock()
	}
}

// look returns the time, for a message to be sent at.
func (c *Conn) look() session.Time {
	c.burst.blind = false
	return c.shard.node.now()
}

// sent drains after n bytes of message were given to the core, or leaves that to
// a later message of the burst, or to the timer if none comes.
func (c *Conn) sent(now session.Time, n int) {
	s, b := c.shard, &c.burst
	if c.sess.Urgent() {
		s.drain(s.node.now())
		return
	}
	if !b.blind {
		b.see(now)
	}
	b.unseen++
	b.run = min(b.run+1, steadyRun)
	b.bytes += n + 1 // also an empty one is held back
	if b.run > burstRun && b.bytes < burstMax && (b.blind || now < b.end) {
		c.sess.Hold(b.end)
		s.armAt(now, b.end)
		return
	}
	if b.blind {
		now = s.node.now()
	}
	c.letGo(now)
	if b.run == steadyRun && (n < burstMax || now.Sub(s.loan.left) > pollEvery) {
		s.poll()
	}
	b.seenAt, b.unseen, b.long = s.node.now(), 1, b.run == steadyRun && n < burstMax
}

// see takes note of when a message was sent.
func (b *burst) see(now session.Time) {
	pause := now.Sub(b.seenAt)
	switch {
	case pause < burstGap*time.Duration(b.unseen):
	case b.run >= steadyRun && pause < steadyPause:
		b.began, b.run = b.began.Add(pause), b.run/2
	default:
		b.began, b.bytes, b.run = now, 0, 0
	}
	b.seenAt, b.unseen = now, 0
	if b.bytes == 0 { // else the end stays, for what is held back already
		b.end = now.Add(min(max(now.Sub(b.began)/burstShare, burstWait), burstLong))
	}
}

// paused takes note that a message has to wait that the application called for at now: a
// pause before that ends the burst.
func (b *burst) paused(now session.Time) {
	if !b.blind && now.Sub(b.seenAt) >= steadyPause {
		b.run = 0
	}
}

// waited takes note that the sender was kept waiting until now, for room or for the
// processor, which is no pause of its own.
func (b *burst) waited(now session.Time) {
	b.began, b.seenAt = b.began.Add(now.Sub(b.seenAt)), now
}

// letGo sends what is held back.
func (c *Conn) letGo(now session.Time) {
	c.burst.bytes = 0
	c.sess.Hold(0)
	c.shard.drain(now)
}

// flush lets go what a burst holds back: its sender waits for the peer now, which
// may wait for that.
func (c *Conn) flush(now session.Time) {
	if c.burst.bytes > 0 {
		c.letGo(now)
	}
}
