package session

import "slices"

// DropLink tells the session that the shell has closed a link: its paths are
// forgotten, and what flew there is sent again. If data went there it goes to
// the best other path at once; without one the session is stranded.
func (s *Session) DropLink(now Time, link uint32) {
	s.e.enter(now)
	now = s.e.now
	s.wake()
	switch s.state {
	case stateDialing:
		s.dial.paths = slices.DeleteFunc(s.dial.paths, func(d dialPath) bool { return d.Link == link })
	case stateEstablished:
		if s.active.Link == link {
			s.leaveLink(now, link)
		}
		for _, x := range slices.Backward(s.paths) {
			if x.Link == link && x != s.active {
				s.removePath(x)
			}
		}
	}
	s.e.touch(s)
}

// leaveLink moves data off a link that is gone. Without another way the active
// path stays, as one that answers nothing.
func (s *Session) leaveLink(now Time, link uint32) {
	gone := s.active
	gone.validated = false
	gone.validation.init()
	if x := s.bestOffLink(link); x != nil {
		s.move(now, x, ownChoice)
		s.sendLeftBehind(now)
		return
	}
	if !s.suspect() {
		s.outage.since = now
	}
	s.strand(now)
}

// bestOffLink returns the path to use when a link is gone: the best of the
// validated ones, else a relay; nil if there is neither.
func (s *Session) bestOffLink(link uint32) (best *path) {
	for _, x := range s.paths {
		switch {
		case x.Link == link || !x.usable():
		case best == nil, x.validated && !best.validated,
			x.validated == best.validated && s.better(x, best):
			best = x
		}
	}
	return best
}

// usable reports whether x may be tried with data at once.
func (x *path) usable() bool { return x.validated || x.IsRelay() }
