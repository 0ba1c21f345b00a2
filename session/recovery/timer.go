package recovery

import "github.com/seed-67dce94e/holdfast/session/clock"

// Deadline returns when OnTimeout must be called: at the earliest loss time of
// any path, or the probe timeout of the active one. Never if neither runs.
func (s *State) Deadline() clock.Time {
	t := s.active.ptoTime(s.maxAckDelay)
	for _, p := range s.paths {
		t = min(t, p.lossTime)
	}
	return t
}

// OnTimeout gives up what is lost by now. It reports true if the probe timeout
// has expired: then the caller sends one or two ack-eliciting frames on the
// active path, whatever congestion window and pacer say (RFC 9002 §6.2.4). A
// probe timeout itself loses nothing.
func (s *State) OnTimeout(now clock.Time, r *Result) (probe bool) {
	r.Reset()
	for _, p := range s.paths {
		if p.lossTime <= now {
			s.detectLosses(now, r)
			s.unlistIdle()
			return false
		}
	}
	p := s.active
	if p.ptoTime(s.maxAckDelay) > now {
		return false
	}
	if p.ptoCount == 0 {
		p.ptoFirst = now
	}
	p.ptoCount++
	p.ptoBase = now
	p.ecn.onPTO(s.sent)
	return s.log.outstanding < maxTracked
}
