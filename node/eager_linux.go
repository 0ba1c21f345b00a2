package node

import "time"

// Where answers come within microseconds, to be put to sleep and woken takes longer than
// the answer: two thirds of a round trip between two processes of one machine. So who
// reads in the place of the reader (see lend.go) looks again and again for eagerFor
// before it sleeps, as long as that finds a third of them. It is not the processor's
// loss: to sleep and to wake takes as much of it.
const (
	eagerFor   = 20 * time.Microsecond  // longer keeps from the processor who is to answer, if they share it
	eagerNear  = 100 * time.Microsecond // a wait so short might be one of eagerFor, would both sides look
	eagerAfter = 32                     // such waits in a row before it looks
	eagerTries = 64                     // of these that it looks in vain before it rests
	eagerRest  = 256                    // of these until it looks again
	eagerFind  = 2                      // of these that one find makes good for
	eagerFar   = 8                      // of these that a longer one counts as
)

// An eagerness tells when to look and for how long.
type eagerness struct {
	from  time.Time // since when there is nothing to be read; zero while there is
	score int       // of finds and misses; it looks while that is above 0
	near  int       // short waits in a row while it does not; below 0 at rest
}

// looks reports whether to look again, as there is nothing yet.
func (e *eagerness) looks(now time.Time) bool {
	if e.from.IsZero() {
		e.from = now
	}
	return e.score > 0 && now.Sub(e.from) < eagerFor
}

// waits reports whether looks has been asked since there was something.
func (e *eagerness) waits() bool { return !e.from.IsZero() }

// giveUp ends a wait for which there was nothing.
func (e *eagerness) giveUp() { e.from = time.Time{} }

// found ends a wait, and learns from it.
func (e *eagerness) found(now time.Time) {
	waited := now.Sub(e.from)
	e.giveUp()
	switch {
	case e.score > 0:
		e.judge(waited)
	case waited >= eagerNear:
		e.near = min(e.near, 0)
	default:
		if e.near++; e.near == eagerAfter {
			e.near, e.score = 0, eagerTries
		}
	}
}

// judge counts what a look has found, or that it has not.
func (e *eagerness) judge(waited time.Duration) {
	switch {
	case waited < eagerFor:
		e.score = min(e.score+eagerFind, 4*eagerTries)
	case waited < eagerNear:
		e.score--
	default:
		e.score -= eagerFar
	}
	if e.score <= 0 {
		e.near = eagerAfter - eagerRest
	}
}
