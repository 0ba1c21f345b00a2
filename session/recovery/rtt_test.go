package recovery

import (
	"testing"
	"time"
)

func TestRTTFollowsTheFormulasOfTheRFC(t *testing.T) {
	type sample struct{ rtt, delay, smoothed, variance, min time.Duration }
	for name, samples := range map[string][]sample{
		// RFC 9002 §5.3: smoothed_rtt = latest_rtt, rttvar = latest_rtt / 2.
		"first sample ignores the delay": {{100 * ms, 20 * ms, 100 * ms, 50 * ms, 100 * ms}},
		// 7/8 and 3/4 of the old values.
		"second sample": {
			{100 * ms, 0, 100 * ms, 50 * ms, 100 * ms},
			{180 * ms, 0, 110 * ms, 57500 * time.Microsecond, 100 * ms},
		},
		"delay is subtracted": {
			{100 * ms, 0, 100 * ms, 50 * ms, 100 * ms},
			{120 * ms, 20 * ms, 100 * ms, 37500 * time.Microsecond, 100 * ms},
		},
		// MUST use the lesser of the acknowledgment delay and max_ack_delay.
		"delay is clamped": {
			{100 * ms, 0, 100 * ms, 50 * ms, 100 * ms},
			{205 * ms, time.Hour, 110 * ms, 57500 * time.Microsecond, 100 * ms},
		},
		// MUST NOT subtract the acknowledgment delay if the resulting value is
		// smaller than the min_rtt.
		"delay never goes below the minimum": {
			{100 * ms, 0, 100 * ms, 50 * ms, 100 * ms},
			{108 * ms, 20 * ms, 101 * ms, 39500 * time.Microsecond, 100 * ms},
		},
		"a stopped clock": {{0, 0, time.Microsecond, time.Microsecond / 2, time.Microsecond}},
		"a leap":          {{240 * time.Hour, 0, time.Minute, 30 * time.Second, time.Minute}},
	} {
		var r RTT
		r.init()
		for i, s := range samples {
			r.Update(s.rtt, s.delay, MaxAckDelay)
			if r.Smoothed() != s.smoothed || r.Var() != s.variance || r.Min() != s.min {
				t.Errorf("%s, sample %d: smoothed %v var %v min %v, want %v %v %v", name, i+1,
					r.Smoothed(), r.Var(), r.Min(), s.smoothed, s.variance, s.min)
			}
		}
	}
}

func TestPTOBeforeAnySampleIsThatOfTheRFC(t *testing.T) {
	var r RTT
	r.init()
	// RFC 9002 §6.2.2: kInitialRtt is 333 ms, so the PTO is about 1 s.
	if got := r.PTO(0); got != 999*ms {
		t.Errorf("PTO %v, want 999ms", got)
	}
	r.Update(40*ms, 0, 0)
	for range 100 {
		r.Update(40*ms, 0, 0)
	}
	if got := r.PTO(25 * ms); got != 40*ms+granularity+25*ms {
		t.Errorf("PTO %v of a steady path, want 66ms", got)
	}
}

func TestRTTIsSampledFromTheLargestNewlyAcknowledgedOnly(t *testing.T) {
	g := newRig(t)
	g.send(3)
	g.after(50 * ms)
	g.ack(2)
	if got := g.p.RTT.Latest(); got != 50*ms {
		t.Fatalf("latest %v, want 50ms", got)
	}
	g.after(100 * ms)
	g.ack(1, 2) // 2 is the largest, but not newly acknowledged
	if got := g.p.RTT.Latest(); got != 50*ms {
		t.Fatalf("latest %v after an old number, want 50ms", got)
	}
}
