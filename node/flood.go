package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// Who sends without a pause, as fast as there is room, floods a socket. The answers that
// make room would wake the reader all the time; the two would compete for the shard, and
// with a peer on this machine for the processors. So the reader lends the socket to such a
// sender too (see lend.go): it reads while it waits for room, and polls the socket between
// messages. When the flood is over, nobody reads for up to lendMax, for once: a loan that
// did not last is followed by a rest without one, a longer one each time.
const (
	pollEvery    = 300 * time.Microsecond // for who sends long messages: more often would wake the peer for less
	pollMax      = 2 * time.Millisecond   // at once, with what answers let go: where more comes, a sender has no time for it
	floodLong    = 100 * time.Millisecond // that a loan is to last
	floodRestMin = 10 * time.Millisecond
	floodRestMax = time.Second
)

// A flood is the account of whether to lend a socket to who floods it. But for at it is
// guarded by the shard's mutex.
type flood struct {
	at   atomic.Int64 // when a sender that has no pause last had room again; 0 if never
	sock socket       // that the sender's data goes through
	lent session.Time // since when a socket is lent for a flood; 0 if none is
	rest time.Duration
	over session.Time // when the rest ends
}

// noteFlood takes note that c sends without a pause and has waited for room.
func (c *Conn) noteFlood(ctx context.Context, now session.Time) {
	p := c.sess.Path()
	if _, moves := ctx.(*netDeadline); moves || p.Link != 0 || c.ended() != nil {
		return // who waits does not read, or not what the flood goes through
	}
	f := &c.shard.flood
	f.sock = c.shard.sockets.to(p.Remote.Addr())
	f.at.Store(int64(now))
}

// goesOn reports whether there was a flood just now.
func (f *flood) goesOn(n *Node) bool {
	at := f.at.Load()
	return at != 0 && n.now().Sub(session.Time(at)) < lendMax
}

// wants reports whether sock is to be lent for a flood that goes on.
func (f *flood) wants(now session.Time, sock socket) bool {
	return now >= f.over && sock == f.sock && sock.polls()
}

// end takes note that the reader is called back.
func (f *flood) end(now session.Time) {
	switch {
	case f.lent == 0:
		return
	case now.Sub(f.lent) < floodLong:
		f.rest = min(max(2*f.rest, floodRestMin), floodRestMax)
	default:
		f.rest = 0
	}
	f.lent, f.over = 0, now.Add(f.rest)
}

// poll takes in what has arrived at the lent socket, for one who sends without a pause.
func (s *shard) poll() {
	o, sock := &s.loan, s.loan.sock
	if sock == nil || o.holder != nil || !sock.polls() {
		return
	}
	o.holder = &poller
	begun := s.node.now()
	idle := false
	for late := false; !idle && !late; {
		late = s.node.now().Sub(begun) >= pollMax // the system may just have been busy: it looks once more
		s.mu.Unlock()
		batch, err := sock.poll()
		if len(batch) > 0 {
			s.node.deliver(s, 0, batch)
			s.node.spare.refill()
		}
		s.mu.Lock()
		if err != nil {
			if !sock.retired() {
				s.node.readErrors.Add(1)
			}
			break
		}
		idle = len(batch) == 0
	}
	o.holder = nil
	if !idle || o.waiting > 0 || sock.retired() {
		s.callBack()
	} else {
		s.unattended()
	}
}

// poller holds a socket while it is polled.
var poller waiter
