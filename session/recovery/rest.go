package recovery

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A Memory is what outlasts a long silence of what is known about a path.
type Memory struct {
	RTT        RTT
	reordering reordering
	window     int32
	ssthresh   int32 // the largest number if there is none
}

// Rest returns what is to be remembered of a path that carries nothing, and lets
// the caller forget the rest. It reports false while there is more than that: the
// congestion window has not yet decayed to where a path begins.
func (p *Path) Rest(now clock.Time, maxAckDelay time.Duration) (m Memory, ok bool) {
	if p.outstanding > 0 || p.ptoCount > 0 {
		return m, false
	}
	window, ssthresh, ok := p.cc.Rest(now, p.RTT.PTO(maxAckDelay))
	return Memory{p.RTT, p.reordering, int32(window), int32(min(ssthresh, math.MaxInt32))}, ok
}

// Wake prepares a path of which m is remembered; mds is as in SetMDS.
func (p *Path) Wake(m *Memory, mds int) {
	p.Init(mds)
	p.RTT, p.reordering = m.RTT, m.reordering
	p.cc.Wake(int(m.window), int(m.ssthresh))
}
