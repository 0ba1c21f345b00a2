package congestion

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// MaxWindow is the largest congestion window, in bytes. It is far beyond what
// any path fills and keeps products of two windows inside 64 bits.
const MaxWindow = 1 << 30

const (
	longAgo    clock.Time = math.MinInt64
	noSSThresh            = math.MaxInt
)

// InitialWindow returns the window that a path starts with (RFC 9002 §7.2),
// given the largest datagram size (MDS).
func InitialWindow(mds int) int { return min(10*mds, max(14720, 2*mds)) }

func minWindow(mds int) int { return 2 * mds } // RFC 9002 §7.2

// A Controller holds the congestion window and the pacing rate of one path. Call
// Init before use.
type Controller struct {
	algorithm Algorithm // CUBIC or BBR
	bbr       bbr

	mds      int
	window   int // of CUBIC, as is what follows up to undo
	ssthresh int // noSSThresh until the first reduction

	// recovery is when the last reduction happened. What was sent until then
	// neither causes another one nor makes the window grow (RFC 9002 §7.3.2).
	recovery clock.Time

	acked    int        // bytes that count towards growth at the next OnAck
	sentAt   clock.Time // when the last frame was sent; longAgo if none
	sentLast uint64     // number of that frame

	cubic   cubic
	hystart hystart

	undo    snapshot
	canUndo bool
}

// A snapshot is what a spurious reduction must give back (RFC 9438 §4.9.2).
type snapshot struct {
	window   int
	ssthresh int
	cubic    cubic
}

// Init starts the controller of a path that nothing is known about.
func (c *Controller) Init(a Algorithm, mds int) {
	*c = Controller{
		algorithm: a.resolve(),
		mds:       mds,
		window:    InitialWindow(mds),
		ssthresh:  noSSThresh,
		recovery:  longAgo,
		sentAt:    longAgo,
	}
	c.hystart.init()
	c.bbr.init(mds)
}

// Algorithm returns which algorithm runs.
func (c *Controller) Algorithm() Algorithm { return c.algorithm }

// SetMDS sets the largest datagram size after path MTU discovery has learnt it.
func (c *Controller) SetMDS(mds int) {
	c.mds = mds
	c.window = max(c.window, minWindow(mds))
	c.bbr.setMDS(mds)
}

// Window returns the congestion window in bytes.
func (c *Controller) Window() int {
	if c.algorithm == BBR {
		return c.bbr.window
	}
	return c.window
}

// InSlowStart reports whether the window still grows exponentially.
func (c *Controller) InSlowStart() bool {
	if c.algorithm == BBR {
		return c.bbr.phase == startup
	}
	return c.window < c.ssthresh
}

// Rate returns how fast to send, in bytes a second, where srtt is the RTT of the
// path. CUBIC's is a little above what the window asks for, so that it never is
// what limits (RFC 9002 §7.7); in slow start twice that, since the window doubles
// within the round trip.
func (c *Controller) Rate(srtt time.Duration) uint64 {
	if c.algorithm == BBR {
		return c.bbr.pace(srtt)
	}
	num, den := uint64(5), uint64(4)
	if c.InSlowStart() {
		num, den = 2, 1
	}
	return mulDiv(num*uint64(c.window), uint64(time.Second), den*uint64(max(srtt, 1)))
}

// Fills reports whether so many bytes in flight are as much as the path holds, as far as
// is known.
func (c *Controller) Fills(inFlight int) bool {
	return c.algorithm == BBR && inFlight >= c.bbr.floored(c.bbr.inflight(one))
}

// SetCalm says whether short messages wait behind what is sent. If so BBR keeps the
// queue of the path shorter than its share of the path asks for.
func (c *Controller) SetCalm(now clock.Time, calm bool) { c.bbr.setCalm(now, calm) }

// unpaced reports whether the path is so short that pacing would cost more than
// it is worth.
func (c *Controller) unpaced(srtt time.Duration) bool {
	return srtt < unpacedRTT || c.algorithm == BBR && c.bbr.unpaced()
}

// train is how many bytes are to be sent at once, so that the path tells how fast it
// carries them; 0 if it need not.
func (c *Controller) train() int {
	if c.algorithm == BBR && c.bbr.wantsTrain() {
		return InitialWindow(c.mds)
	}
	return 0
}

// OnSent records that a frame which counts against the window is sent.
// inFlight is without it. pto is the probe timeout of the path, and least its
// least RTT; 0 if that is not known.
func (c *Controller) OnSent(now clock.Time, pn uint64, inFlight int, pto, least time.Duration) {
	if c.algorithm == BBR {
		if least > 0 && c.bbr.minRTT == noRTTYet {
			c.bbr.onRTT(now, least)
		}
		if inFlight == 0 {
			c.bbr.onRestart(now)
		}
	} else if inFlight == 0 && c.sentAt != longAgo {
		c.decay(now.Sub(c.sentAt), pto)
	}
	c.sentAt, c.sentLast = now, pn
}

