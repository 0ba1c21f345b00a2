package recovery

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/congestion"
)

// A Memory is what outlasts a long silence of what is known about a path.
type Memory struct {
	RTT        RTT
	reordering reordering
	cc         congestion.Memory
	ecn        ecn
	refused    clock.Time // until when batches are; 0 if they are not
}

// ECN is as in Path.
func (m *Memory) ECN() (state ECNState, ce uint64) { return m.ecn.state, m.ecn.ce }

// BatchesRefused is as in Path.
func (m *Memory) BatchesRefused(now clock.Time) bool { return m.refused > now }

// Rest returns what is to be remembered of a path that carries nothing, and lets
// the caller forget the rest. It reports false while there is more than that: the
// congestion window has not yet decayed to where a path begins.
func (p *Path) Rest(now clock.Time, maxAckDelay time.Duration) (m Memory, ok bool) {
	if p.outstanding > 0 || p.ptoCount > 0 {
		return m, false
	}
	cc, ok := p.cc.Rest(now, p.RTT.PTO(maxAckDelay))
	return Memory{p.RTT, p.reordering, cc, p.ecn, p.batches.refusedUntil()}, ok
}

// Answered learns that the frame numbered NextPN was sent while s was at rest, and
// has been acknowledged.
func (s *State) Answered() {
	s.largestAcked, s.anyAcked = s.next, true
	s.next++
	s.sent = s.next
}

// Wake prepares a path of which m is remembered; a and mds are as in Init and
// SetMDS.
func (p *Path) Wake(m *Memory, a congestion.Algorithm, mds int) {
	p.Init(a, mds)
	p.RTT, p.reordering, p.ecn = m.RTT, m.reordering, m.ecn
	if m.refused != 0 {
		p.batches.refuse(m.refused, 0)
	}
	p.cc.Wake(m.cc)
}
