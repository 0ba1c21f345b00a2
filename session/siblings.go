package session

// siblingsMax bounds how many sessions with one peer help each other.
const siblingsMax = 5

// siblings returns the newest sessions with the same peer, s perhaps among them.
func (s *Session) siblings() []*Session {
	list := s.e.peers[s.peer]
	return list[max(0, len(list)-siblingsMax):]
}

// callSiblings tells other sessions with the same peer that it is to be found on
// x. One that has lost it finds it again; one that the peer has forgotten,
// because it was restarted, is answered with RESET. If this side began the
// session, nothing hints at a restart, and those that are well are left alone.
func (s *Session) callSiblings(now Time, x *path) {
	for _, sib := range s.siblings() {
		sib.wake()
		if sib == s || s.initiator && sib.active.Path == x.Path && !sib.suspect() {
			continue
		}
		sib.pingNow = true
		sib.tryVouched(now, x.Path)
		s.e.touch(sib)
	}
}

// tryWhereSiblingsAre tries the paths on which other sessions with the same peer
// hear of it.
func (s *Session) tryWhereSiblingsAre(now Time) {
	for _, sib := range s.siblings() {
		sib.wake()
		if sib != s && !sib.suspect() && sib.active.validated {
			s.tryVouched(now, sib.active.Path)
		}
	}
}

// tryVouched challenges a path on which another session has proved that the peer
// is there, so that the amplification limit has served its purpose.
func (s *Session) tryVouched(now Time, p Path) {
	x := s.obtainPath(p)
	x.vouched = true
	if !x.validated {
		x.validate(now, true)
	}
}
