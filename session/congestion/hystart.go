package congestion

import (
	"math"
	"time"
)

// Constants of RFC 9406 §4.3. Its L, which bounds the growth by one ACK, is
// infinite because this sender paces.
const (
	minRTTThresh     = 4 * time.Millisecond
	maxRTTThresh     = 16 * time.Millisecond
	minRTTDivisor    = 8
	rttSamples       = 8
	cssGrowthDivisor = 4
	cssRounds        = 5
)

const (
	noRTT   = time.Duration(math.MaxInt64)
	noRound = math.MaxUint64
)

// hystart ends the initial slow start when the delay grows, before the queue
// of the path overflows (RFC 9406). It looks at the least RTT of each round:
// the time in which everything sent at its start is acknowledged.
type hystart struct {
	roundEnd uint64        // the last number sent when the round began; noRound before the first
	last     time.Duration // least RTT of the last round; noRTT if none
	current  time.Duration // least RTT of this round; noRTT if none
	samples  int           // in this round

	baseline time.Duration // noRTT unless in conservative slow start (CSS)
	rounds   int           // begun in CSS
}

func (h *hystart) init() {
	*h = hystart{roundEnd: noRound, last: noRTT, current: noRTT, baseline: noRTT}
}

// divisor is what slows growth in CSS.
func (h *hystart) divisor() int {
	if h.baseline != noRTT {
		return cssGrowthDivisor
	}
	return 1
}

// onAck takes the sample (0 if none) of an ACK that newly acknowledges largest
// when sent was the last number sent. It reports whether slow start is over.
func (h *hystart) onAck(largest, sent uint64, sample time.Duration) bool {
	if h.roundEnd == noRound {
		h.roundEnd = sent
	} else if largest > h.roundEnd && h.nextRound(sent) {
		return true
	}
	if sample == 0 {
		return false
	}
	h.current = min(h.current, sample)
	h.samples++
	if h.samples >= rttSamples {
		h.judge()
	}
	return false
}

func (h *hystart) nextRound(sent uint64) (over bool) {
	h.roundEnd = sent
	h.last, h.current, h.samples = h.current, noRTT, 0
	if h.baseline == noRTT {
		return false
	}
	h.rounds++ // the one in which CSS began counts too
	return h.rounds >= cssRounds
}

// judge enters CSS if the RTT has grown since the last round, and returns to
// slow start if that was only jitter.
func (h *hystart) judge() {
	if h.baseline != noRTT {
		if h.current < h.baseline {
			h.baseline = noRTT
		}
		return
	}
	if h.last == noRTT {
		return
	}
	thresh := max(minRTTThresh, min(h.last/minRTTDivisor, maxRTTThresh))
	if h.current >= h.last+thresh {
		h.baseline, h.rounds = h.current, 0
	}
}
