package netmon

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
)

// A watch is the state of a monitor's goroutine.
type watch struct {
	*Monitor
	network settling
	wall    time.Time // the time of day when it was last read
	ticks   int       // since the last poll

	system bool // events come from the machine
	source *source
	events <-chan struct{}

	timer  *time.Timer
	lookAt time.Time // zero if no look is due
	looks  limit.Bucket
	epoch  time.Time // zero of the limiter's clock

	pending Change // not yet received
	waiting bool   // there is such
}

func newWatch(m *Monitor, system bool) *watch {
	w := &watch{Monitor: m, system: system, events: m.cfg.Events, timer: time.NewTimer(0), epoch: time.Now()}
	w.open() // before the first look, so that nothing is missed between them
	w.wall = m.cfg.Wall().Round(0)
	w.network = settled(time.Now(), m.cfg.Snapshot())
	return w
}

// open asks the system for events. If it gives none, the network is polled.
func (w *watch) open() {
	if !w.system {
		return
	}
	if s, err := openSource(); err == nil {
		w.source, w.events = s, s.events
	}
}

func (w *watch) run() {
	defer close(w.changes)
	defer w.stop()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return
		case w.out() <- w.pending:
			w.pending, w.waiting = Change{}, false
			continue
		case _, ok := <-w.events:
			w.event(time.Now(), ok)
		case <-ticker.C:
			w.tick(time.Now())
		case <-w.timer.C:
		}
		w.advance(time.Now())
	}
}

func (w *watch) stop() {
	w.timer.Stop()
	if w.source != nil {
		w.source.close()
	}
}

// out is the channel of changes while one is waiting.
func (w *watch) out() chan<- Change {
	if !w.waiting {
		return nil
	}
	return w.changes
}

// event plans a look, or to poll from now on if there will be no more events.
func (w *watch) event(now time.Time, ok bool) {
	if !ok {
		w.lose()
	}
	w.planLook(now)
}

// lose is called when the source of events has failed.
func (w *watch) lose() {
	w.events = nil
	if w.source != nil {
		w.source.close()
		w.source = nil
	}
}

// planLook lets the network be looked at soon.
func (w *watch) planLook(now time.Time) {
	if !w.lookAt.IsZero() {
		return
	}
	w.lookAt = now.Add(max(gatherTime, w.looks.Wait(w.sinceEpoch(now), lookRate, 1)))
}

// tick polls, if there is no source of events, and tries to open one.
func (w *watch) tick(now time.Time) {
	if w.ticks++; w.events != nil || w.ticks < pollTicks {
		return
	}
	w.ticks = 0
	w.open()
	w.planLook(now)
}

// advance does all that is due.
func (w *watch) advance(now time.Time) {
	if slept := w.slept(); slept > 0 {
		w.look(now)
		c := w.network.flush(Woke)
		c.Slept = slept
		w.enqueue(c)
	}
	if !w.lookAt.IsZero() && !now.Before(w.lookAt) {
		w.look(now)
	}
	if c, ok := w.network.tell(now); ok {
		w.enqueue(c)
	}
	w.arm(now)
}

// slept returns about how long the machine slept since the last call, if it did.
// The time of day is all that shows it: timers and the monotonic clock stop.
func (w *watch) slept() time.Duration {
	wall := w.cfg.Wall().Round(0)
	gap := wall.Sub(w.wall)
	w.wall = wall
	if gap <= sleepMin {
		return 0
	}
	return gap - tickInterval/2 // it was awake for some of it, half a tick on average
}

func (w *watch) look(now time.Time) {
	w.looks.Take(w.sinceEpoch(now), lookRate, 1) // a look after sleep does not ask
	w.network.look(now, w.cfg.Snapshot())
	w.lookAt = time.Time{}
}

func (w *watch) sinceEpoch(now time.Time) clock.Time { return clock.Time(now.Sub(w.epoch)) }

func (w *watch) enqueue(c Change) {
	if w.waiting {
		c = w.pending.then(c)
	}
	w.pending, w.waiting = c, !c.nothing()
}

// arm sets the timer to whatever is due first.
func (w *watch) arm(now time.Time) {
	next := w.lookAt
	if due := w.network.due; next.IsZero() || !due.IsZero() && due.Before(next) {
		next = due
	}
	if next.IsZero() {
		w.timer.Stop()
		return
	}
	w.timer.Reset(next.Sub(now))
}
