package session

import (
	"slices"

	"github.com/seed-67dce94e/holdfast/wire"
)

// LinkSocket marks the links that are further UDP sockets of the node, beside the
// main ones on link 0: a path on one is direct, and has an address at its end.
// All other links are relays.
const LinkSocket uint32 = 1 << 31

// DropLink tells the session that a link is no more. Its paths are forgotten, and
// if data took one, it takes the best of the others at once.
func (s *Session) DropLink(now Time, link uint32) {
	s.e.enter(now)
	switch s.state {
	case stateDialing:
		s.dial.paths = slices.DeleteFunc(s.dial.paths, func(d dialPath) bool { return d.Link == link })
	case stateEstablished:
		s.dropPaths(s.e.now, link)
	}
	s.e.touch(s)
}

func (s *Session) dropPaths(now Time, link uint32) {
	if s.active.Link == link {
		s.leaveLink(now)
	}
	for i := len(s.paths) - 1; i >= 0; i-- { // backwards: paths are removed
		if x := s.paths[i]; x.Link == link && x != s.active {
			s.removePath(x)
		}
	}
}

// leaveLink moves data away from a link that is no more. If there is no other
// path, the session is stranded on one that leads nowhere, until another comes.
func (s *Session) leaveLink(now Time) {
	dead := s.active
	dead.validated = false
	var best *path
	for _, x := range s.paths {
		if x.Link == dead.Link || !x.validated && !x.IsRelay() {
			continue
		}
		if best == nil || !best.validated && x.validated || best.validated == x.validated && best.IsRelay() && !x.IsRelay() {
			best = x
		}
	}
	if best == nil {
		s.strand(now)
		return
	}
	if s.outage.since == 0 {
		s.outage.since = now // what flies there is lost
	}
	s.move(now, best, ownChoice)
}

// Punch writes a frame that asks whether the peer is at an address which the
// caller guesses: a PATH_CHALLENGE that belongs to no path. If the peer is there,
// it answers with a challenge of its own, and that makes the path known like any
// that the peer finds. It returns the length, or 0 if the session has no keys.
func (s *Session) Punch(now Time, buf []byte) int {
	s.e.enter(now)
	if s.state != stateEstablished {
		return 0
	}
	var token [8]byte
	s.e.rng.Read(token[:])
	f := s.openFrame(buf, s.active, baseMTU)
	f.b = wire.AppendPath(f.b, wire.TypePathChallenge, token)
	out := s.keys.Seal(f.b, f.pn, f.pnLen)
	s.loss.OnSent(s.e.now, f.path.rec, f.pn, len(out), 0, nil)
	s.countSent(len(out))
	return len(out)
}

// Retry tells the session that paths may work again: a server is back, an
// interface came up. All are challenged at once, and what is oldest is said again.
// Unlike after Moved, the peer sees this side where it was.
func (s *Session) Retry(now Time) {
	s.e.enter(now)
	if s.state == stateEstablished {
		s.tryAll(s.e.now)
	}
}

func (s *Session) tryAll(now Time) {
	for _, x := range s.paths {
		// A candidate that has yet to answer keeps its schedule, and with it
		// the leave to be challenged at all.
		x.revalidate(now, x.validation.candidate && !x.validated)
	}
	s.active.rec.ResetPTO()
	s.pingNow = true
	if s.suspect() || s.outage.stranded != 0 {
		s.probes = probesPerTimeout
		s.repeatOldest(now)
	}
	s.e.touch(s)
}
