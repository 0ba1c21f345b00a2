package node

import (
	"context"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// Close takes leave of every peer: what was sent reliably is delivered first, if
// that takes no longer than 5 s. Calls that wait return ErrClosed. When it
// returns, the sockets are closed and nothing of the node runs any more, except
// for a Handler or hook that has not returned. One that calls Close waits for
// itself in vain: let it do so in a goroutine.
func (n *Node) Close() error {
	if n.closeBegun.CompareAndSwap(false, true) {
		n.shutDown()
	}
	<-n.closed
	return nil
}

// goodbye is the reason that comes with CodeGoodbye.
const goodbye = "the node is closing"

// deliverTimeout leaves part of closeTimeout to what follows delivery: within
// heardTimeout the peers show that they have heard the goodbye.
const (
	deliverTimeout = closeTimeout - heardTimeout - 500*time.Millisecond
	heardTimeout   = time.Second
)

func (n *Node) shutDown() {
	defer close(n.closed)
	limit, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	delivery, cancel := context.WithTimeout(limit, deliverTimeout)
	defer cancel()

	n.rebinding.Lock() // no socket is opened from here on
	close(n.closing)
	n.rebinding.Unlock()
	for _, s := range n.shards {
		s.sayGoodbye()
	}
	for _, s := range n.shards {
		s.waitEmpty(delivery)
	}
	for _, s := range n.shards {
		s.hangUp()
	}
	heard, cancel := context.WithTimeout(limit, heardTimeout)
	defer cancel()
	for _, s := range n.shards {
		s.waitHeard(heard)
	}
	for _, s := range n.shards {
		s.shut()
	}
	n.streams.closeAll()
	n.rebinding.Lock() // the monitor may still look at the gateway
	n.unmapPort()
	n.rebinding.Unlock()
	n.closeLAN()
	n.stop()
	n.running.Wait()
	for _, s := range n.shards {
		s.dispatch.join(limit)
	}
}

// sayGoodbye ends the dials and begins to close every session.
func (s *shard) sayGoodbye() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.dials {
		for _, d := range append([]*dial(nil), list...) {
			d.giveUp(ErrClosed)
		}
	}
	for c := range s.conns {
		c.closeWhenSent(CodeGoodbye, goodbye)
	}
	if s.reach != nil {
		s.reach.online.wake()
	}
}

// waitEmpty waits until every session has ended.
func (s *shard) waitEmpty(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns) > 0 {
		if s.wait(ctx, &s.emptied) != nil {
			return
		}
	}
}

// hangUp closes the sessions that are left.
func (s *shard) hangUp() {
	s.drive(func(now session.Time) {
		for c := range s.conns {
			c.sess.Close(now, CodeGoodbye, goodbye)
		}
		if s.reach != nil {
			s.reach.hangUp(now)
		}
	})
}

// waitHeard waits until every peer has shown that it heard the goodbye: with the
// sockets closed, it would not be repeated.
func (s *shard) waitHeard(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.core.Closing() > 0 {
		if s.wait(ctx, &s.heard) != nil {
			return
		}
	}
}

// shut ends everything that runs.
func (s *shard) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.timer.Stop()
	s.sockets.close()
	s.callBack()
	if s.reach != nil {
		s.reach.shut()
	}
	s.dispatch.stop()
}

// join waits until the dispatcher has told everything. A Handler that does not
// return cannot hold it up for ever.
func (d *dispatcher) join(ctx context.Context) {
	if d.off {
		return
	}
	select {
	case <-d.exited:
	case <-ctx.Done():
	}
}
