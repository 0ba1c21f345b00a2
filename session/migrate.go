package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/recovery"
)

// Times of migration (SPEC §8.1, §8.3, §8.5).
const (
	betterRTT       = 5 * time.Millisecond // by which a path must be shorter, or by a tenth
	revalidateAfter = 10 * time.Second     // a validation older than this is renewed on a move
	oldPathHeard    = 2 * time.Second      // a path heard of within this is asked whether the peer has really left it
	holdOffPTOs     = 2                    // for which a move of one's own is not undone [S13]
)

// A moveReason tells why data moves to another path.
type moveReason uint8

const (
	ownChoice   moveReason = iota // this side prefers it
	peerMoved                     // the peer said so, by a fresh connection ID
	peerRebound                   // the peer's address changed: by a NAT, or by an attacker
)

// follow obeys the peer's newest non-probing frame: it arrived on x, so that is
// where the peer is (RFC 9000 §9.3).
func (s *Session) follow(now Time, x *path, byFreshID bool) {
	switch {
	case x == s.active || s.holdsOff(now, x):
	case byFreshID:
		s.move(now, x, peerMoved)
		s.rotateRemote() // RFC 9000 §9.5
	case s.suspect():
		s.leaveDead(now, x, peerRebound) // the peer hears us here, and not there
	default:
		s.move(now, x, peerRebound)
	}
}

// holdsOff reports whether a frame on x is likely one that the peer sent before
// it saw a move of ours [S13].
func (s *Session) holdsOff(now Time, x *path) bool {
	return x.validated && s.movedAt != 0 && now.Sub(s.movedAt) < holdOffPTOs*s.active.pto()
}

// considerPath moves data to x, which has just answered, if that is better. One
// side decides, the one that began the session, so that the two never pull in
// different directions; the other follows. Only a dead path is left by whoever
// notices first.
func (s *Session) considerPath(now Time, x *path) {
	switch {
	case s.suspect() && s.outage.standby == nil:
		s.standBy(now, x)
	case !s.initiator || !s.confirmed || !s.better(x, s.active):
	case !x.trusted():
		x.validate(now, false)
		x.validation.next = now.Add(x.pto())
	default:
		x.failedAt = 0
		s.move(now, x, ownChoice)
	}
}

// better ranks validated paths: direct before relayed, then by round-trip time
// with a margin, so that two alike do not alternate.
func (s *Session) better(x, than *path) bool {
	if x.IsRelay() != than.IsRelay() {
		return than.IsRelay()
	}
	if !than.validated {
		return true
	}
	a, b := x.rec.RTT.Smoothed(), than.rec.RTT.Smoothed()
	return a+max(betterRTT, b/10) < b
}

// move sends data to x from now on.
func (s *Session) move(now Time, x *path, why moveReason) {
	old := s.active
	s.active = x
	s.stats.Migrations++
	s.movedAt = 0
	if why == ownChoice {
		s.movedAt = now
		s.pingNow = true // a non-probing frame takes the peer along
	}
	if !x.validated && x.rec != old.rec && sameHost(old.Path, x.Path) {
		// Only a NAT's mapping changed: the network is the same one [S15].
		s.abandonRecords(x)
		x.rec, x.mtu = old.rec, old.mtu
	}
	if s.fallback == x {
		s.fallback = nil // no path stands in for itself
	}
	s.leaveBehind(now, old, x)
	s.loss.Activate(x.rec)
	s.prove(now, old, x, why)
	s.e.emit(Event{Kind: PathChanged, Session: s, Path: x.Path, Old: old.Path})
}

// prove sees to it that the path moved to is validated, and that there is one to
// return to until it is.
func (s *Session) prove(now Time, old, x *path, why moveReason) {
	if x.validated && now.Sub(x.validatedAt) <= revalidateAfter {
		s.fallback = nil
	} else {
		if old.validated && s.fallback == nil {
			s.fallback = old
		}
		x.validate(now, false)
	}
	if why == peerRebound && old.validated && (now.Sub(old.heard) < oldPathHeard || x.IsRelay() && !old.IsRelay()) {
		old.validate(now, false) // RFC 9000 §9.3.3; and a direct path is not given up for a relay unasked
	}
}

// leftBehind is what was in flight when data moved to another path.
type leftBehind struct {
	rec    *recovery.Path // nil if nothing was
	before Time           // frames sent earlier than this
	at     Time           // when they are sent again at the latest
}

// leaveBehind sees to the frames in flight on old: those that no acknowledgement
// has settled by the time the new path is proved, or a probe timeout later, are
// sent again; at once if the old path was silent. That is no congestion event
// (SPEC §8.6).
func (s *Session) leaveBehind(now Time, old, x *path) {
	before := Never
	if x.rec == old.rec {
		before = now
	}
	if s.left.rec != nil && (s.left.rec != old.rec || before == Never) {
		s.sendLeftBehind(now)
	}
	if s.left.rec == nil {
		s.left = leftBehind{old.rec, before, now.Add(old.pto())}
	}
	if s.suspect() {
		s.sendLeftBehind(now)
	}
	x.rec.ResetPTO()
	s.outage.pass()
}

func (s *Session) sendLeftBehind(now Time) {
	if s.left.rec != nil {
		s.loss.Requeue(s.left.rec, s.left.before, &s.e.result)
		s.left = leftBehind{}
		s.sendAgain(now)
	}
}

// sameHost reports whether two paths differ in ports alone, this side's or the
// peer's: the same IPv4 address or the same IPv6 /64. All sockets of a node are
// on one network as far as the core can know; two relays never are.
func sameHost(a, b Path) bool {
	if a.Link != b.Link && (a.IsRelay() || b.IsRelay()) {
		return false
	}
	x, y := a.Remote.Addr(), b.Remote.Addr()
	if x == y {
		return true
	}
	if !x.Is6() || !y.Is6() {
		return false
	}
	px, _ := x.Prefix(64)
	py, _ := y.Prefix(64)
	return px == py
}

// Moved tells the session that this side's network has changed: every path is
// challenged, the peer learns the new address from a frame at once, and a fresh
// connection ID keeps observers of the old network from following.
func (s *Session) Moved(now Time) {
	s.e.enter(now)
	if s.state != stateEstablished {
		return
	}
	s.wake()
	s.rotateRemote()
	s.retry(s.e.now)
}

// Retry tells the session that its paths may work again, because an interface or
// the link to a relay is back: they are all challenged at once, the backoff of
// probes and retries begins anew, and the oldest messages go out again. Unlike
// Moved, it keeps the connection ID.
func (s *Session) Retry(now Time) {
	s.e.enter(now)
	if s.state == stateEstablished {
		s.wake()
		s.retry(s.e.now)
	}
}

func (s *Session) retry(now Time) {
	for _, x := range s.paths {
		// A candidate that has yet to answer keeps its schedule, and with it
		// the leave to be challenged at all.
		x.revalidate(now, x.validation.candidate && !x.validated)
		x.validation.retries = 0
	}
	s.active.rec.ResetPTO()
	// The oldest may have arrived, and their acknowledgements not: the probes
	// hold as many as fit, so that something new to the peer is among them.
	s.repeatOldest(now, escortFrames, probesPerTimeout*baseMTU)
	s.probes = probesPerTimeout
	s.pingNow = true
	s.e.touch(s)
}
