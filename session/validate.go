package session

import "time"

// Times of path validation (SPEC §8.3).
const (
	liveChallenges = 8               // PATH_CHALLENGE tokens of one path that an answer may match
	giveUpPTOs     = 3               // RFC 9000 §8.2.4
	forgiveAfter   = 3 * time.Second // a path that failed, and is then named again, is trusted again
	trustAnswers   = 2               // in a row that bring data back to a path that failed
	initialRTT     = 333 * time.Millisecond
	initialPTO     = 3 * initialRTT
	candidateLife  = 4 * time.Second // of one that answers nothing
	firstRetry     = time.Second     // after which a path that died is tried again
	steadyRetry    = 2 * time.Second // between the next ones: what comes back does so within seconds, as a rule
	steadyRetries  = 15
	maxRetries     = 20 // the last ones at twice the distance each: about a minute and a half in all
)

// probeSchedule says when a candidate is challenged, counted from AddPath. The
// two ends start together, so the early ones cross a NAT pair at the same time;
// the later ones cover loss and a late peer.
var probeSchedule = [...]time.Duration{
	0, 25 * time.Millisecond, 75 * time.Millisecond, 175 * time.Millisecond,
	375 * time.Millisecond, 775 * time.Millisecond, 1575 * time.Millisecond,
}

// A validation asks the peer, by rounds of challenges, whether it is to be found
// on a path.
//
//	        start, or retry is due         PATH_RESPONSE: succeed
//	resting ----------------------> asking -----------------------> resting
//	   ^                              | giveUp
//	   +-- planRetry, up to 20 times --+--> the path is removed
type validation struct {
	tokens    *[liveChallenges]challenge // ring of those sent; nil if none was since the last answer
	next      Time                       // when the next challenge goes out; Never if none
	began     Time                       // of the round
	giveUp    Time                       // when the round has failed; Never while resting
	issued    int32                      // how many were sent since the last answer
	tries     int16                      // challenges sent in this round
	retries   int8                       // retries planned so far
	candidate bool                       // the round follows probeSchedule
	retry     Time                       // when a path that died is tried again; Never if it is not
}

type challenge struct {
	token [8]byte
	at    Time
}

func (v *validation) init() { *v = validation{next: Never, giveUp: Never, retry: Never} }

func (v *validation) asking() bool { return v.giveUp != Never }

// start begins a round. One for a candidate follows probeSchedule, any other the
// probe timeout.
func (v *validation) start(now Time, candidate bool, pto time.Duration) {
	v.next, v.began, v.tries, v.candidate = now, now, 0, candidate
	v.giveUp = now.Add(giveUpPTOs * max(pto, initialPTO))
	if candidate {
		v.giveUp = now.Add(candidateLife)
	}
}

// sent notes a challenge and sets the time of the one after it, within a tenth
// of the schedule: else those of many sessions would go out together.
func (v *validation) sent(now Time, token [8]byte, pto time.Duration, random uint64) {
	if v.tokens == nil {
		v.tokens = new([liveChallenges]challenge)
	}
	v.tokens[v.issued%liveChallenges] = challenge{token, now}
	v.issued++
	v.tries++
	switch {
	case !v.candidate:
		v.next = now.Add(pto << min(v.tries-1, 3))
	case int(v.tries) < len(probeSchedule):
		d := probeSchedule[v.tries]
		jitter := time.Duration(random%uint64(d/5)) - d/10
		v.next = max(v.began.Add(d+jitter), now+1)
	default:
		v.next = Never
	}
}

// sentAt returns when the challenge with the token went out.
func (v *validation) sentAt(token [8]byte) (at Time, ok bool) {
	for i := range min(int(v.issued), liveChallenges) {
		if v.tokens[i].token == token {
			return v.tokens[i].at, true
		}
	}
	return 0, false
}

// fail ends a round that nobody answered. A late answer proves nothing.
func (v *validation) fail() {
	v.next, v.giveUp, v.issued = Never, Never, 0
}

// succeed ends the search: the peer has answered.
func (v *validation) succeed() { v.init() }

// planRetry sets the time for another round for a path that once worked, at
// growing distances. It reports false when the path seems gone for good.
func (v *validation) planRetry(now Time) bool {
	if v.retries >= maxRetries {
		return false
	}
	switch {
	case v.retries == 0:
		v.retry = now.Add(firstRetry)
	case v.retries < steadyRetries:
		v.retry = now.Add(steadyRetry)
	default:
		v.retry = now.Add(steadyRetry << (v.retries - steadyRetries + 1))
	}
	v.retries++
	return true
}

// fail notes that data has left x for dead.
func (x *path) fail(now Time) { x.validated, x.failedAt, x.answers = false, now, 0 }

// trusted reports whether data may return to x as far as its past goes. One that
// works by fits and starts would otherwise take the session back and forth.
func (x *path) trusted() bool { return x.failedAt == 0 || x.answers >= trustAnswers }

// validate begins a round of challenges on x, if none is under way.
func (x *path) validate(now Time, candidate bool) {
	if !x.validation.asking() {
		x.revalidate(now, candidate)
	}
}

// revalidate begins a round of challenges on x, in place of any under way.
func (x *path) revalidate(now Time, candidate bool) {
	x.validation.start(now, candidate, x.pto())
}

// nextChallenge makes the token of a challenge that goes out on x now.
func (s *Session) nextChallenge(now Time, x *path) (token [8]byte) {
	s.e.rng.Read(token[:])
	x.validation.sent(now, token, x.pto(), s.e.rng.Uint64())
	return token
}

// handlePathResponse validates the path that the token was sent on, wherever
// the answer came in (RFC 9000 §8.2.3).
func (s *Session) handlePathResponse(now Time, token [8]byte) {
	for _, x := range s.paths {
		if at, ok := x.validation.sentAt(token); ok {
			s.pathAnswered(now, x, now.Sub(at))
			return
		}
	}
}

func (s *Session) pathAnswered(now Time, x *path, rtt time.Duration) {
	first := !x.validated
	x.validated, x.validatedAt, x.heard = true, now, now
	x.validation.succeed()
	x.answers++
	if !x.rec.RTT.HasSample() {
		x.rec.RTT.Update(rtt, 0, 0)
	}
	if first {
		s.e.emit(Event{Kind: PathValidated, Session: s, Path: x.Path})
	}
	if x != s.active {
		s.considerPath(now, x)
		return
	}
	x.failedAt = 0
	s.fallback = nil
	s.outage.stranded = 0
	if s.outage.escort.path != nil {
		s.outage.pass()
		x.rec.ResetPTO()
	}
	if first {
		s.sendLeftBehind(now)
		s.callSiblings(now, x)
	}
}

// pathTimeouts runs the timers of paths: retries, and rounds of challenges that
// failed.
func (s *Session) pathTimeouts(now Time) {
	for i := len(s.paths) - 1; i >= 0; i-- { // backwards: a failed path may be removed
		x := s.paths[i]
		v := &x.validation
		if v.retry <= now {
			v.retry = Never
			x.forgetBudget()
			x.validate(now, false)
		}
		if v.giveUp <= now {
			v.fail()
			x.answers = 0
			s.validationFailed(now, x)
		}
	}
}

func (s *Session) validationFailed(now Time, x *path) {
	switch {
	case x == s.active:
		s.activeFailed(now)
	case x.validation.retries > 0 && x.validation.planRetry(now):
	case x.IsRelay() && x.validated:
		x.validated = false // kept: the link itself may come back
		s.e.emit(Event{Kind: PathFailed, Session: s, Path: x.Path})
	default:
		s.removePath(x)
	}
}
