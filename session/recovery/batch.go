package recovery

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// Bounds of the watch on batches.
const (
	batchWatch   = 1000             // batched frames are looked at together
	batchSuspect = 10               // losses among them bring about a trial
	batchTrial   = 1000             // frames of each kind acquit them
	batchRatio   = 4                // times as many losses as of single frames condemn them
	batchRun     = 16               // frames take turns during the trial
	batchBelief  = 10 * time.Minute // is how long what it found is believed
)

// batchHealth is whether frames that leave in one system call arrive as others do.
// Some drivers and kernels spoil what they take in batches, and tell nobody. Losses
// bring about a trial, in which runs of frames leave in batches and singly by turns,
// so that a queue that overflows hits both alike.
//
//	watched --losses--> tried --as many of the single ones--> trusted
//	   ^                  |                                     |
//	   |                  +--far fewer of those--> refused      |
//	   +------------ten minutes-----------------------+---------+
type batchHealth struct {
	state     batchState
	explained bool       // refused just now: the congestion controller is to know why so much was lost
	from      uint64     // frames with smaller ordinals do not count
	until     clock.Time // when it is watched again, if trusted or refused
	batched   tally
	single    tally  // during the trial
	runEnd    uint64 // one more than the ordinal of the frame that was last lost; 0 if none
}

type batchState uint8

const (
	batchesWatched batchState = iota
	batchesTried
	batchesTrusted
	batchesRefused
)

// A tally is what became of frames. Those lost in a row are one loss: what they
// have in common need not be the system call.
type tally struct{ frames, losses int64 }

// BatchMax returns how many frames may leave next on the path in one system call.
func (p *Path) BatchMax(now clock.Time) int {
	b := &p.batches
	b.conclude(now, p.sent)
	if b.explained && p.arrived > b.from+uint64(p.reordering.packets()) { // what was sent in batches has met its fate
		b.explained = false
		p.cc.Acquit(now)
	}
	switch {
	case b.state == batchesRefused, b.state == batchesTried && singly(p.sent):
		return 1
	case b.state == batchesTried:
		return batchRun - int(p.sent%batchRun)
	}
	return math.MaxInt
}

// BatchesRefused reports whether frames leave one by one because batches got lost.
func (p *Path) BatchesRefused(now clock.Time) bool { return p.batches.refusedUntil() > now }

// OnBatch learns that the frames from the number first on have left in one system
// call, or that others would have left with them, had BatchMax allowed that.
func (s *State) OnBatch(first uint64) {
	flag := together
	if i := s.log.tail; i != none && s.log.slots[i].PN == first {
		flag = alone
	}
	for i := s.log.tail; i != none && s.log.slots[i].PN >= first; i = s.log.slots[i].prev {
		s.log.slots[i].Flags |= flag
	}
}

// singly reports whether it is the turn of single frames in a trial.
func singly(ordinal uint64) bool { return ordinal/batchRun%2 != 0 }

// conclude draws the conclusions of what is known by now. Frames from the given
// ordinal on count for the next ones.
func (b *batchHealth) conclude(now clock.Time, ordinal uint64) {
	switch b.state {
	case batchesWatched:
		switch {
		case b.suspicious():
			b.enter(batchesTried, ordinal)
		case b.batched.frames >= batchWatch:
			b.enter(batchesWatched, ordinal)
		}
	case batchesTried:
		switch {
		case b.guilty():
			b.refuse(now.Add(batchBelief), ordinal)
			b.explained = true
		case min(b.batched.frames, b.single.frames) >= batchTrial:
			b.enter(batchesTrusted, ordinal)
			b.until = now.Add(batchBelief)
		}
	default:
		if now >= b.until {
			b.enter(batchesWatched, ordinal)
		}
	}
}

func (b *batchHealth) suspicious() bool {
	return b.batched.losses >= batchSuspect && b.batched.losses*batchWatch >= b.batched.frames*batchSuspect
}

// guilty reports whether the trial is over to the disadvantage of batches. It takes
// two more losses of single frames than there were: chance needs the room.
func (b *batchHealth) guilty() bool {
	return b.suspicious() && b.batched.losses*b.single.frames >= batchRatio*(b.single.losses+2)*b.batched.frames
}

func (b *batchHealth) refuse(until clock.Time, ordinal uint64) {
	b.enter(batchesRefused, ordinal)
	b.until = until
}

// refusedUntil returns when batches get another chance; 0 if they are not refused.
func (b *batchHealth) refusedUntil() clock.Time {
	if b.state == batchesRefused {
		return b.until
	}
	return 0
}

func (b *batchHealth) enter(state batchState, ordinal uint64) {
	*b = batchHealth{state: state, from: ordinal}
}

// tallyOf returns where a frame counts, if it does. Frames that left alone because there
// were no others say nothing of those that leave in a burst.
func (b *batchHealth) tallyOf(f *Sent) *tally {
	switch {
	case b.state > batchesTried, f.ordinal < b.from:
		return nil
	case f.Flags&together != 0:
		return &b.batched
	case f.Flags&alone != 0:
		return &b.single
	}
	return nil
}

func (b *batchHealth) onArrived(f *Sent) {
	if t := b.tallyOf(f); t != nil {
		t.frames++
	}
}

func (b *batchHealth) onLost(f *Sent) {
	t := b.tallyOf(f)
	if t == nil {
		return
	}
	t.frames++
	if b.runEnd == 0 || f.ordinal != b.runEnd {
		t.losses++
		f.Flags |= lossCounted
	}
	b.runEnd = f.ordinal + 1
}

// onSpurious learns that a frame taken for lost was only late.
func (b *batchHealth) onSpurious(f *Sent) {
	if t := b.tallyOf(f); t != nil && f.Flags&lossCounted != 0 {
		t.losses--
	}
}