// decay halves the window for each probe timeout that nothing was sent, since
// the path may have changed meanwhile, but not below where a new path starts.
// It then returns in slow start to about what it had (RFC 2861 §3.1).
func (c *Controller) decay(idle, pto time.Duration) {
	floor := InitialWindow(c.mds)
	if idle <= pto || c.window <= floor || pto <= 0 {
		return
	}
	c.ssthresh = max(c.ssthresh, c.window/4*3)
	c.window = max(floor, c.window>>min(idle/pto, 30))
	c.cubic.stop()
	c.canUndo = false
}

// Credit counts a newly acknowledged frame towards the growth that the next
// OnAck computes.
func (c *Controller) Credit(sentAt clock.Time, size int) {
	if sentAt > c.recovery {
		c.acked += size
	}
}

// An Ack is what the controller needs to know of an acknowledgement beyond
// what it was credited.
type Ack struct {
	Largest  uint64        // the newest frame of the path that it newly acknowledges
	InFlight int           // bytes in flight on the path before it came
	Left     int           // bytes in flight after it
	Sample   time.Duration // the RTT it measured; 0 if none
	Delay    time.Duration // how much of that the peer says to have held it back
	Smoothed time.Duration // the RTT of the path
	Rate     Sample        // of delivery
}

// OnAck grows the window by what was credited since the last call, unless the
// application left half of it unused: then it says nothing about the path
// (RFC 9002 §7.8).
func (c *Controller) OnAck(now clock.Time, a Ack) {
	if c.algorithm == BBR {
		c.bbr.onAck(now, a)
		return
	}
	acked := c.acked
	c.acked = 0
	limited := a.InFlight < c.window/2
	if c.InSlowStart() {
		c.slowStart(a, acked, limited)
	} else if limited {
		c.cubic.pause(now)
	} else if acked > 0 {
		c.window = min(c.cubic.grow(now, c.window, acked, c.mds, a.Smoothed), MaxWindow)
	}
}

func (c *Controller) slowStart(a Ack, acked int, limited bool) {
	if c.ssthresh == noSSThresh { // RFC 9406 §4.3: for the initial slow start only
		if c.hystart.onAck(a.Largest, c.sentLast, a.Sample) {
			c.ssthresh = c.window
			return
		}
		acked /= c.hystart.divisor()
	}
	if !limited {
		c.window = min(c.window+acked, MaxWindow)
	}
}

// OnLoss learns that a frame of size bytes, sent at sentAt, was lost. CUBIC
// reduces the window; BBR waits for what the round trip loses in all. It reports
// false if the loss belongs to the last reduction: there is at most one for
// each round trip. Reductions in a row, none of which is confirmed yet, are
// undone together.
func (c *Controller) OnLoss(now, sentAt clock.Time, size int) bool {
	if c.algorithm == BBR {
		c.bbr.onLoss(size)
	}
	if sentAt <= c.recovery {
		return false
	}
	if c.algorithm == BBR {
		if !c.canUndo {
			c.bbr.undo = c.bbr.bounds
			c.canUndo = true
		}
		c.recovery = now
		return true
	}
	if !c.canUndo {
		c.undo = snapshot{c.window, c.ssthresh, c.cubic}
		c.canUndo = true
	}
	c.reduce(now)
	return true
}

// reduce is CUBIC's answer to congestion.
func (c *Controller) reduce(now clock.Time) {
	c.recovery = now
	c.window = max(c.cubic.reduce(c.window), minWindow(c.mds))
	c.ssthresh = c.window
}

// OnMark learns that the network has marked frames CE instead of dropping them, the
// newest of which was sent at sentAt at the latest. It counts as one loss would in
// that round trip (RFC 9002 §7.1), but is no mistake, so no reduction is undone.
func (c *Controller) OnMark(now, sentAt clock.Time) {
	c.canUndo = false
	if c.algorithm == BBR {
		c.bbr.onMark(now)
	} else if sentAt > c.recovery {
		c.reduce(now)
	}
}

// Undoable reports whether a reduction may still be undone.
func (c *Controller) Undoable() bool { return c.canUndo }

// Confirm makes the reductions final: something is really lost, or will never
// be known to have arrived.
func (c *Controller) Confirm() { c.canUndo = false }

// Undo takes the reductions back that are not confirmed, after everything that
// seemed lost has turned out to be only late. It reports whether the window has
// grown by that.
func (c *Controller) Undo() bool {
	if !c.canUndo {
		return false
	}
	c.canUndo = false
	if c.algorithm == BBR {
		return c.bbr.undoBounds()
	}
	if c.undo.window <= c.window {
		return false
	}
	c.window, c.ssthresh, c.cubic = c.undo.window, c.undo.ssthresh, c.undo.cubic
	return true
}

// Acquit learns that the losses so far had a cause in this host, which is gone: CUBIC
// goes on in slow start, and BBR forgets how much the path usually loses.
func (c *Controller) Acquit(now clock.Time) {
	c.recovery = now
	c.canUndo = false
	c.ssthresh = noSSThresh
	c.hystart.init()
	c.cubic.stop()
	c.bbr.acquit()
}

// OnPersistentCongestion starts over from the smallest window: for several
// probe timeouts nothing came through (RFC 9002 §7.6.2).
func (c *Controller) OnPersistentCongestion() {
	c.window = minWindow(c.mds)
	c.bbr.init(c.mds)
	c.bbr.window = c.window
	c.recovery = longAgo
	c.cubic.stop()
	c.canUndo = false
}
