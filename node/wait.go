package node

import "context"

// A waitList holds the callers that wait for one thing: a message to arrive,
// room to send. It costs nothing while nobody waits. It is guarded by the mutex
// of its shard.
type waitList struct{ first *waiter }

// A waiter is one caller that waits. Its channel is used again and again, so
// that waiting allocates nothing in steady state.
type waiter struct {
	woken chan struct{} // capacity 1
	next  *waiter
}

// wake lets every waiter of the list look again.
func (l *waitList) wake() {
	for w := l.first; w != nil; {
		next := w.next
		w.next = nil
		w.woken <- struct{}{} // never blocks: a waiter leaves the list when it is woken
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
func (s *shard) wait(ctx context.Context, l *waitList) error {
	w := s.takeWaiter()
	w.next, l.first = l.first, w
	s.mu.Unlock()
	var err error
	select {
	case <-w.woken:
		s.mu.Lock()
	case <-ctx.Done():
		err = ctx.Err()
		s.mu.Lock()
		l.remove(w)
		select {
		case <-w.woken: // woken while ctx ended: the list is done with w
		default:
		}
	}
	s.idleWaiters = append(s.idleWaiters, w)
	return err
}

func (s *shard) takeWaiter() *waiter {
	if n := len(s.idleWaiters); n > 0 {
		w := s.idleWaiters[n-1]
		s.idleWaiters = s.idleWaiters[:n-1]
		return w
	}
	return &waiter{woken: make(chan struct{}, 1)}
}
