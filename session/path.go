package session

import (
	"encoding/binary"
	"time"

	"github.com/seed-67dce94e/holdfast/session/pmtu"
	"github.com/seed-67dce94e/holdfast/session/recovery"
)

// Limits and times of paths (SPEC §8).
const (
	maxPaths        = 16 // tracked at a time, candidates included
	baseMTU         = 1200
	relayMTU        = 1100 // leaves room for the frame and message that carry it
	maxUDPPayload   = 65507
	liveChallenges  = 8 // outstanding PATH_CHALLENGE tokens of one path
	amplification   = 3 // RFC 9000 §8.1
	overdrawnMax    = 32
	initialRTT      = 333 * time.Millisecond
	revalidateAfter = 10 * time.Second
	oldPathHeard    = 2 * time.Second
	betterRTT       = 5 * time.Millisecond
	firstRetry      = time.Second // after which a path that died is tried again
	maxRetries      = 6           // at twice the distance each: about a minute
)

// probeSchedule says when a candidate is challenged, counted from AddPath. The
// two ends start together, so the early ones cross a NAT pair at the same time;
// the later ones cover loss and a late peer.
var probeSchedule = [...]time.Duration{
	0, 25 * time.Millisecond, 75 * time.Millisecond, 175 * time.Millisecond,
	375 * time.Millisecond, 775 * time.Millisecond, 1575 * time.Millisecond,
}

// candidateLife is how long a candidate that answers nothing is kept.
const candidateLife = 4 * time.Second

// A path is one way to the peer and all that is known about it.
type path struct {
	Path
	rec *recovery.Path // round-trip time, congestion window, pacing; shared by paths that differ in the port alone
	mtu pmtu.Search

	validated   bool
	vouched     bool // validated by another session with the same peer
	validatedAt Time
	heard       Time   // last authentic frame that arrived here; 0 is never
	received    uint64 // bytes, for the amplification limit
	sent        uint64
	overdrawn   uint8 // challenges sent although the limit was reached

	challenges [liveChallenges]challenge // ring of tokens in flight
	tokens     int                       // challenges sent
	challenge  Time                      // when the next challenge goes out; Never if none
	started    Time                      // when the current round of challenges began
	tries      int                       // challenges sent in this round
	giveUp     Time                      // when the round has failed; Never if none
	candidate  bool                      // the round follows probeSchedule
	retry      Time                      // when a path that died is tried again; Never if it is not
	retries    int

	response    [8]byte // answer owed to the peer's newest challenge
	hasResponse bool
}

type challenge struct {
	data [8]byte
	at   Time
}

func (s *Session) newPath(p Path) *path {
	x := &path{Path: p, challenge: Never, giveUp: Never, retry: Never, rec: new(recovery.Path)}
	s.resetPath(x)
	return x
}

// resetPath forgets what was measured on x.
func (s *Session) resetPath(x *path) {
	x.rec.Init(recovery.DefaultMDS)
	limit := maxUDPPayload
	if s.e.cfg.MaxDatagram > 0 {
		limit = min(limit, s.e.cfg.MaxDatagram)
	}
	base := min(baseMTU, limit)
	if x.IsRelay() {
		base = min(relayMTU, limit)
		limit = base
	}
	x.mtu.Init(base, limit)
	x.rec.SetMDS(x.mtu.Current())
}

func (s *Session) findPath(p Path) *path {
	for _, x := range s.paths {
		if x.Path == p {
			return x
		}
	}
	return nil
}

// obtainPath returns the path for p, making room for a new one by dropping the
// one least worth keeping. A new authentic path is never refused: that is how a
// peer that moved comes back.
func (s *Session) obtainPath(p Path) *path {
	if x := s.findPath(p); x != nil {
		return x
	}
	if len(s.paths) >= maxPaths {
		s.dropWorstPath()
	}
	x := s.newPath(p)
	s.paths = append(s.paths, x)
	return x
}

func (s *Session) dropWorstPath() {
	worst := -1
	for i, x := range s.paths {
		if x == s.active || x == s.fallback {
			continue
		}
		if worst < 0 || lessWorthKeeping(x, s.paths[worst]) {
			worst = i
		}
	}
	s.removePath(worst)
}

func lessWorthKeeping(a, b *path) bool {
	if a.validated != b.validated {
		return b.validated
	}
	return a.heard < b.heard
}

func (s *Session) removePath(i int) {
	x := s.paths[i]
	if s.fallback == x {
		s.fallback = nil
	}
	if s.standby == x {
		s.standby = nil
	}
	s.paths = append(s.paths[:i], s.paths[i+1:]...)
	s.abandonRecords(x)
}

