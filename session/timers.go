package session

import (
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/wire"
)

// settle runs when s has been drained: it sets the timer for what comes next.
func (s *Session) settle(now Time) {
	if s.resting != nil {
		s.settleAtRest(now)
		return
	}
	s.report()
	if s.closing.whenSent && s.closing.err == nil && s.msgs.Drained() {
		s.Close(now, s.closing.code, s.closing.reason)
	}
	s.deadline = s.nextDeadline(now)
	s.e.timers.fix(s)
	s.rest(now)
}

func (s *Session) nextDeadline(now Time) Time {
	switch s.state {
	case stateDialing:
		return s.dialDeadline()
	case stateHalfOpen, stateDraining:
		return s.expires
	case stateClosing:
		return s.closeDeadline(now)
	case stateEstablished:
		return min(s.livenessDeadline(), s.sendDeadline(now), s.pathDeadline(now))
	}
	return Never
}

// livenessDeadline is when something has been waited for long enough.
func (s *Session) livenessDeadline() Time {
	idle, _ := s.idleTimeout()
	return min(idle, s.keepAliveAt(), s.idle.nextProbe, s.loss.Deadline(), s.msgs.Deadline(), s.keys.OldKeysExpiry())
}

// sendDeadline is when a frame that time alone holds back may go.
func (s *Session) sendDeadline(now Time) Time {
	t := min(after(now, s.acks.Deadline()), after(now, s.paceAt), after(now, s.holdUntil), s.tailProbeAt())
	if s.wantsLargerFrames() {
		t = min(t, after(now, s.active.mtu.Deadline()))
	}
	return t
}

func (s *Session) pathDeadline(now Time) Time {
	t := Never
	if s.left.rec != nil {
		t = min(t, s.left.at)
	}
	if s.outage.standby != nil {
		t = min(t, s.outage.standbyAt)
	}
	for _, x := range s.paths {
		v := &x.validation
		t = min(t, v.giveUp, v.retry, after(now, v.next))
	}
	return t
}

// after returns t if it is still to come. What was due before, and was not sent
// when s was drained, waits for something other than time.
func after(now, t Time) Time {
	if t <= now {
		return Never
	}
	return t
}

// handleTimeout runs whatever of s was due by now.
func (s *Session) handleTimeout(now Time) {
	switch s.state {
	case stateDialing, stateHalfOpen:
		if s.expires <= now {
			s.fail(now, ErrHandshakeTimeout)
		}
	case stateClosing, stateDraining:
		if s.expires <= now {
			s.e.drop(s)
		}
	case stateEstablished:
		s.establishedTimeout(now)
	}
}

func (s *Session) establishedTimeout(now Time) {
	if at, err := s.idleTimeout(); at <= now {
		s.fail(now, err)
		return
	}
	if s.keepAliveAt() <= now {
		s.stayAlive(now)
	}
	if s.idle.nextProbe <= now {
		s.idle.silent(now)
		s.pingNow = true
	}
	if s.left.rec != nil && s.left.at <= now {
		s.sendLeftBehind(now)
	}
	if s.loss.Deadline() <= now {
		s.lossTimeout(now)
	}
	if s.tailProbeAt() <= now {
		s.msgs.RepeatTail()
	}
	s.msgs.HandleTimeout(now)
	s.outageTimeout(now)
	s.pathTimeouts(now)
	s.keys.DropOld(now)
	s.report()
}

// probeRate is how many probe timeouts of an endpoint may be followed by others
// soon. If so many paths are silent, it is the machine or its own network that
// does not keep up, and haste makes that worse.
var probeRate = limit.Rate{PerSecond: 500, Burst: 1000}

const (
	probesPerTimeout = 2 // frames that a probe timeout sends (RFC 9002 §6.2.4)
	silencePTOs      = 2 // probe timeouts in a row that put the datagram size in doubt
)

// lossTimeout declares frames lost by time, or sends probes when everything is
// silent (RFC 9002 §6.2).
func (s *Session) lossTimeout(now Time) {
	probe := s.loss.OnTimeout(now, &s.e.result)
	s.applyResult(now)
	if !probe {
		return
	}
	s.active.rec.SetPatient(!s.e.probes.Take(now, probeRate, 1))
	escortless := s.outage.escort.path == nil || !s.suspect()
	s.suspectPath(now)
	s.probes = probesPerTimeout
	if escortless && s.outage.escort.path != nil {
		s.repeatOldest(now, escortFrames, escortBytes) // what flew alone goes again in company
	} else {
		s.repeatOldest(now, probesPerTimeout, escortBytes)
	}
	if x := s.active; x.rec.PTOCount() >= silencePTOs {
		x.mtu.OnSilence(now)
		x.rec.SetMDS(x.mtu.Current())
	}
}

// repeatOldest queues what the oldest frames in flight held once more, so that a
// probe brings something useful: at most so many frames, and bytes but for the
// first. They are not lost yet: an acknowledgement of either copy will do. What is
// sent only once is left alone.
func (s *Session) repeatOldest(now Time, frames, bytes int) {
	r := &s.e.result
	s.loss.Oldest(s.active.rec, frames, r)
	for i, f := range r.Lost {
		if bytes -= f.Size; bytes < 0 && i > 0 {
			break
		}
		for j := range f.Refs {
			if ref := &f.Refs[j]; ref.Mode == wire.Reliable || ref.Mode == wire.Unordered {
				s.chunkAgain(now, ref)
			}
		}
	}
	r.Reset()
}
