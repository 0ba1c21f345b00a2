package recovery

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// RFC 9002 §6.1.1: the RECOMMENDED initial value for kPacketThreshold is 3.
func TestFrameIsLostWhenThirdLaterOneArrives(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	first := g.send(4)
	g.after(100 * ms)
	g.ack(first + 2)
	g.wantLost("two frames later")
	g.ack(first+2, first+3)
	g.wantLost("three frames later", first)
}

// RFC 9002 §6.1.2: 9/8 of the larger of smoothed and latest RTT.
func TestFrameIsLostWhenOvertakenForLongerThanTheTimeThreshold(t *testing.T) {
	g := newRig(t).measured(80 * ms)
	first := g.send(2)
	sent := g.now
	g.after(80 * ms)
	g.ack(first + 1)
	g.wantLost("at once")
	g.wantTimer("nine eighths of an RTT", sent.Add(90*ms))
	g.after(10*ms - 1)
	g.timeout()
	g.wantLost("before the timer")
	g.after(1)
	if g.timeout() {
		t.Fatal("the loss timer asked for a probe")
	}
	g.wantLost("at the timer", first)
	g.wantTimer("nothing is in flight", clock.Never)
}

func TestTimeThresholdIsAtLeastTheGranularity(t *testing.T) {
	g := newRig(t).measured(10 * time.Microsecond)
	first := g.send(2)
	sent := g.now
	g.after(10 * time.Microsecond)
	g.ack(first + 1)
	g.wantTimer("kGranularity", sent.Add(granularity))
}

func TestFramesAreComparedWithinTheirPathOnly(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	other := g.newPath()
	first := g.send(1)
	later := g.sendOn(other, 10, frameSize, AckEliciting)
	g.after(400 * ms)
	g.ack(later+9, later+8, later+7, later+6, later+5, later+4, later+3, later+2, later+1, later)
	g.wantLost("ten frames of another path arrived")
	if g.p.inFlight != frameSize || other.inFlight != 0 {
		t.Errorf("in flight: %d and %d", g.p.inFlight, other.inFlight)
	}
	g.ack(first)
	g.wantAcked("the slow one", first)
}

// RFC 9002 §6.2.1: PTO = smoothed_rtt + max(4*rttvar, kGranularity) + max_ack_delay.
// Its backoff is bounded, less and less tightly as the silence lasts.
func TestProbeTimeoutBacksOffByTheAgeOfTheOutage(t *testing.T) {
	g := newRig(t).measured(20 * ms)
	g.send(1)
	want := (20 + 4*10 + 25) * ms
	first := g.now.Add(want)
	for n := 1; g.now.Sub(first) < 40*time.Second; n++ {
		from, most := g.now, 150*ms
		switch age := from.Sub(first); {
		case age >= 30*time.Second:
			most = 2 * time.Second
		case age >= 10*time.Second:
			most = 500 * ms
		}
		g.wantTimer("backoff", from.Add(min(want, most)))
		g.advanceToTimer()
		if !g.timeout() {
			t.Fatalf("probe timeout %d asked for no probe", n)
		}
		g.wantLost("RFC 9002 §6.2: a PTO does not indicate loss")
		if g.p.PTOCount() != n {
			t.Fatalf("count %d, want %d", g.p.PTOCount(), n)
		}
		g.send(1)
		want = min(2*want, time.Minute)
	}
	g.after(100 * ms)
	g.ack(g.s.sent - 1)
	if g.p.PTOCount() != 0 {
		t.Errorf("count %d after an acknowledgement, want 0", g.p.PTOCount())
	}
}

func TestProbeTimeoutIsRearmedThoughNoProbeWasSent(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	g.send(1)
	g.advanceToTimer()
	g.timeout()
	if d := g.s.Deadline(); d <= g.now {
		t.Errorf("timer is still %v in the past", g.now.Sub(d))
	}
}

func TestProbeTimeoutOfASlowPathIsNotCut(t *testing.T) {
	g := newRig(t).measured(3 * time.Second)
	g.send(1)
	g.wantTimer("its own PTO", g.now.Add(g.p.RTT.PTO(MaxAckDelay)))
}

func TestProbeTimeoutRunsOnTheActivePathOnly(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	g.send(1)
	other := g.newPath()
	g.s.Activate(other)
	g.wantTimer("nothing on the new path", clock.Never)
	g.sendOn(other, 1, frameSize, AckEliciting)
	g.wantTimer("a path without RTT", g.now.Add(other.RTT.PTO(MaxAckDelay)))
}

