// Package pmtu finds the largest datagram that a path carries, by sending padded
// probes and seeing which are acknowledged: DPLPMTUD (RFC 8899). It trusts no
// ICMP message.
//
//	           probes                 nothing left to try
//	base ----------------> searching ---------------------> complete
//	  ^                     ^     ^                           |    |
//	  |      after 60 s     |     |        after 600 s        |    |
//	  +---------------------+     +---------------------------+    |
//	  ^                                                            |
//	  +------------ only large frames are lost (black hole) -------+
package pmtu

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// Constants of RFC 8899 §5.1.2, and how fine the search is.
const (
	maxProbes     = 3 // of one size, before it counts as too large
	raiseTime     = 600 * time.Second
	blackHoleTime = time.Minute // until the search begins again
	fineEnough    = 20          // bytes between what works and what may not
	blackHole     = 3           // bursts of losses that large frames alone suffer
	burstMax      = 32          // frames of a burst, if no large frame has arrived since the one before
)

// ethernet is the largest UDP payload over IPv4 on most paths; jumbo is that of
// Ethernet with jumbo frames over IPv6.
const (
	ethernet = 1472
	jumbo    = 8952
)

// common are the payloads that paths of less than an Ethernet frame carry:
// IPv6, typical tunnels, and the least that IPv6 promises. One of them being
// right ends the search sooner than halving would.
var common = [...]int{1452, 1400, 1280}

const noSuspect = math.MaxInt

// A Search finds the MTU of one path, counted in bytes of UDP payload. Call Init
// before use.
type Search struct {
	base, max int

	size    int        // is known to work
	most    int        // may work
	probe   int        // size in flight; 0 if none
	resumes clock.Time // when the search begins again; Never while it runs

	burst      clock.Time // when the last losses were found
	smallest   int        // of the frames lost then; 0 if they are of no concern
	count      int32      // of them
	failed     int32      // probes of the next size that were lost
	suspicious int32      // bursts of only large losses, and no large frame acknowledged since
	arrived    bool       // a large frame has, since the losses before the last
	suspect    int        // the smallest frame in them
}

// Init starts over: base is what every path carries, limit the most to try.
func (s *Search) Init(base, limit int) {
	*s = Search{base: base, max: limit, size: base, most: limit, resumes: clock.Never, suspect: noSuspect}
}

// Current returns the largest size that the path is known to carry.
func (s *Search) Current() int { return s.size }

// Deadline returns when a search that has ended begins again. A search that
// runs needs no timer: NextProbe is asked whenever frames are sent.
func (s *Search) Deadline() clock.Time { return s.resumes }

// NextProbe returns the size of the probe to send, if there is one to send now.
func (s *Search) NextProbe(now clock.Time) (size int, ok bool) {
	if s.resumes <= now {
		s.resumes, s.most, s.failed = clock.Never, s.max, 0
	}
	if s.resumes != clock.Never || s.probe != 0 {
		return 0, false
	}
	size = s.next()
	return size, size != 0
}

// next is the size to try, or 0 if the search is over. It asks for the usual
// sizes first, the largest of them at once. What exceeds an Ethernet frame is
// tried only where that fits, so that on most paths a single probe is lost.
func (s *Search) next() int {
	if s.size >= ethernet {
		return s.nextJumbo()
	}
	switch {
	case s.size >= s.max:
		return 0
	case s.most >= ethernet:
		return ethernet
	case s.most == s.max:
		return s.max
	case s.most-s.size <= fineEnough:
		return 0
	}
	for _, n := range common {
		if s.size < n && n <= s.most {
			return n
		}
	}
	return (s.size + s.most + 1) / 2
}

// nextJumbo does not search between the sizes that networks are built with.
func (s *Search) nextJumbo() int {
	for _, n := range [...]int{jumbo, s.max} {
		if s.size < n && n <= s.most {
			return n
		}
	}
	return 0
}

// OnProbeSent records that the probe from NextProbe was sent.
func (s *Search) OnProbeSent(size int) { s.probe = size }

// OnProbeAcked learns that a probe has arrived.
func (s *Search) OnProbeAcked(now clock.Time, size int) {
	if size == s.probe {
		s.probe = 0
	} else if s.size == s.base && s.resumes != clock.Never {
		return // from before a black hole
	}
	if size > s.size {
		s.size, s.failed, s.arrived = size, 0, true
		s.most = max(s.most, size)
	}
	s.finish(now)
}

// OnProbeLost learns that a probe was lost, which says nothing of congestion
// (RFC 8899 §3).
func (s *Search) OnProbeLost(now clock.Time, size int) {
	if size != s.probe {
		return
	}
	s.probe = 0
	s.failed++
	if s.failed >= maxProbes {
		s.most, s.failed = size-1, 0
	}
	s.finish(now)
}

// finish sets the raise timer if there is nothing left to try.
func (s *Search) finish(now clock.Time) {
	if s.resumes == clock.Never && s.size < s.max && s.next() == 0 {
		s.resumes = now.Add(raiseTime)
	}
}

// OnAcked learns that a frame other than a probe has arrived.
func (s *Search) OnAcked(size int) {
	if size >= min(s.suspect, max(s.smallest, s.base+1)) {
		s.suspicious, s.suspect, s.smallest = 0, noSuspect, 0
		s.arrived = true
	}
}

// OnSilence learns that nothing at all has been acknowledged for several probe
// timeouts. Frames larger than the base may be why, so it is the base again.
func (s *Search) OnSilence(now clock.Time) {
	if s.size > s.base {
		s.fallBack(now)
	}
}

// OnLoss learns that a frame other than a probe was lost. Losses found at the
// same moment are one burst, or several if they are many and no large frame has
// arrived since the losses before: a sender that has a whole window of large
// frames lost at each probe timeout should not need three. When the frames lost in several bursts were all
// large, and none as large has arrived since, the path has come to carry less
// than it did (RFC 8899 §4.3): Current falls back to the base.
func (s *Search) OnLoss(now clock.Time, size int) {
	if now == s.burst && s.smallest != 0 && (s.arrived || s.count < burstMax) {
		s.smallest = min(s.smallest, size)
		s.count++
		return
	}
	s.arrived = s.arrived && s.smallest == 0
	if s.smallest > s.base {
		s.suspicious++
		s.suspect = min(s.suspect, s.smallest)
	}
	s.burst, s.smallest, s.count = now, size, 1
	if s.suspicious >= blackHole && s.size > s.base {
		s.fallBack(now)
	}
}

// fallBack returns to the base, and leaves the search alone for a while.
func (s *Search) fallBack(now clock.Time) {
	s.size, s.probe, s.failed = s.base, 0, 0
	s.suspicious, s.suspect, s.smallest = 0, noSuspect, 0
	s.resumes = now.Add(blackHoleTime)
}
