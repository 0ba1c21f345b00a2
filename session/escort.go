package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/recovery"
)

// Limits of an escort (SPEC §8.7).
const (
	escortFrames = 128              // copied for one suspicion; probes come on top
	escortBytes  = 64 << 10         // likewise
	doubtAfter   = 20 * time.Second // of silence on a direct path: its NAT mappings may be gone
)

// An escort is another way on which what goes out on a doubtful active path is
// sent a second time, the same sealed bytes. Whichever arrives first counts, and
// the other is a repeat to the peer; if only the copy arrives, the peer follows
// it and so moves by itself [S12].
type escort struct {
	path   *path // nil while there is none
	frames int   // copied
	bytes  int
}

// beginEscort finds the active path an escort, if there is one.
func (s *Session) beginEscort(now Time) {
	if s.outage.escort.path != nil {
		return
	}
	x := s.bestEscort()
	if x == nil {
		return
	}
	s.outage.escort.path = x
	// The copies prove nothing about the active path: it is asked on its own.
	s.active.validate(now, false)
}

// bestEscort returns the other path that most likely works: a validated relay
// shares least with a direct path that failed, any other relay is only a guess.
func (s *Session) bestEscort() (best *path) {
	rank := func(x *path) int {
		switch {
		case x == nil || x == s.active || !x.usable():
			return 0
		case x.validated && x.IsRelay():
			return 3
		case x.validated:
			return 2
		}
		return 1
	}
	for _, x := range s.paths {
		if rank(x) > rank(best) {
			best = x
		}
	}
	return best
}

// doubt begins an escort for a direct path that has been silent for so long that
// the NATs on it may have forgotten the session, now that there is something to say.
func (s *Session) doubt(now Time) {
	x := s.active
	if s.outage.escort.path == nil && !x.IsRelay() && now.Sub(x.heard) > doubtAfter && (s.wantPing() || s.msgs.Pending()) {
		s.beginEscort(now)
	}
}

// escorted reports whether the next frame on the active path is sent twice.
// Those that a probe timeout asks for always are: their schedule bounds them.
func (s *Session) escorted() bool {
	e := &s.outage.escort
	return e.path != nil && (s.probes > 0 || e.frames < escortFrames && e.bytes < escortBytes)
}

// keepCopy has the sealed frame sent on the escort too, before any other frame of
// the endpoint: a session is drained before the next, so that one buffer will do.
func (s *Session) keepCopy(sealed []byte, probe bool) {
	s.e.copy = append(s.e.copy[:0], sealed...)
	s.copied = true
	if e := &s.outage.escort; !probe {
		e.frames++
		e.bytes += len(sealed)
	}
}

// nextCopy writes the copy of the frame that was written last. It is not in
// flight a second time.
func (s *Session) nextCopy(buf []byte) (Datagram, bool) {
	x := s.outage.escort.path
	due := s.copied && x != nil
	s.copied = false
	if !due {
		return Datagram{}, false
	}
	n := copy(buf, s.e.copy)
	x.sent += uint64(n)
	s.countSent(n)
	return Datagram{Path: x.Path, Data: buf[:n], Segment: n}, true
}

// escortAcked ends the suspicion when a frame that went nowhere but on the
// active path has arrived since.
func (s *Session) escortAcked(f *recovery.Sent) {
	if s.outage.escort.path != nil && f.Path == s.active.rec && f.Flags&recovery.Copied == 0 && f.At >= s.outage.since {
		s.outage.pass()
		if s.active.validated {
			s.active.validation.succeed() // the question is answered
		}
	}
}
