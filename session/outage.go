package session

// An outage is what a session knows about its active path falling silent.
//
//	            probe timeout          another path answers
//	answering ----------------> suspect ----------------> standing by --> moved
//	    ^  ^                      |  third in a row              5/4 round trips
//	    |  +-- authentic frame ---+                                     later
//	    +----------------------- stranded
type outage struct {
	since     Time  // of the first probe timeout that nothing has answered; 0 is none
	standby   *path // answered since; takes over at standbyAt
	standbyAt Time
	stranded  Time // since when no path answers; 0 is not
	escort    escort
}

// pass ends the suspicion: the path answers, or data has left it.
func (o *outage) pass() { o.since, o.standby, o.escort = 0, nil, escort{} }

// suspect reports whether the active path has stopped answering.
func (s *Session) suspect() bool { return s.outage.since != 0 }

// Probe timeouts in a row from which the active path is given up by degrees.
const (
	failedPTOs   = 2
	strandedPTOs = 3
)

// suspectPath is called when a probe timeout fires: what was sent on the active
// path is unanswered. Every other way is challenged at once, and the first that
// answers while the active path is silent takes over.
func (s *Session) suspectPath(now Time) {
	if !s.suspect() {
		s.outage.since = now
		s.outage.escort = escort{path: s.outage.escort.path} // a new suspicion has a new allowance
	}
	s.beginEscort(now)
	for _, x := range s.paths {
		if x != s.active && (x.validated || x.IsRelay()) {
			x.revalidate(now, false)
		}
	}
	n := s.active.rec.PTOCount()
	if n >= failedPTOs {
		s.msgs.NoWait()
		s.tryWhereSiblingsAre(now)
		s.active.revalidate(now, false)
	}
	switch {
	case n == failedPTOs:
		s.e.emit(Event{Kind: PathFailed, Session: s, Path: s.active.Path})
	case n >= strandedPTOs:
		s.strand(now)
	}
}

// strand notes that no path is left, and asks the caller for others.
func (s *Session) strand(now Time) {
	if s.outage.stranded == 0 {
		s.outage.stranded = now
		s.e.emit(Event{Kind: Stranded, Session: s, Path: s.active.Path})
	}
}

// standBy makes x, which has answered, the heir of the active path. That one was
// asked at the same time: it has until a round trip, and a quarter, after it fell
// silent.
func (s *Session) standBy(now Time, x *path) {
	s.outage.standby = x
	s.outage.standbyAt = s.outage.since.Add(s.active.rec.RTT.Smoothed() * 5 / 4)
	s.outageTimeout(now)
}

// outageTimeout leaves the active path for the one that stands by, if its time
// has come.
func (s *Session) outageTimeout(now Time) {
	x := s.outage.standby
	if x == nil || s.outage.standbyAt > now {
		return
	}
	s.leaveDead(now, x, ownChoice)
}

// leaveDead moves data from an active path that fell silent to x. It is tried
// again later, and not trusted at once.
func (s *Session) leaveDead(now Time, x *path, why moveReason) {
	dead := s.active
	s.e.emit(Event{Kind: PathFailed, Session: s, Path: dead.Path})
	s.move(now, x, why)
	dead.fail(now)
	if s.fallback == dead {
		s.fallback = nil
	}
	dead.validation.fail()
	dead.validation.planRetry(now)
}

// pathAlive is called for every authentic frame: x works, at least in this
// direction. In the other one it is known to work only when something that was
// sent there, and not on the escort too, has been answered.
func (s *Session) pathAlive(now Time, x *path) {
	x.heard = now
	if x != s.active {
		return
	}
	s.outage.stranded = 0
	if !s.suspect() || s.outage.escort.path == nil {
		s.outage.pass()
	}
	if !x.validated {
		x.validate(now, false) // again, if a round failed for the loss of it
	}
}

// activeFailed handles an active path that answered no challenge: go back to
// the one before it, if that one had been proved (RFC 9000 §9.3.2).
func (s *Session) activeFailed(now Time) {
	back := s.fallback
	if back == nil {
		s.strand(now)
		return
	}
	failed := s.active
	failed.fail(now)
	s.move(now, back, ownChoice)
	s.removePath(failed)
}
