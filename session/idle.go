package session

import "time"

// Times of liveness (SPEC §9).
const (
	silenceMin   = 100 * time.Millisecond // how long expected data may stay away before a probe
	silenceWatch = 2 * time.Second        // how long after data more is expected
	silenceGrows = 3                      // by which each wait is longer than the one before
)

// idleState watches over silence.
type idleState struct {
	heard      Time          // last authentic frame
	spoke      Time          // last frame sent
	data       Time          // last frame that carried data; 0 is none lately
	nextProbe  Time          // when to ask a silent sender whether it is there; Never if not expecting
	probeAfter time.Duration // how long to wait for more data
	silences   int           // probes since
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
	d := s.e.cfg.IdleTimeout
	if peer := time.Duration(s.peerParams.IdleTimeout) * time.Millisecond; peer != 0 && (d < 0 || peer < d) {
		d = peer
	}
	if d < 0 {
		return Never, nil
	}
	return s.idle.heard.Add(max(d, 3*s.active.pto())), ErrIdleTimeout
}

// keepAliveAt returns when s must be heard of again.
func (s *Session) keepAliveAt() Time {
	if s.e.cfg.KeepAlive < 0 || s.pingNow {
		return Never
	}
	return max(s.idle.heard, s.idle.spoke).Add(s.e.cfg.KeepAlive)
}