func TestAcknowledgementAloneIsNotTracked(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	g.sendOn(g.p, 1000, 40, 0)
	g.check()
	g.wantTimer("nobody answers", clock.Never)
	if g.s.Outstanding() != 0 || g.p.InFlight() != 0 || len(g.s.log.slots) > 2 {
		t.Error("frames that elicit nothing are tracked")
	}
	g.ack(1000)
	g.wantAcked("nothing was asked")
}

// RFC 9002 §7.6.2: two ack-eliciting packets declared lost, further apart than
// three PTO, and none between them acknowledged.
func TestPersistentCongestion(t *testing.T) {
	const gap = 300 * ms // three PTO are 825 ms when the losses are found
	for name, tt := range map[string]struct {
		arrives bool
		flags   Flags
		want    bool
	}{
		"nothing arrives between": {false, AckEliciting, true},
		"one arrives between":     {true, AckEliciting, false},
		"MTU probes only":         {false, AckEliciting | MTUProbe, false},
	} {
		g := newRig(t).measured(100 * ms)
		first := g.sendOn(g.p, 1, frameSize, tt.flags)
		for range 5 {
			g.after(gap)
			g.sendOn(g.p, 1, frameSize, tt.flags)
		}
		g.after(gap)
		last := g.send(1)
		g.after(100 * ms)
		if tt.arrives {
			g.ack(first+3, last)
		} else {
			g.ack(last)
		}
		if g.r.PersistentCongestion != tt.want {
			t.Errorf("%s: persistent congestion %v, want %v", name, g.r.PersistentCongestion, tt.want)
		}
		if collapsed := g.p.Window() <= 3*DefaultMDS; collapsed != tt.want {
			t.Errorf("%s: window %d", name, g.p.Window())
		}
	}
}

// RFC 9002 §7.6.2: the period starts when an RTT sample has been obtained.
func TestNoPersistentCongestionBeforeTheFirstSample(t *testing.T) {
	g := newRig(t)
	for range 10 {
		g.send(1)
		g.after(2 * time.Second)
	}
	last := g.send(1)
	g.after(100 * ms)
	g.ack(last)
	if len(g.r.Lost) != 10 || g.r.PersistentCongestion {
		t.Errorf("%d lost, persistent congestion %v", len(g.r.Lost), g.r.PersistentCongestion)
	}
}

// RFC 9002 §5.2: SHOULD set min_rtt to the newest RTT sample after persistent
// congestion is established.
func TestMinimumRTTIsRenewedAfterPersistentCongestion(t *testing.T) {
	g := newRig(t).measured(50 * ms)
	for range 8 {
		g.send(1)
		g.after(500 * ms)
	}
	g.measured(400 * ms)
	if !g.r.PersistentCongestion {
		t.Fatal("no persistent congestion")
	}
	g.measured(300 * ms)
	if got := g.p.RTT.Min(); got != 300*ms {
		t.Errorf("min %v, want 300ms", got)
	}
}

// RFC 8899 §3: loss of a probe is not an indication of congestion.
func TestLossOfAnMTUProbeIsNoCongestion(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	before := g.p.Window()
	probe := g.sendOn(g.p, 1, 1472, AckEliciting|MTUProbe)
	first := g.send(3)
	g.after(100 * ms)
	g.ack(first, first+1, first+2)
	g.wantLost("the probe", probe)
	if g.r.Lost[0].Flags&MTUProbe == 0 || g.r.Lost[0].Size != 1472 {
		t.Errorf("the lost frame does not say what it was: %+v", g.r.Lost[0])
	}
	if g.p.Window() < before {
		t.Errorf("window fell from %d to %d", before, g.p.Window())
	}
}

func TestWindowIsReducedOncePerRoundTrip(t *testing.T) {
	g := newRig(t).measured(100 * ms)
	before := g.p.Window()
	first := g.send(10)
	g.after(100 * ms)
	g.ack(first + 3)
	g.ack(first+3, first+6)
	g.ack(first+3, first+6, first+9)
	if got, want := g.p.Window(), before*7/10; got != want {
		t.Errorf("window %d after losses in one flight, want %d", got, want)
	}
}
