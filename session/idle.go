package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Times of liveness (SPEC §9).
const (
	silenceMin   = 100 * time.Millisecond // how long expected data may stay away before a probe
	silenceWatch = 2 * time.Second        // how long after data more is expected
	drainPTOs    = 3
)

// idleState watches over silence.
type idleState struct {
	heard      Time          // last authentic frame
	spoke      Time          // last frame sent
	data       Time          // last frame that carried data; 0 is none lately
	nextProbe  Time          // when to ask a silent sender whether it is there; Never if not expecting
	probeAfter time.Duration // how long to wait for more data
	silences   int
}

func (i *idleState) start(now Time) {
	*i = idleState{heard: now, spoke: now, nextProbe: Never}
}

func (i *idleState) received(now Time, data bool, probeAfter time.Duration) {
	i.heard = now
	i.probeAfter = max(probeAfter, silenceMin)
	if !data {
		return
	}
	if i.data != 0 && now.Sub(i.data) < silenceWatch {
		i.nextProbe = now.Add(i.probeAfter) // a stream, of which more is expected
	}
	i.data, i.silences = now, 0
}

func (i *idleState) sent(now Time) { i.spoke = now }

// silent is called when nextProbe has passed: data was coming and has stopped.
// The mapping that let it in may be gone, and then only a frame from this side
// can make a new one. Probes are spread out threefold until the watch ends.
func (i *idleState) silent(now Time) {
	i.silences++
	wait := i.probeAfter
	for range i.silences {
		wait *= 3
	}
	i.nextProbe = now.Add(wait)
	if i.nextProbe.Sub(i.data) > silenceWatch {
		i.nextProbe = Never
	}
}

// idleTimeout returns the time at which s ends for want of an answer, and the
// error it then ends with.
func (s *Session) idleTimeout() (Time, error) {
	if s.stranded != 0 {
		return s.stranded.Add(s.e.cfg.ResumeTime), ErrStranded
	}
	d := s.e.cfg.IdleTimeout
	if peer := time.Duration(s.peerParams.IdleTimeout) * time.Millisecond; peer != 0 && (d < 0 || peer < d) {
		d = peer
	}
	if d < 0 {
		return Never, nil
	}
	return s.idle.heard.Add(max(d, 3*s.active.rec.RTT.PTO(maxAckDelay))), ErrIdleTimeout
}

// keepAliveAt returns when s must be heard of again.
func (s *Session) keepAliveAt() Time {
	if s.e.cfg.KeepAlive < 0 || s.pingNow {
		return Never
	}
	return max(s.idle.heard, s.idle.spoke).Add(s.e.cfg.KeepAlive)
}

// settle runs when s has been drained: it sets the timer for what comes next.
func (s *Session) settle(now Time) {
	s.report()
	if s.closing.whenSent && s.closing.err == nil && s.msgs.Drained() {
		s.Close(now, s.closing.code, s.closing.reason)
	}
	s.deadline = s.nextDeadline(now)
	s.e.timers.fix(s)
}

func (s *Session) nextDeadline(now Time) Time {
	switch s.state {
	case stateClosed:
		return Never
	case stateDialing:
		return s.dialDeadline()
	case stateHalfOpen, stateDraining:
		return s.expires
	case stateClosing:
		if !s.active.mayEmit() {
			return s.expires
		}
		return min(s.expires, after(now, s.closing.next))
	}
	idle, _ := s.idleTimeout()
	t := min(idle, s.keepAliveAt(), s.idle.nextProbe, s.loss.Deadline(), s.msgs.Deadline(), s.keys.OldKeysExpiry())
	if s.left.rec != nil {
		t = min(t, s.left.at)
	}
	if s.standby != nil {
		t = min(t, s.standbyAt)
	}
	t = min(t, after(now, s.acks.Deadline()), after(now, s.paceAt))
	if s.fullMTU && s.active.sent >= mtuSearchAfter {
		t = min(t, after(now, s.active.mtu.Deadline()))
	}
	for _, x := range s.paths {
		t = min(t, x.giveUp, x.retry, after(now, x.challenge))
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
		return
	case stateClosing:
		s.closingTimeout(now)
		return
	case stateDraining:
		if s.expires <= now {
			s.e.drop(s)
		}
		return
	case stateClosed:
		return
	}
	if at, err := s.idleTimeout(); at <= now {
		s.fail(now, err)
		return
	}
	if s.keepAliveAt() <= now {
		s.pingNow = true
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
	s.msgs.HandleTimeout(now)
	s.pathTimeouts(now)
	s.keys.DropOld(now)
	s.report()
}

// lossTimeout declares frames lost by time, or sends probes when everything is
// silent (RFC 9002 §6.2).
func (s *Session) lossTimeout(now Time) {
	probe := s.loss.OnTimeout(now, &s.e.result)
	s.applyResult(now)
	if !probe {
		return
	}
	s.probes = probesPerTimeout
	s.repeatOldest(now)
	if x := s.active; x.rec.PTOCount() >= silencePTOs {
		x.mtu.OnSilence(now)
		x.rec.SetMDS(x.mtu.Current())
	}
	s.suspectPath(now)
}

// silencePTOs is how many probe timeouts in a row put the datagram size in doubt.
const silencePTOs = 2

// probesPerTimeout is how many frames a probe timeout sends (RFC 9002 §6.2.4).
const probesPerTimeout = 2

// repeatOldest queues what the oldest frames in flight held once more, so that a
// probe brings something useful. They are not lost yet: an acknowledgement of
// either copy will do. What is sent only once is left alone.
func (s *Session) repeatOldest(now Time) {
	r := &s.e.result
	s.loss.Oldest(s.active.rec, probesPerTimeout, r)
	for _, f := range r.Lost {
		for j := range f.Refs {
			if ref := &f.Refs[j]; ref.Mode == wire.Reliable || ref.Mode == wire.Unordered {
				s.chunkLost(now, ref)
			}
		}
	}
	r.Reset()
}
