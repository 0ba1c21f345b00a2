package recovery

import "time"

// Constants of RFC 9002 §6.
const (
	granularity = time.Millisecond
	initialRTT  = 333 * time.Millisecond
)

// Samples outside these bounds come from a stopped or stepped clock.
const (
	minSample = time.Microsecond
	maxSample = time.Minute
)

// RTT estimates the round trip time of a path (RFC 9002 §5). Path.Init sets it
// to what is assumed before anything is measured.
type RTT struct {
	latest   time.Duration // 0 until the first sample
	min      time.Duration
	smoothed time.Duration
	variance time.Duration
	renewMin bool // the next sample replaces min
	assumed  time.Duration
}

func (r *RTT) init() { *r = RTT{smoothed: initialRTT, variance: initialRTT / 2} }

// Update takes the time from the sending of a frame to its acknowledgement,
// and how long the peer says that it held the acknowledgement back. The round
// trip of a handshake or a path challenge is a sample too (RFC 9002 §6.2.2).
func (r *RTT) Update(sample, ackDelay, maxAckDelay time.Duration) {
	sample = min(max(sample, minSample), maxSample)
	first := !r.HasSample()
	r.latest = sample
	if first || r.renewMin {
		r.min, r.renewMin = sample, false
	}
	r.min = min(r.min, sample)
	if first {
		r.smoothed, r.variance = sample, sample/2
		return
	}
	if d := min(ackDelay, maxAckDelay); sample >= r.min+d {
		sample -= d
	}
	r.variance = (3*r.variance + (r.smoothed - sample).Abs()) / 4
	r.smoothed = (7*r.smoothed + sample) / 8
}

// Assume takes the time that a handshake took which is no sample, because its frame
// was repeated: the round trip is not longer. It stands until there is a sample, if it
// is less than what is assumed without it.
func (r *RTT) Assume(most time.Duration) {
	if most < initialRTT && !r.HasSample() {
		r.assumed = max(most, minSample)
		r.smoothed, r.variance = r.assumed, r.assumed/2
	}
}

// bound is the least time that the RTT is known not to exceed; 0 if none is.
func (r *RTT) bound() time.Duration {
	if r.HasSample() {
		return r.min
	}
	return r.assumed
}

// HasSample reports whether there was a sample.
func (r *RTT) HasSample() bool { return r.latest != 0 }

// Smoothed returns the smoothed RTT, or an assumption if nothing was measured.
func (r *RTT) Smoothed() time.Duration { return r.smoothed }

// Var returns the mean deviation of the RTT.
func (r *RTT) Var() time.Duration { return r.variance }

// Min returns the least RTT; 0 before the first sample.
func (r *RTT) Min() time.Duration { return r.min }

// Latest returns the last sample; 0 if there is none.
func (r *RTT) Latest() time.Duration { return r.latest }

// PTO returns the probe timeout before any backoff (RFC 9002 §6.2.1).
func (r *RTT) PTO(maxAckDelay time.Duration) time.Duration {
	return r.smoothed + max(4*r.variance, granularity) + maxAckDelay
}
