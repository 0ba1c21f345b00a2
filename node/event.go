package node

import (
	"context"
	"iter"
)

// An EventKind says what happened to a session.
type EventKind uint8

// Event kinds.
const (
	EventPathChanged EventKind = iota + 1 // data takes the path New in place of Old
	EventStranded                         // no path answers; messages are kept while one is looked for
	EventClosed                           // the session has ended, for the reason Err
)

var eventNames = [...]string{"none", "path changed", "stranded", "closed"}

// String returns a form such as "path changed".
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "unknown"
}

// An Event is something that happened to a session, beside its messages.
type Event struct {
	Kind     EventKind
	Old, New Path
	Err      error
}

// watchedMax bounds the events that wait for a slow watcher. It misses the
// oldest of more.
const watchedMax = 64

// A watcher is one call of Events.
type watcher struct {
	queue   []Event
	waiting waitList
}

// Events returns an iterator over what happens to the session from the call on,
// until ctx ends or the session has ended, which is its last event. Watching a
// session that has ended yields nothing.
func (c *Conn) Events(ctx context.Context) iter.Seq[Event] {
	w := new(watcher)
	c.shard.mu.Lock()
	if c.err == nil {
		c.watchers = append(c.watchers, w)
	}
	c.shard.mu.Unlock()
	return func(yield func(Event) bool) {
		defer c.unwatch(w)
		for {
			ev, ok := c.nextEvent(ctx, w)
			if !ok || !yield(ev) || ev.Kind == EventClosed {
				return
			}
		}
	}
}

func (c *Conn) nextEvent(ctx context.Context, w *watcher) (Event, bool) {
	s := c.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(w.queue) == 0 {
		if c.err != nil || s.wait(ctx, &w.waiting) != nil {
			return Event{}, false
		}
	}
	ev := w.queue[0]
	w.queue = w.queue[1:]
	return ev, true
}

func (c *Conn) unwatch(w *watcher) {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	for i, x := range c.watchers {
		if x == w {
			c.watchers = append(c.watchers[:i], c.watchers[i+1:]...)
			return
		}
	}
}

// notify hands an event to all who watch. The shard is locked.
func (c *Conn) notify(ev Event) {
	for _, w := range c.watchers {
		if len(w.queue) == watchedMax {
			w.queue = w.queue[1:]
		}
		w.queue = append(w.queue, ev)
		w.waiting.wake()
	}
}
