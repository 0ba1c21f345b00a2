package recovery

import "github.com/seed-67dce94e/holdfast/session/clock"

const (
	// persistentCongestionThreshold is kPersistentCongestionThreshold of
	// RFC 9002 §7.6.1.
	persistentCongestionThreshold = 3
	// keepTime is how many PTOs after sending a frame given up is forgotten.
	keepTime = 3
)

// detectLosses gives up the frames that are so far behind others of their path
// that have arrived, in number or in time, that they will not come any more
// (RFC 9002 §6.1).
func (s *State) detectLosses(now clock.Time, r *Result) {
	for _, p := range s.paths {
		p.lossTime = clock.Never
		p.loss = lossSum{
			delay:   p.reordering.delay(max(p.RTT.Smoothed(), p.RTT.Latest())),
			runFrom: clock.Never,
		}
	}
	for i := s.log.head; i != none && s.log.slots[i].PN < s.largestAcked; {
		f := &s.log.slots[i]
		next := f.next
		if f.state != outstanding {
			s.forgetOld(now, i)
		} else if f.ordinal < f.Path.arrived {
			s.judge(now, i, r)
		}
		i = next
	}
	for _, p := range s.paths {
		if p.loss.runTaken > persistentCongestionThreshold*p.RTT.PTO(s.maxAckDelay) {
			p.onPersistentCongestion()
			r.PersistentCongestion = true
		}
	}
}

// judge decides about one outstanding frame that a later one has overtaken.
func (s *State) judge(now clock.Time, i int32, r *Result) {
	f := &s.log.slots[i]
	p := f.Path
	deadline := f.At.Add(p.loss.delay)
	if now < deadline && p.arrived-1-f.ordinal < p.reordering.packets() {
		p.lossTime = min(p.lossTime, deadline)
		return
	}
	p.loss.add(f)
	p.onLoss(now, f)
	s.giveUp(i, lost, r)
}

// add counts a lost frame. A run of lost frames with none between them that
// arrived may be persistent congestion, from the first RTT sample on (RFC 9002
// §7.6.2). MTU probes neither begin nor end one.
func (l *lossSum) add(f *Sent) {
	if f.ordinal != l.runEnd {
		l.runFrom = clock.Never
	}
	l.runEnd = f.ordinal + 1
	if f.Flags&MTUProbe != 0 || f.Flags&afterSample == 0 {
		return
	}
	l.runFrom = min(l.runFrom, f.At)
	l.runTaken = max(l.runTaken, f.At.Sub(l.runFrom))
}

// onLoss tells the congestion controller, and counts what must still arrive for
// the reduction to have been a mistake.
func (p *Path) onLoss(now clock.Time, f *Sent) {
	if f.Flags&MTUProbe != 0 {
		return
	}
	p.lossRate.lost()
	p.batches.onLost(f)
	open := p.cc.Undoable()
	if p.cc.OnLoss(now, f.At, f.Size) {
		if !open {
			p.episode = episode{id: p.episode.id + 1}
		}
		p.reordering.onEpisode()
	}
	f.episode = p.episode.id
	p.episode.missing++
}

func (p *Path) onPersistentCongestion() {
	p.cc.OnPersistentCongestion()
	p.RTT.renewMin = true
}

// forgetOld drops a frame that was given up, or a number that was skipped, when
// nobody will acknowledge it any more.
func (s *State) forgetOld(now clock.Time, i int32) {
	f := &s.log.slots[i]
	p := f.Path
	if now.Sub(f.At) <= keepTime*p.RTT.PTO(s.maxAckDelay) {
		return
	}
	if f.state == skipped {
		s.log.skipped--
	} else {
		s.log.kept--
	}
	if f.state == lost && f.episode == p.episode.id {
		p.cc.Confirm()
	}
	s.log.remove(i)
}
