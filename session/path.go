package session

import (
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/session/pmtu"
	"github.com/seed-67dce94e/holdfast/session/recovery"
)

// Limits of paths (SPEC §8).
const (
	maxPaths      = 16 // tracked at a time, candidates included
	amplification = 3  // RFC 9000 §8.1
	overrunMax    = 64 // bytes by which the last datagram may exceed it: room for a challenge and its answer
	overdrawnMax  = 32 // challenges beyond that
	baseMTU       = 1200
	relayMTU      = 1100 // leaves room for the frame and message that carry it
	maxUDPPayload = 65507
)

// A path is one way to the peer and all that is known about it.
type path struct {
	Path
	rec   *recovery.Path // round-trip time, congestion window, pacing; shared by paths that differ in the port alone; perhaps nil at rest
	mtu   pmtu.Search
	queue queueWatch

	memory      recovery.Memory // of rec, while that is nil
	validated   bool            // the peer answered a challenge here, and nothing has spoken against it since
	vouched     bool            // validated by another session with the same peer
	hasResponse bool            // an answer is owed:
	response    [8]byte         // to the peer's newest challenge
	validatedAt Time
	failedAt    Time   // when data last left it for dead; 0 is never, or forgiven
	answers     int32  // challenges in a row that it has answered since
	overdrawn   int32  // challenges sent although the limit was reached
	heard       Time   // last authentic frame that arrived here; 0 is never
	received    uint64 // bytes, for the amplification limit
	sent        uint64
	validation  validation
}

func (s *Session) newPath(p Path) *path {
	x := &path{Path: p, rec: s.e.recs.get()}
	x.validation.init()
	x.rec.Init(s.congestion, recovery.DefaultMDS)
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
	return x
}

func (x *path) rtt() *recovery.RTT {
	if x.rec == nil {
		return &x.memory.RTT
	}
	return &x.rec.RTT
}

func (x *path) ecn() (state ECNState, ce uint64) {
	if x.rec == nil {
		return x.memory.ECN()
	}
	return x.rec.ECN()
}

// singly reports whether frames leave on x one by one because batches got lost.
func (x *path) singly(now Time) bool {
	if x.rec == nil {
		return x.memory.BatchesRefused(now)
	}
	return x.rec.BatchesRefused(now)
}

// pto is the probe timeout of x as measured so far.
func (x *path) pto() time.Duration { return x.rtt().PTO(maxAckDelay) }

// mayEmit says whether a datagram may be sent on x: an address that has not
// proved it wants traffic gets at most three times what it sent, where the last
// datagram may overrun so that a small budget never starves [S14].
func (x *path) mayEmit() bool {
	return x.validated || x.vouched || x.IsRelay() || x.candidateBudget() || x.sent < amplification*x.received
}

// allowance is the size of the largest datagram that may be sent on x, given
// that one may be. Were it more than what is left of the budget, a peer could
// make one large datagram out of each small one whose source it forges.
func (x *path) allowance() int {
	if x.validated || x.vouched || x.IsRelay() {
		return maxUDPPayload
	}
	return max(int(amplification*x.received)-int(x.sent), overrunMax)
}

// forgetBudget lets x begin anew: what it was sent while it had proved itself, or
// in vain, is nothing that it has to make up for.
func (x *path) forgetBudget() { x.received, x.sent, x.overdrawn = 0, 0, 0 }

// candidateBudget lets the shell's own candidates be challenged although
// nothing came from them yet; the schedule bounds it to a few small datagrams.
func (x *path) candidateBudget() bool {
	v := &x.validation
	return v.candidate && x.received == 0 && int(v.tries) <= len(probeSchedule)
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
		s.removePath(s.leastWorthKeeping())
	}
	x := s.newPath(p)
	s.paths = append(s.paths, x)
	return x
}

// leastWorthKeeping chooses among the paths that nothing depends on. There is
// one: only two are exempt.
func (s *Session) leastWorthKeeping() (worst *path) {
	for _, x := range s.paths {
		if x == s.active || x == s.fallback {
			continue
		}
		if worst == nil || lessWorthKeeping(x, worst) {
			worst = x
		}
	}
	return worst
}

func lessWorthKeeping(a, b *path) bool {
	if a.validated != b.validated {
		return b.validated
	}
	return a.heard < b.heard
}

// removePath forgets x, which is not the active path. What flew there is sent
// again elsewhere.
func (s *Session) removePath(x *path) {
	s.paths = slices.DeleteFunc(s.paths, func(y *path) bool { return y == x })
	if s.fallback == x {
		s.fallback = nil
	}
	if s.outage.standby == x {
		s.outage.standby = nil
	}
	if s.outage.escort.path == x {
		s.outage.escort.path = nil
	}
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

// AddPath tries p as a way to the peer: it is challenged on the schedule of
// SPEC §8.4, and may carry data once the peer has answered on it. Adding a path
// that is known starts the schedule again. While the session is being dialled,
// the INIT goes there too.
func (s *Session) AddPath(now Time, p Path) {
	s.e.enter(now)
	s.wake()
	if p.Remote.Port() == 0 && !p.IsRelay() {
		return
	}
	switch s.state {
	case stateDialing:
		s.addDialPath(s.e.now, p)
	case stateEstablished:
		s.addCandidate(s.e.now, p)
	}
}

func (s *Session) addCandidate(now Time, p Path) {
	x := s.obtainPath(p)
	if x == s.active && x.validated && !s.suspect() {
		return // it works: there is nothing to find out
	}
	if now.Sub(x.failedAt) >= forgiveAfter {
		x.failedAt = 0 // whoever names it again may know that it works again
	}
	if !x.validated {
		x.forgetBudget()
	}
	x.revalidate(now, true)
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
		info := PathInfo{
			Path: x.Path, Validated: x.validated, Active: x == s.active,
			RTT: x.rtt().Smoothed(), MTU: x.mtu.Current(), Singly: x.singly(s.e.now),
		}
		info.ECN, info.Marked = x.ecn()
		into = append(into, info)
	}
	return into
}

// A PathInfo describes one path of a session.
type PathInfo struct {
	Path      Path
	Validated bool // the peer has answered a challenge on it
	Active    bool // data goes there
	RTT       time.Duration
	MTU       int      // largest UDP payload known to pass, in bytes
	ECN       ECNState // whether the path keeps ECN marks
	Marked    uint64   // datagrams marked CE on it since that was last tested, as the peer tells
	Singly    bool     // datagrams leave one by one: those that left in one system call got lost
}

// An ECNState says whether a path keeps ECN marks (SPEC §5.3).
type ECNState = recovery.ECNState

// States. A path is tested when data first takes it.
const (
	ECNUnknown = recovery.ECNUnknown
	ECNCapable = recovery.ECNCapable
	ECNFailed  = recovery.ECNFailed
)
