package recovery

import "time"

// Constants of RFC 9002 §6.1.
const (
	packetThreshold = 3
	// Time thresholds, in eighths of the RTT; the first is kTimeThreshold.
	timeThreshold = 9
)

const (
	// maxPacketThreshold is beyond what flies in the time that the time
	// threshold allows: where frames overtake each other, time decides, as in
	// RFC 8985.
	maxPacketThreshold = 4096
	// maxTimeThreshold lets a frame be late by three RTTs. RFC 8985 §6.2 stops
	// at one; there are links, radio above all, that hold frames back longer.
	maxTimeThreshold = 32
	// quietEpisodes is how many reductions in a row must have been just before
	// the thresholds fall back (RFC 8985 §6.2 step 4).
	quietEpisodes = 16
)

// timeSteps are the time thresholds that reordering goes through.
var timeSteps = [...]time.Duration{timeThreshold, 10, 12, 16, 24, maxTimeThreshold}

// reordering is how far frames of a path are allowed to overtake each other
// before one counts as lost. RFC 9002 §6.1 permits to adapt both thresholds;
// the way is that of RFC 8985. The zero value has the thresholds of RFC 9002.
type reordering struct {
	excess int16 // above packetThreshold
	step   int8  // in timeSteps
	quiet  int8  // episodes since the thresholds last proved too low

	tooLow bool // by the acknowledgement at hand
}

func (r *reordering) packets() uint64 { return uint64(packetThreshold + int(r.excess)) }

func (r *reordering) delay(rtt time.Duration) time.Duration {
	return max(rtt/8*timeSteps[r.step], granularity)
}

// onSpurious learns that a frame was lost too early: it arrived when a frame
// sent distance later had arrived already.
func (r *reordering) onSpurious(distance uint64) {
	r.quiet, r.tooLow = 0, true
	threshold := int(min(distance+1, maxPacketThreshold))
	r.excess = max(r.excess, int16(threshold-packetThreshold))
}

// widen raises the time threshold by one step for an acknowledgement that has
// proved it too low, however many frames that was about.
func (r *reordering) widen() {
	if r.tooLow {
		r.tooLow = false
		r.step = min(r.step+1, int8(len(timeSteps)-1))
	}
}

// onEpisode learns that the congestion window was reduced.
func (r *reordering) onEpisode() {
	r.quiet++
	if r.quiet >= quietEpisodes {
		*r = reordering{}
	}
}