// abandonRecords sends again what flies on x, unless another path shares its
// recovery state.
func (s *Session) abandonRecords(x *path) {
	for _, y := range s.paths {
		if y != x && y.rec == x.rec {
			return
		}
	}
	if s.left.rec == x.rec {
		s.left = leftBehind{}
	}
	s.loss.Requeue(x.rec, Never, &s.e.result)
	s.sendAgain(s.e.now)
}

// mayEmit says whether size bytes may be sent on x: an address that has not
// proved it wants traffic gets at most three times what it sent, where the last
// datagram may overrun so that a small budget never starves (SPEC §8.2).
func (x *path) mayEmit() bool {
	return x.validated || x.vouched || x.IsRelay() || x.candidateBudget() || x.sent < amplification*x.received
}

// candidateBudget lets the shell's own candidates be challenged although
// nothing came from them yet; the schedule bounds it to a few small datagrams.
func (x *path) candidateBudget() bool {
	return x.candidate && x.received == 0 && x.tries <= len(probeSchedule)
}

// startValidation begins a round of challenges on x, if none is under way.
func (x *path) startValidation(now Time, candidate bool) {
	if x.challenge != Never || x.giveUp != Never {
		return
	}
	x.challenge, x.started, x.tries, x.candidate = now, now, 0, candidate
	if candidate {
		x.giveUp = now.Add(candidateLife)
		return
	}
	x.giveUp = now.Add(3 * max(x.rec.RTT.PTO(maxAckDelay), initialRTT*3)) // RFC 9000 §8.2.4
}

// nextChallenge makes a token and sets the time of the one after it.
func (s *Session) nextChallenge(now Time, x *path) [8]byte {
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], s.e.rng.Uint64())
	x.challenges[x.tokens%liveChallenges] = challenge{data, now}
	x.tokens++
	x.tries++
	switch {
	case !x.candidate:
		x.challenge = now.Add(x.rec.RTT.PTO(maxAckDelay) << min(x.tries-1, 3))
	case x.tries < len(probeSchedule):
		d := probeSchedule[x.tries]
		jitter := time.Duration(s.e.rng.Uint64()%uint64(d/5)) - d/10
		x.challenge = max(x.started.Add(d+jitter), now+1)
	default:
		x.challenge = Never
	}
	return data
}

// handlePathResponse validates the path that the token was sent on, wherever
// the answer came in (RFC 9000 §8.2.3).
func (s *Session) handlePathResponse(now Time, data [8]byte) {
	for _, x := range s.paths {
		for i := range min(x.tokens, liveChallenges) {
			if c := x.challenges[i]; c.data == data && c.at != 0 {
				s.pathAnswered(now, x, now.Sub(c.at))
				return
			}
		}
	}
}

func (s *Session) pathAnswered(now Time, x *path, rtt time.Duration) {
	first := !x.validated
	x.validated, x.validatedAt, x.heard = true, now, now
	x.challenge, x.giveUp, x.retry, x.tokens, x.retries = Never, Never, Never, 0, 0
	clear(x.challenges[:])
	if !x.rec.RTT.HasSample() {
		x.rec.RTT.Update(rtt, 0, 0)
	}
	if first {
		s.e.emit(Event{Kind: PathValidated, Session: s, Path: x.Path})
	}
	if x == s.active {
		if first {
			s.sendLeftBehind(now)
			s.callSiblings(now, x)
		}
		s.fallback = nil
		s.stranded = 0
		return
	}
	s.considerPath(now, x)
}

// considerPath moves data to x if that is better. One side decides, the one that
// began the session, so that the two never pull in different directions; the
// other follows. Only a dead path is left by whoever notices first.
func (s *Session) considerPath(now Time, x *path) {
	if s.suspect() && s.standby == nil {
		// The active path was asked at the same time: let it have one round
		// trip before it is given up.
		s.standby = x
		s.standbyAt = s.suspectAt.Add(s.active.rec.RTT.Smoothed() * 5 / 4)
		if s.standbyAt <= now {
			s.failOver(now)
		}
		return
	}
	if s.initiator && s.confirmed && s.better(x, s.active) {
		s.move(now, x, ownChoice)
	}
}

// failOver leaves the active path for the one that answered in its place.
func (s *Session) failOver(now Time) {
	if x := s.standby; x != nil && s.suspect() {
		s.standby = nil
		dead := s.active
		s.e.emit(Event{Kind: PathFailed, Session: s, Path: dead.Path})
		s.move(now, x, ownChoice)
		dead.validated = false
		dead.retryLater(now)
	}
}

