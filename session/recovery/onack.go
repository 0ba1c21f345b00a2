package recovery

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
)

// OnAck processes an acknowledgement (RFC 9002 appendix A.7). The caller acts
// on r, and closes the session if the error is not nil. The work is bounded by
// the number of ranges and of frames remembered, however much the ranges claim.
func (s *State) OnAck(now clock.Time, a *wire.Ack, peerMaxAckDelay time.Duration, r *Result) error {
	r.Reset()
	if a.Largest >= s.sent {
		return ErrUnsent
	}
	s.maxAckDelay = peerMaxAckDelay
	for _, p := range s.paths {
		p.ack = ackSum{before: p.inFlight}
	}
	if err := s.takeRanges(*a, r); err != nil {
		return err
	}
	if len(r.Acked) == 0 {
		return nil
	}
	s.anyAcked = true
	s.largestAcked = max(s.largestAcked, r.Acked[len(r.Acked)-1].PN)
	s.sampleRTT(now, a, r)
	s.learnReordering(r)
	s.takeMarks(now, a, r)
	s.detectLosses(now, r)
	s.grow(now, r)
	s.unlistIdle()
	return nil
}

// takeRanges finds the frames that the ranges name. Both are walked upwards,
// so that the walk ends before the frames sent since.
func (s *State) takeRanges(a wire.Ack, r *Result) error {
	var ranges [wire.MaxAckRanges]wire.Range
	n := 0
	for rg, ok := a.Next(); ok; rg, ok = a.Next() {
		ranges[n] = rg
		n++
	}
	i := s.log.head
	for n--; n >= 0; n-- {
		for i != none && s.log.slots[i].PN < ranges[n].Lo {
			i = s.log.slots[i].next
		}
		for i != none && s.log.slots[i].PN <= ranges[n].Hi {
			next := s.log.slots[i].next
			if s.log.slots[i].state == skipped {
				return ErrUnsent
			}
			s.onArrived(i, r)
			i = next
		}
	}
	return nil
}

func (s *State) onArrived(i int32, r *Result) {
	f := &s.log.slots[i]
	p := f.Path
	if f.state == outstanding {
		p.lossRate.arrived()
		p.batches.onArrived(f)
		s.log.outstanding--
		p.release(f)
		p.ack.any, p.ack.largest = true, f.PN
		if f.Flags&Copied == 0 {
			p.ack.proved = true
			p.ptoCount = 0
		}
		f.state = acked
	} else {
		s.log.kept--
		if f.state == lost {
			r.Spurious++
			if f.Flags&Copied == 0 {
				p.ptoCount = 0
			}
			p.onSpurious(f)
		}
		f.state = late
	}
	s.log.remove(i)
	r.Acked = append(r.Acked, f)
}

// onSpurious learns that a frame taken for lost has arrived. Once all that was
// lost in the last episode has, the congestion window is given back.
func (p *Path) onSpurious(f *Sent) {
	p.reordering.onSpurious(p.arrived - 1 - f.ordinal)
	p.batches.onSpurious(f)
	if f.Flags&MTUProbe != 0 || f.episode != p.episode.id || !p.cc.Undoable() {
		return
	}
	p.episode.missing--
	if p.episode.missing == 0 {
		p.cc.Undo()
	}
}

// sampleRTT measures the RTT if the largest number acknowledged is newly
// acknowledged (RFC 9002 §5.1).
func (s *State) sampleRTT(now clock.Time, a *wire.Ack, r *Result) {
	f := r.Acked[len(r.Acked)-1]
	if f.PN != a.Largest || f.state != acked || f.Flags&Copied != 0 {
		return
	}
	delay := time.Duration(a.Delay) * time.Microsecond
	f.Path.RTT.Update(now.Sub(f.At), delay, s.maxAckDelay)
	f.Path.ack.sample = f.Path.RTT.Latest()
	f.Path.ack.delay = min(delay, s.maxAckDelay)
}

// learnReordering notes how far each path has come, and adapts those that took
// a late frame for a lost one.
func (s *State) learnReordering(r *Result) {
	for _, f := range r.Acked {
		f.Path.reordering.widen()
		if f.state == acked {
			f.Path.arrived = max(f.Path.arrived, f.ordinal+1)
		}
	}
}

// grow lets the congestion windows grow, after losses have reduced them: what
// was sent before a reduction must not count.
func (s *State) grow(now clock.Time, r *Result) {
	for _, f := range r.Acked {
		switch {
		case f.Flags&Copied != 0 && f.state == acked:
			f.Path.cc.Credit(f.At, f.Size)
		case f.state == acked:
			f.Path.cc.Credit(f.At, f.Size)
			f.Path.sampler.OnDelivered(now, f.At, f.Size, f.stamp)
		case f.Flags&Copied == 0:
			f.Path.sampler.OnLate(f.Size)
		}
	}
	for _, p := range s.paths {
		if !p.ack.any {
			continue
		}
		if p.ack.proved {
			p.ptoBase = now
		}
		p.cc.OnAck(now, congestion.Ack{
			Largest:  p.ack.largest,
			InFlight: p.ack.before,
			Left:     p.inFlight,
			Sample:   p.ack.sample,
			Delay:    p.ack.delay,
			Rate:     p.sampler.Take(p.RTT.Min()),
			Smoothed: p.RTT.Smoothed(),
		})
	}
}
