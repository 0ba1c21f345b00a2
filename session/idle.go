package session

import "time"

// Times of liveness (SPEC §9).
const (
	silenceMin   = 100 * time.Millisecond // how long expected data may stay away before a probe
	silenceWatch = 2 * time.Second        // how long after data more is expected
	silenceGrows = 3                      // by which each wait is longer than the one before
	streamRun    = 4                      // frames of data that make a stream
	restful      = time.Minute            // keepalive interval from which on no NAT is trusted to keep a mapping for it
	idleMin      = 30 * time.Second       // of silence before a session ends that names no idle timeout
	idleSilences = 2                      // keepalive intervals before that, at least
)

// idleState watches over silence.
type idleState struct {
	heard      Time          // last authentic frame
	spoke      Time          // last frame sent
	data       Time          // last frame that carried data; 0 is none lately
	run        int32         // frames of data in a row, none long after the one before
	silences   int32         // probes since that data
	nextProbe  Time          // when to ask a silent sender whether it is there; Never if not expecting
	probeAfter time.Duration // how long to wait for more data
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
	if i.data == 0 || now.Sub(i.data) >= silenceWatch {
		i.run = 0
	}
	if i.run++; i.run >= streamRun {
		i.nextProbe = now.Add(i.probeAfter) // more is expected
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
		wait *= silenceGrows
	}
	i.nextProbe = now.Add(wait)
	if i.nextProbe.Sub(i.data) > silenceWatch {
		i.nextProbe = Never
	}
}

// idleTimeout returns the time at which s ends for want of an answer, and the
// error it then ends with.
func (s *Session) idleTimeout() (Time, error) {
	if s.work != nil && s.outage.stranded != 0 {
		return s.outage.stranded.Add(s.e.cfg.ResumeTime), ErrStranded
	}
	d := s.declaredIdle()
	if d == 0 {
		alive := s.keepAlive()
		if s.e.cfg.IdleTimeout < 0 || alive < 0 {
			return Never, nil
		}
		d = max(idleMin, idleSilences*alive)
	}
	return s.idle.heard.Add(max(d, 3*s.active.pto())), ErrIdleTimeout
}

// declaredIdle is the shorter of the idle timeouts that the two sides declared;
// 0 if neither did.
func (s *Session) declaredIdle() time.Duration {
	d := max(s.e.cfg.IdleTimeout, 0)
	if peer := time.Duration(s.peerParams.IdleTimeout) * time.Millisecond; peer != 0 && (d == 0 || peer < d) {
		d = peer
	}
	return d
}

// SetKeepAlive sets the longest that the session stays silent from now on; 0 is
// Config.KeepAlive, and a negative time lets it stay silent for ever. An idle
// session may so sleep for minutes: whether the peer is still there then shows
// when either side next speaks.
func (s *Session) SetKeepAlive(now Time, d time.Duration) {
	s.e.enter(now)
	s.alive = min(d, maxKeepAlive)
	s.e.touch(s)
}

// maxKeepAlive is as good as for ever, and twice as much is still a time.
const maxKeepAlive = 365 * 24 * time.Hour

// keepAlive is the longest that s stays silent, which must not end it on either
// side; negative if it may for ever.
func (s *Session) keepAlive() time.Duration {
	d := s.alive
	if d == 0 {
		d = min(s.e.cfg.KeepAlive, maxKeepAlive)
	}
	if idle := s.declaredIdle(); idle > 0 {
		d = min(d, idle/idleSilences)
	}
	return d
}

// keepAliveAt returns when s must be heard of again. Whoever spoke last asks a
// little earlier, or its PING would arrive just when the peer's is due.
func (s *Session) keepAliveAt() Time {
	d := s.keepAlive()
	if d < 0 || s.pingNow {
		return Never
	}
	if s.idle.spoke >= s.idle.heard {
		return s.idle.spoke.Add(d - d/earlyShare)
	}
	return s.idle.heard.Add(d)
}

// Keepalives of many sessions share one awakening of the caller, which costs more
// than to send them: with the first go those that are due soon.
const (
	earlyShare = 64 // of the keepalive interval, by which one may be early
	earlyMax   = 64 // at a time, so that the answers find room in a socket's buffer
)

// keepOthersAlive is called when the timer of a session has fired. It sends the
// keepalives of sessions at rest that would be next.
func (e *Endpoint) keepOthersAlive() {
	for range earlyMax {
		if len(e.timers) == 0 {
			return
		}
		s := e.timers[0].s
		if s.resting == nil || s.deadline != s.keepAliveAt() || s.deadline.Sub(e.now) > s.keepAlive()/earlyShare {
			return
		}
		e.takeTimer(s)
		if !s.askAtRest(e.now) {
			s.wake()
			s.stayAlive(e.now)
		}
		e.enqueue(s)
	}
}

// stayAlive shows the peer that this side is there, and asks whether it is. A
// keepalive that is too rare to hold a direct path open goes over a relay, if one
// has answered: on the direct path it might be lost, and set off the search for
// another that nobody needs now.
func (s *Session) stayAlive(now Time) {
	if relay := s.standingRelay(); relay != nil && s.keepAlive() >= restful {
		relay.validate(now, false)
		s.e.touch(s)
		return
	}
	s.pingNow = true
}

// standingRelay returns a relay that has answered and carries no data, or nil.
func (s *Session) standingRelay() *path {
	for _, x := range s.paths {
		if x != s.active && x.IsRelay() && x.validated {
			return x
		}
	}
	return nil
}