// retryLater plans another round of challenges for a path that once worked, at
// growing distances, until it seems gone for good.
func (x *path) retryLater(now Time) bool {
	if x.retries >= maxRetries {
		return false
	}
	x.retry = now.Add(firstRetry << x.retries)
	x.retries++
	return true
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

// follow obeys the peer's newest non-probing frame: it arrived on x, so that is
// where the peer is (RFC 9000 §9.3).
func (s *Session) follow(now Time, x *path, byFreshID bool) {
	if x == s.active {
		return
	}
	if x.validated && s.movedAt != 0 && now.Sub(s.movedAt) < 2*s.active.rec.RTT.PTO(maxAckDelay) {
		return // sent before the peer saw our own move
	}
	if byFreshID {
		s.move(now, x, peerMoved)
		s.rotateRemote() // RFC 9000 §9.5
		return
	}
	s.move(now, x, peerRebound)
}

// A moveReason tells why data moves to another path.
type moveReason uint8

const (
	ownChoice   moveReason = iota // this side prefers it
	peerMoved                     // the peer said so, by a fresh connection ID
	peerRebound                   // the peer's address changed: by a NAT, or by an attacker
)

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
	if sameHost(old.Path, x.Path) {
		if !x.validated && x.rec != old.rec {
			// Only a NAT's mapping changed: the network is the same one
			// (RFC 9000 §9.4).
			s.abandonRecords(x)
			x.rec, x.mtu = old.rec, old.mtu
		}
	}
	s.leaveBehind(now, old, x)
	s.loss.Activate(x.rec)
	if old.validated && s.fallback == nil {
		s.fallback = old
	}
	if !x.validated || now.Sub(x.validatedAt) > revalidateAfter {
		x.startValidation(now, false)
	} else {
		s.fallback = nil
	}
	if why == peerRebound && old.validated && now.Sub(old.heard) < oldPathHeard {
		old.startValidation(now, false) // RFC 9000 §9.3.3
	}
	s.e.emit(Event{Kind: PathChanged, Session: s, Path: x.Path, Old: old.Path})
}

// leftBehind is what was in flight when data moved to another path.
type leftBehind struct {
	rec    *recovery.Path // nil if nothing was
	before Time           // frames sent earlier than this
	at     Time           // when they are sent again at the latest
}

// leaveBehind sees to the frames in flight on old: those that no acknowledgement
// has settled by the time the new path is proved, or a probe timeout later, are
// sent again. That is no congestion event (SPEC §8.6).
func (s *Session) leaveBehind(now Time, old, x *path) {
	before := Never
	if x.rec == old.rec {
		before = now
	}
	if s.left.rec != nil && (s.left.rec != old.rec || before == Never) {
		s.sendLeftBehind(now)
	}
	if s.left.rec == nil {
		s.left = leftBehind{old.rec, before, now.Add(old.rec.RTT.PTO(maxAckDelay))}
	}
	if s.suspect() {
		s.sendLeftBehind(now)
	}
	x.rec.ResetPTO()
	s.suspectAt, s.standby = 0, nil
}

func (s *Session) sendLeftBehind(now Time) {
	if s.left.rec != nil {
		s.loss.Requeue(s.left.rec, s.left.before, &s.e.result)
		s.left = leftBehind{}
		s.sendAgain(now)
	}
}

