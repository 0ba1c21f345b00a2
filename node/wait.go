package node

import "context"

// A waitList holds the callers that wait for one thing: a message to arrive,
// room to send. It costs nothing while nobody waits. It is guarded by the mutex
// of its shard.
type waitList struct{ first *waiter }

// A waiter is one caller that waits. Its channel is used again and again, so
// that waiting allocates nothing in steady state.
type waiter struct {
	shard *shard
	woken chan struct{} // capacity 1
	next  *waiter
}

// wake lets every waiter of the list look again.
func (l *waitList) wake() {
	for w := l.first; w != nil; {
		next := w.next
		w.next = nil
		w.woken <- struct{}{} // never blocks: a waiter leaves the list when it is woken
		w.shard.woken(w)
		w = next
	}
	l.first = nil
}

func (l *waitList) remove(w *waiter) {
	for p := &l.first; *p != nil; p = &(*p).next {
		if *p == w {
			*p, w.next = w.next, nil
			return
		}
	}
}

// wait releases the shard until the list is woken or ctx ends. The shard is
// locked when it is called and when it returns; the caller looks again, since
// another may have been faster.
func (s *shard) wait(ctx context.Context, l *waitList) (err error) {
	w := s.takeWaiter()
	w.next, l.first = l.first, w
	s.loan.waiting++
	if !s.await(ctx, w) {
		err = ctx.Err()
		select {
		case <-w.woken: // while ctx ended: the list is done with w
		default:
			l.remove(w)
			s.loan.waiting--
		}
	}
	s.idleWaiters = append(s.idleWaiters, w)
	return err
}

// await reports whether w was woken before ctx ended. It reads meanwhile if a socket is
// lent that nobody reads from, and else lets others do that.
func (s *shard) await(ctx context.Context, w *waiter) (woken bool) {
	if s.loan.sock != nil && s.loan.holder == nil {
		if done, woken := s.hold(ctx, w); done {
			return woken
		}
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-w.woken:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *shard) takeWaiter() *waiter {
	if n := len(s.idleWaiters); n > 0 {
		w := s.idleWaiters[n-1]
		s.idleWaiters = s.idleWaiters[:n-1]
		return w
	}
	return &waiter{shard: s, woken: make(chan struct{}, 1)}
}
