package congestion

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A Stamp is what a Sampler knew when a frame was sent. Counters are modulo
// 2^32, which is more than ever is in flight.
type Stamp struct {
	delivered      uint32
	sinceFirst     ticks // from the sending of the frame that began the interval
	sinceDelivered ticks // from the last delivery
	limited        bool  // the application had no more to send
}

// ticks are units of 256 ns: a Stamp holds durations of up to 18 minutes.
type ticks uint32

const tick = 256

func ticksOf(d time.Duration) ticks { return ticks(min(max(d, 0)/tick, math.MaxUint32)) }

func (t ticks) duration() time.Duration { return time.Duration(t) * tick }

// A Sampler measures the rate at which a path delivers
// (draft-ietf-ccwg-bbr-04 §4.5): what was delivered from the sending of a frame
// to its acknowledgement, over the longer of the time in which that was sent and
// the time in which it was acknowledged. The zero value is ready.
type Sampler struct {
	delivered uint64 // bytes
	at        clock.Time
	first     clock.Time
	limited   uint64 // samples count as limited by the application until this much is delivered; 0 if they do not

	newest Stamp // of the newest frame of the acknowledgement at hand
	sent   clock.Time
	acked  int // bytes that it acknowledges
	any    bool
}

// OnSent returns what to keep with a frame. inFlight is without it.
func (s *Sampler) OnSent(now clock.Time, inFlight int) Stamp {
	if inFlight == 0 {
		s.first, s.at = now, now
	}
	return Stamp{
		delivered:      uint32(s.delivered),
		sinceFirst:     ticksOf(now.Sub(s.first)),
		sinceDelivered: ticksOf(now.Sub(s.at)),
		limited:        s.limited != 0,
	}
}

// OnLimited learns that the application has nothing to send although it might:
// what is sent until all in flight has been delivered says nothing about the
// most that the path carries.
func (s *Sampler) OnLimited(inFlight int) { s.limited = max(s.delivered+uint64(inFlight), 1) }

// OnDelivered takes a newly acknowledged frame. Frames must come in the order
// in which they were sent.
func (s *Sampler) OnDelivered(now, sentAt clock.Time, size int, f Stamp) {
	s.delivered += uint64(size)
	s.at = now
	s.acked += size
	s.newest, s.sent, s.any = f, sentAt, true
}

// OnLate counts a frame that arrived after it was given up. Its time says nothing.
func (s *Sampler) OnLate(size int) { s.delivered += uint64(size) }

// A Sample is what one acknowledgement says about the rate of delivery.
type Sample struct {
	Rate    uint64 // bytes a second; 0 if it says nothing
	Limited bool   // by the application
	Acked   int    // bytes newly acknowledged
	Bytes   int    // delivered since the newest frame acknowledged was sent

	total uint64     // delivered so far
	prior uint64     // delivered when that frame was sent
	sent  clock.Time // when it was
}

// Take ends an acknowledgement. Intervals shorter than least, the least round
// trip time, are those of acknowledgements that came in a bunch, and give no rate.
func (s *Sampler) Take(least time.Duration) Sample {
	if s.limited != 0 && s.delivered > s.limited {
		s.limited = 0
	}
	if !s.any {
		return Sample{total: s.delivered, prior: s.delivered}
	}
	f := s.newest
	bytes := uint64(uint32(s.delivered) - f.delivered)
	out := Sample{Limited: f.limited, Acked: s.acked, Bytes: int(bytes), total: s.delivered, prior: s.delivered - bytes, sent: s.sent}
	interval := max(f.sinceFirst.duration(), s.at.Sub(s.sent)+f.sinceDelivered.duration())
	s.first = s.sent
	s.acked, s.any = 0, false
	if interval >= max(least, 1) {
		out.Rate = mulDiv(bytes, uint64(time.Second), uint64(interval))
	}
	return out
}
