package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/session/recovery"
)

// Limits of what is sent before it is known to be lost (SPEC §5.1).
const (
	copiesShare = 5       // copies may take one in so many bytes of what the path carries
	copiesSaved = 4 << 10 // bytes of it that may be saved up
	fewLosses   = 25      // of 1000 frames: up to here a message rides along once,
	manyLosses  = 75      // up to here twice, beyond three times

	tailSlack  = 3 * time.Millisecond  // by which an acknowledgement may be late, at least
	queueSlack = 10 * time.Millisecond // by which a round trip may exceed half as much again as the least
	queueTime  = 250 * time.Millisecond
)

// freeWindow is how much of copies, and of what they copy, the path is taken to
// carry although its window is smaller: what a new path may be sent.
var freeWindow = congestion.InitialWindow(recovery.DefaultMDS)

// maxRate is more than enough, and a product of it and a round trip is a number.
const maxRate = 1 << 28

// A copyBudget is how many bytes of copies may be sent: a bucket that refills at
// a share of the rate of the path, one window for each round trip or what the
// controller sends at if that is less. A rate that random losses have made smaller
// than that of a new path counts as much as that.
type copyBudget struct {
	bytes int
	at    Time
}

func (c *copyBudget) refill(now Time, x *path) {
	rtt := max(x.rec.RTT.Smoothed(), time.Millisecond)
	gap := min(now.Sub(c.at), time.Second)
	perRTT := min(int64(x.rec.Window()), int64(min(x.rec.Rate(), maxRate))*int64(rtt)/int64(time.Second))
	perRTT = max(perRTT, int64(freeWindow))
	c.bytes = min(c.bytes+int(int64(gap)*perRTT/int64(rtt)/copiesShare), copiesSaved)
	c.at = now
}

// A queueWatch knows the least round trip of the last queueTime or two. What jitter
// delays leaves some of them short; a queue that stands on the path does not.
type queueWatch struct {
	now, before time.Duration // least of this interval and of the one before; 0 if there is none
	since       Time
}

func (w *queueWatch) sample(now Time, rtt time.Duration) {
	if now.Sub(w.since) > queueTime {
		*w = queueWatch{before: w.now, since: now}
	}
	if w.now == 0 || rtt < w.now {
		w.now = rtt
	}
}

// least returns 0 if there was no sample.
func (w *queueWatch) least() time.Duration {
	if w.before == 0 {
		return w.now
	}
	return min(w.now, w.before)
}

// copiesOf is how often a short message may ride along on x. Where a queue stands
// there are none: there losses mean that less should be sent [S46].
func copiesOf(x *path) int {
	rtt := &x.rec.RTT
	if !rtt.HasSample() || x.queue.least() > rtt.Min()+rtt.Min()/2+queueSlack {
		return 0
	}
	switch loss := x.rec.LossRate(); {
	case loss <= fewLosses:
		return 1
	case loss <= manyLosses:
		return 2
	}
	return 3
}

// addMessages fills the rest of a frame with the messages there is leave for, and
// copies of short ones. A window that is full of more than a new path may be sent
// has no room for copies.
func (s *Session) addMessages(now Time, f *frame, l leave) {
	x := f.path
	each := copiesOf(x)
	if l == overWindow && x.rec.InFlight() >= freeWindow {
		each = 0
	}
	s.copies.refill(now, x)
	s.msgs.AllowCopies(each, s.copies.bytes)
	before := len(f.b)
	if l == forAll {
		f.b, f.refs = s.msgs.Append(now, f.b, f.limit, f.refs)
	} else {
		f.b, f.refs = s.msgs.AppendUrgent(now, f.b, f.limit, f.refs)
	}
	s.copies.bytes = s.msgs.CopiesLeft()
	if l == overWindow && len(f.b) > before {
		f.flags |= recovery.Urgent
	}
}

// tailProbeAt is when the last low-latency message is sent again although nothing
// is known to be lost, since nothing follows that could show it. The peer
// acknowledges such messages at once, so this is sooner than the probe timeout,
// and says nothing about the path: it is the tail loss probe of RFC 8985 §7.
func (s *Session) tailProbeAt() Time {
	sentAt, ok := s.msgs.Tail()
	if !ok {
		return Never
	}
	rtt := &s.active.rec.RTT
	if !rtt.HasSample() {
		return Never
	}
	slack := max(min(4*rtt.Var(), rtt.Smoothed()/4), tailSlack)
	return sentAt.Add(rtt.Smoothed() + slack)
}
