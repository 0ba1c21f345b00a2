package session

import "time"

// Times of liveness (SPEC §9).
const (
	silenceMin   = 100 * time.Millisecond // how long expected data may stay away before a probe
	silenceWatch = 2 * time.Second        // how long after data more is expected
	idleDefault  = 30 * time.Second       // without a frame, if no side asks for another, and keepalives are not rarer
	streamRun    = 4                      // frames of data that make a stream
	silenceGrows = 3                      // by which each wait is longer than the one before
)

// idleState watches over silence.
type idleState struct {
	heard      Time          // last authentic frame
	spoke      Time          // last frame sent
	data       Time          // last frame that carried data; 0 is none lately
	run        int           // frames of data in a row, none long after the one before
	nextProbe  Time          // when to ask a silent sender whether it is there; Never if not expecting
	probeAfter time.Duration // how long to wait for more data
	keepAlive  time.Duration // the longest that s is to be silent; 0 is Config.KeepAlive
	silences   int           // probes since
}

func (i *idleState) start(now Time) {
	*i = idleState{heard: now, spoke: now, nextProbe: Never, keepAlive: i.keepAlive}
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
	if s.outage.stranded != 0 {
		return s.outage.stranded.Add(s.e.cfg.ResumeTime), ErrStranded
	}
	d, agreed := s.idleLimit()
	if !agreed && d > 0 {
		// Silence is agreed on: it proves nothing before a keepalive is overdue.
		d = max(d, 2*s.keepAlive())
	}
	if d < 0 {
		return Never, nil
	}
	return s.idle.heard.Add(max(d, 3*s.active.pto())), ErrIdleTimeout
}

// idleLimit returns the idle timeout of both sides: that of the one that has
// asked for the shorter. If none has asked for any, there is no agreement, and
// each side has its own; a negative one is none.
func (s *Session) idleLimit() (d time.Duration, agreed bool) {
	own := s.e.cfg.IdleTimeout
	peer := time.Duration(s.peerParams.IdleTimeout) * time.Millisecond
	switch {
	case own > 0 && peer > 0:
		return min(own, peer), true
	case own > 0:
		return own, true
	case peer > 0:
		return peer, true
	case own < 0:
		return own, false
	}
	return idleDefault, false
}

// keepAlive returns the longest that s may be silent: never more than half of an
// idle timeout that a side has asked for. Negative is for ever.
func (s *Session) keepAlive() time.Duration {
	d := s.e.cfg.KeepAlive
	if s.idle.keepAlive != 0 {
		d = s.idle.keepAlive
	}
	if limit, agreed := s.idleLimit(); agreed && d > limit/2 {
		d = limit / 2
	}
	return d
}

// keepAliveAt returns when s must be heard of again.
func (s *Session) keepAliveAt() Time {
	d := s.keepAlive()
	if d < 0 || s.pingNow {
		return Never
	}
	return max(s.idle.heard, s.idle.spoke).Add(d)
}

// restful is the keepalive time from which on no NAT is expected to keep a mapping
// for it.
const restful = time.Minute

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

// SetKeepAlive sets the longest that this side of the session stays silent; 0 is
// Config.KeepAlive. The peer need not do the same: whoever is silent for shorter
// keeps both going.
func (s *Session) SetKeepAlive(now Time, d time.Duration) {
	s.e.enter(now)
	s.idle.keepAlive = d
	s.e.touch(s)
}