// sameHost reports whether two paths differ in the port alone: the same IPv4
// address or the same IPv6 /64.
func sameHost(a, b Path) bool {
	if a.Link != b.Link {
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

// suspect reports whether the active path has stopped answering.
func (s *Session) suspect() bool { return s.suspectAt != 0 }

// suspectPath is called when a probe timeout fires: what was sent on the active
// path is unanswered. Every other way is challenged at once, and the first that
// answers while the active path is silent takes over.
func (s *Session) suspectPath(now Time) {
	if s.suspectAt == 0 {
		s.suspectAt = now
	}
	n := s.active.rec.PTOCount()
	for _, x := range s.paths {
		if x == s.active || !(x.validated || x.IsRelay()) {
			continue
		}
		x.challenge, x.giveUp = Never, Never
		x.startValidation(now, false)
	}
	if n >= 2 {
		s.tryWhereSiblingsAre(now)
		s.active.challenge, s.active.giveUp = Never, Never
		s.active.startValidation(now, false)
	}
	switch {
	case n == 2:
		s.e.emit(Event{Kind: PathFailed, Session: s, Path: s.active.Path})
	case n >= 3 && s.stranded == 0:
		s.stranded = now
		s.e.emit(Event{Kind: Stranded, Session: s, Path: s.active.Path})
	}
}

// tryWhereSiblingsAre tries the paths on which other sessions with the same peer
// hear of it.
func (s *Session) tryWhereSiblingsAre(now Time) {
	for _, x := range s.siblings() {
		if x != s && !x.suspect() && x.active.validated {
			s.tryVouched(now, x.active.Path)
		}
	}
}

// tryVouched challenges a path on which another session has proved that the peer
// is there, so that the amplification limit has served its purpose.
func (s *Session) tryVouched(now Time, p Path) {
	x := s.obtainPath(p)
	x.vouched = true
	if !x.validated {
		x.startValidation(now, true)
	}
}

// pathAlive is called for every authentic frame: x works.
func (s *Session) pathAlive(now Time, x *path) {
	x.heard = now
	if x == s.active {
		s.suspectAt, s.standby, s.stranded = 0, nil, 0
		if !x.validated {
			x.startValidation(now, false) // again, if a round failed for the loss of it
		}
	}
}

// pathTimeouts runs the timers of paths: a path that stands by, and rounds of
// challenges that failed.
func (s *Session) pathTimeouts(now Time) {
	if s.standby != nil && s.standbyAt <= now {
		s.failOver(now)
	}
	for i := 0; i < len(s.paths); i++ {
		x := s.paths[i]
		if x.retry <= now {
			x.retry = Never
			x.startValidation(now, false)
		}
		if x.giveUp > now {
			continue
		}
		x.challenge, x.giveUp, x.tokens = Never, Never, 0
		clear(x.challenges[:])
		if x == s.active {
			s.activeFailed(now)
			continue
		}
		if x.retries > 0 && x.retryLater(now) {
			continue
		}
		if x.IsRelay() && x.validated {
			x.validated = false // kept: the link itself may come back
			continue
		}
		s.removePath(i)
		i--
	}
}

// activeFailed handles an active path that answered no challenge: go back to
// the one before it, if that one had been proved (RFC 9000 §9.3.2).
func (s *Session) activeFailed(now Time) {
	if f := s.fallback; f != nil {
		s.fallback = nil
		failed := s.active
		failed.validated = false
		s.move(now, f, ownChoice)
		s.fallback = nil
		if i := s.indexOf(failed); i >= 0 {
			s.removePath(i)
		}
		return
	}
	if s.stranded == 0 {
		s.stranded = now
		s.e.emit(Event{Kind: Stranded, Session: s, Path: s.active.Path})
	}
}

func (s *Session) indexOf(x *path) int {
	for i := range s.paths {
		if s.paths[i] == x {
			return i
		}
	}
	return -1
}

// AddPath tries p as a way to the peer: it is challenged on the schedule of
// SPEC §8.4, and may carry data once the peer has answered on it. Adding a path
// that is known starts the schedule again.
func (s *Session) AddPath(now Time, p Path) {
	s.e.enter(now)
	if s.state != stateEstablished && s.state != stateDialing || p.Remote.Port() == 0 && !p.IsRelay() {
		return
	}
	if s.state == stateDialing {
		s.addDialPath(now, p)
		return
	}
	x := s.obtainPath(p)
	if x == s.active && x.validated && !s.suspect() {
		return
	}
	x.challenge, x.giveUp = Never, Never
	x.startValidation(now, true)
	s.e.touch(s)
}

// Moved tells the session that this side's network has changed: every path is
// challenged, the peer learns the new address from a frame at once, and a fresh
// connection ID keeps observers of the old network from following.
func (s *Session) Moved(now Time) {
	s.e.enter(now)
	if s.state != stateEstablished {
		return
	}
	s.rotateRemote()
	for _, x := range s.paths {
		x.challenge, x.giveUp = Never, Never
		x.startValidation(now, false)
	}
	s.active.rec.ResetPTO()
	s.pingNow = true
	s.e.touch(s)
}

// Path returns where data goes now.
func (s *Session) Path() Path {
	if s.active == nil {
		return Path{}
	}
	return s.active.Path
}

// Paths appends what is known about every path to into.
func (s *Session) Paths(into []PathInfo) []PathInfo {
	for _, x := range s.paths {
		into = append(into, PathInfo{
			Path: x.Path, Validated: x.validated, Active: x == s.active,
			RTT: x.rec.RTT.Smoothed(), MTU: x.mtu.Current(),
		})
	}
	return into
}

// A PathInfo describes one path of a session.
type PathInfo struct {
	Path      Path
	Validated bool // the peer has answered a challenge on it
	Active    bool // data goes there
	RTT       time.Duration
	MTU       int // largest UDP payload known to pass, in bytes
}
