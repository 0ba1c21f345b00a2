package node

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// The goroutine that reads from a socket wakes another one for each message, and the
// system another thread for that, which costs more than all else that a message does. So
// where the application always comes back for the next message at once, the reader lends
// it the socket: who waits reads, and goes on with what it was waiting for. Nor does more
// arrive than the application takes then, and unreliable messages need not be dropped.
//
// While the application is at work nobody reads. It has shown that this is for moments.
// If it stays away, the reader is called back, after lendMax at the latest.
//
// A socket is also lent to who floods it: see flood.go.
const (
	lendAfter = 32                     // times in a row that the application was back at once
	lendQuick = 100 * time.Microsecond // which is within this
	lendDoubt = lendAfter / 4          // of them, that one takes back at which it was not
	lendMax   = 5 * time.Millisecond
	lendLook  = 8 // messages for which the time is looked at once, while the application is quick
)

// A loan is the socket that one of a shard's readers has lent, and the account of
// whether to lend one. But for quick it is guarded by the shard's mutex.
type loan struct {
	sock     socket        // nil if none is lent
	resume   chan struct{} // closed when its reader is to go on
	holder   *waiter       // who reads; nil while nobody does
	blocked  bool          // the holder may be in a system call
	recalled bool          // the holder is called out of it by a deadline

	done     <-chan struct{} // of the last holder's context
	unfollow func() bool

	waiting int          // callers in shard.wait that are not woken
	seenAt  session.Time // when the time was last looked at, as a caller had a message
	unseen  int32        // messages since, with that one
	quick   atomic.Int32 // times in a row that it was back at once, up to lendAfter
	left    session.Time // when the last holder went on
	guard   *time.Timer
	guarded bool
}

// lend leaves a socket to those who wait, if that is worth it, until its reader is
// called back. It has to be one that knows deadlines: else nobody could be recalled.
func (s *shard) lend(sock socket) {
	o := &s.loan
	quick := o.quick.Load() >= lendAfter
	if !quick && !s.flood.goesOn(s.node) {
		return
	}
	s.mu.Lock()
	if !quick && !s.flood.wants(s.node.now(), sock) {
		s.mu.Unlock()
		return
	}
	if o.sock != nil || o.waiting > 0 || s.closed || sock.retired() || sock.setReadDeadline(time.Time{}) != nil {
		s.mu.Unlock()
		return
	}
	resume := make(chan struct{})
	o.sock, o.resume = sock, resume
	s.unattended()
	if !quick {
		o.quick.Store(lendAfter)
		s.flood.lent = o.left
	}
	s.mu.Unlock()
	<-resume
}

// back returns the time as the application is back for another message. If it has been
// quick it need not be looked at: that takes as long as to take a message.
func (s *shard) back() session.Time {
	o := &s.loan
	if 0 < o.unseen && o.unseen < lendLook && o.quick.Load() == lendAfter {
		return o.seenAt
	}
	return s.look()
}

// look returns the time, and judges how quick the application was with the messages
// since that was last done.
func (s *shard) look() session.Time {
	o, now := &s.loan, s.node.now()
	quick := o.quick.Load()
	if o.waiting > 0 || now.Sub(o.seenAt) >= lendQuick*time.Duration(o.unseen) {
		quick = max(quick-lendDoubt, 0) // it may have been the system that was busy
	} else {
		quick = min(quick+o.unseen, lendAfter)
	}
	o.quick.Store(quick)
	o.seenAt, o.unseen = now, 0
	return now
}

// woken takes note that w need not wait any more.
func (s *shard) woken(w *waiter) {
	s.loan.waiting--
	if s.loan.holder == w {
		s.recall()
	}
}

// hold reads from the lent socket in the place of its reader until w is woken or ctx
// ends. If it is not done by then, w has to wait like others.
func (s *shard) hold(ctx context.Context, w *waiter) (done, woken bool) {
	o, sock := &s.loan, s.loan.sock
	if _, moves := ctx.(*netDeadline); moves { // it cannot be followed
		s.callBack()
		return false, false
	}
	o.holder = w
	s.follow(ctx)
	for {
		select {
		case <-w.woken:
			o.holder = nil
			if o.waiting > 0 || o.quick.Load() == 0 || sock.retired() {
				s.callBack()
			} else {
				s.unattended()
			}
			return true, true
		default:
		}
		if ctx.Err() != nil {
			o.holder = nil
			s.callBack()
			return true, false
		}
		o.blocked = true
		s.mu.Unlock()
		batch, err := sock.read(true)
		s.mu.Lock()
		o.blocked = false
		if o.recalled {
			o.recalled = false
			sock.setReadDeadline(time.Time{})
		}
		switch {
		case err == nil:
			s.mu.Unlock()
			s.node.deliver(s, 0, batch)
			giveWay(batch)
			s.node.spare.refill()
			s.mu.Lock()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			if !sock.retired() {
				s.node.readErrors.Add(1)
			}
			o.holder = nil
			s.callBack() // who meets the error again, or has the socket's successor
			return false, false
		}
	}
}

// recall has the holder look whether it is still to read.
func (s *shard) recall() {
	if o := &s.loan; o.blocked && !o.recalled {
		o.recalled = true
		o.sock.setReadDeadline(time.Unix(0, 1))
	}
}

// callBack has the reader go on, unless somebody reads.
func (s *shard) callBack() {
	o := &s.loan
	if o.sock == nil || o.holder != nil {
		return
	}
	o.sock = nil
	o.quick.Store(0)
	s.flood.end(s.node.now())
	if o.unfollow != nil {
		o.unfollow()
	}
	o.done, o.unfollow = nil, nil
	close(o.resume)
}

// follow has the holder recalled when ctx ends. That most calls have the same context
// makes it cheap.
func (s *shard) follow(ctx context.Context) {
	o := &s.loan
	done := ctx.Done()
	if done == o.done {
		return
	}
	if o.unfollow != nil {
		o.unfollow()
	}
	o.done, o.unfollow = done, nil
	if done == nil {
		return
	}
	o.unfollow = context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.done == done {
			s.recall()
		}
	})
}

// unattended takes note that nobody reads from now on.
func (s *shard) unattended() {
	o := &s.loan
	o.left = s.node.now()
	if o.guarded {
		return
	}
	o.guarded = true
	if o.guard == nil {
		o.guard = time.AfterFunc(lendMax, s.guardLoan)
	} else {
		o.guard.Reset(lendMax)
	}
}

// guardLoan calls the reader back if nobody has read for lendMax. The timer is set
// anew when it has fired, not for each time that nobody reads.
func (s *shard) guardLoan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.loan
	o.guarded = false
	if o.sock == nil || o.holder != nil {
		return
	}
	if left := lendMax - s.node.now().Sub(o.left); left > 0 {
		o.guarded = true
		o.guard.Reset(left)
		return
	}
	s.callBack()
}
