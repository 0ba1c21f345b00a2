package recovery

import (
	"errors"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Limits on what is remembered.
const (
	// maxOutstanding is how many frames may be outstanding before CanSend
	// refuses more.
	maxOutstanding = 20000
	// maxTracked is how many frames may be outstanding before no more probes
	// are asked for: a peer that stays silent must not fill the memory.
	maxTracked = 25000
	// maxKept bounds the frames that are remembered after they were given up.
	maxKept = 1024
	// maxSkipped bounds the numbers watched because they were never used.
	maxSkipped = 16
)

// MaxAckDelay is the longest that this side holds an acknowledgement back, and
// what is assumed of the peer until it says (RFC 9000 §18.2).
const MaxAckDelay = 25 * time.Millisecond

// ErrUnsent reports an acknowledgement of a number that no frame had. The peer
// guesses, and the session must be closed (RFC 9000 §13.1, §21.4).
var ErrUnsent = errors.New("recovery: acknowledgement of a frame that was not sent")

// State is what a session knows of the frames it sent. Call Init and Activate
// before use.
type State struct {
	log    *log    // nil at rest
	paths  []*Path // with outstanding frames, in the order of their first
	active *Path   // where the probe timeout runs

	sent uint64 // one more than the last number sent
	next uint64 // the number to use next: sent, or one more
	skip skipper

	largestAcked uint64
	anyAcked     bool
	maxAckDelay  time.Duration // of the peer

	marked    uint64         // frames sent with ECT(0)
	counts    wire.ECNCounts // of the newest acknowledgement
	countedTo uint64         // one more than its largest number
}

// Result is what an event has decided. Its frames are valid until the next
// OnSent. It is meant to be reused.
type Result struct {
	// Acked are the frames that have newly arrived, oldest first, including
	// such as were in Lost before.
	Acked []*Sent
	// Lost are the frames newly given up, oldest first. Each may still turn up
	// in Acked later.
	Lost []*Sent
	// Spurious counts the frames in Acked that had wrongly been taken for lost.
	Spurious int
	// Marked counts the frames that the network has marked CE since the last
	// acknowledgement, by what the peer tells.
	Marked uint64
	// PersistentCongestion says that nothing came through some path for several
	// probe timeouts (RFC 9002 §7.6).
	PersistentCongestion bool
}

// Reset empties the result and keeps its memory.
func (r *Result) Reset() { *r = Result{Acked: r.Acked[:0], Lost: r.Lost[:0]} }

// Init prepares the state of a session. The seed decides which numbers are
// skipped, and must not be known to the peer.
func (s *State) Init(seed uint64) {
	*s = State{log: newLog(), maxAckDelay: MaxAckDelay}
	s.skip.init(seed)
}

// Activate makes p the path that carries data. The probe timeout runs there
// only: frames left on other paths are for Requeue. If it has been that before, all
// but its port is the same, and what routers do to marks may be another matter.
func (s *State) Activate(p *Path) {
	if p == s.active || p.ecn.state == ECNUnknown {
		p.ecn = ecn{from: s.next, waits: s.marked > 0}
	}
	s.active = p
}

// NextPN returns the number that the next frame must use. It stays the same
// until OnSent. At rest no number is skipped: there is nothing to watch it with.
func (s *State) NextPN() uint64 {
	if s.log != nil && s.next == s.sent && s.log.skipped < maxSkipped && s.skip.due(s.next) {
		s.next++
	}
	return s.next
}

// OnSent records that a frame with the number from NextPN was sent. refs are
// copied. At rest no frame may be AckEliciting.
func (s *State) OnSent(now clock.Time, p *Path, pn uint64, size int, flags Flags, refs []Ref) {
	if pn != s.next {
		panic("recovery: a frame was sent out of turn")
	}
	if s.sent < pn && s.log != nil {
		s.watchSkipped(now, p, s.sent)
	}
	s.next = pn + 1
	s.sent = s.next
	if flags&ECT0 != 0 {
		s.marked++
		p.ecn.onMarked()
	}
	if flags&AckEliciting == 0 {
		return
	}
	f := s.log.push()
	f.PN, f.At, f.Path, f.Size, f.Flags = pn, now, p, size, flags
	f.Refs = append(f.Refs, refs...)
	s.log.outstanding++
	p.onSent(f, s.maxAckDelay)
	if !p.listed {
		p.listed = true
		s.paths = append(s.paths, p)
	}
}

func (s *State) watchSkipped(now clock.Time, p *Path, pn uint64) {
	f := s.log.push()
	f.PN, f.At, f.Path, f.state = pn, now, p, skipped
	s.log.skipped++
}

// CanSend reports whether the congestion window of the path has room for a
// frame of the given size. Acknowledgements alone and probes need not ask.
func (s *State) CanSend(p *Path, size int) bool {
	return p.inFlight+size <= p.cc.Window() && s.log.outstanding < maxOutstanding
}

// urgentMax is how many bytes in flight may have been sent although the window was
// full. They are in frames that hold nothing but a few short messages.
const urgentMax = 4 * DefaultMDS

// CanExceed reports whether a frame flagged Urgent may be sent that the window has
// no room for.
func (s *State) CanExceed(p *Path, size int) bool {
	return p.urgent+size <= urgentMax && s.log.outstanding < maxOutstanding
}

// PaceUntil returns when the pacer lets the path send: now, or later. It is told
// whether anything waits for it.
func (s *State) PaceUntil(now clock.Time, p *Path, waits bool) clock.Time {
	return p.pacer.Until(now, p.inFlight, &p.cc, p.RTT.Smoothed(), waits)
}

// LargestAcked returns the largest number that the peer has acknowledged.
func (s *State) LargestAcked() (pn uint64, ok bool) { return s.largestAcked, s.anyAcked }

// Outstanding returns how many frames are neither acknowledged nor given up.
func (s *State) Outstanding() int { return s.log.outstanding }

// Rest gives back the memory for frames in flight, until Wake. It reports false if
// there are any, or others whose acknowledgement would still mean something.
func (s *State) Rest(now clock.Time) bool {
	if s.log.outstanding > 0 {
		return false
	}
	for i := s.log.head; i != none; {
		next := s.log.slots[i].next
		s.forgetOld(now, i)
		i = next
	}
	if s.log.head != none {
		return false
	}
	s.unlistIdle()
	s.log, s.paths, s.active = nil, nil, nil
	return true
}

// Wake ends a rest. It names the active path anew.
func (s *State) Wake(active *Path) {
	s.log = newLog()
	s.active = active
}

// unlistIdle forgets the paths that have nothing outstanding.
func (s *State) unlistIdle() {
	kept := s.paths[:0]
	for _, p := range s.paths {
		if p.outstanding > 0 {
			kept = append(kept, p)
		} else {
			p.listed = false
			p.lossTime = clock.Never
		}
	}
	clear(s.paths[len(kept):])
	s.paths = kept
}

// giveUp takes a frame out of flight. It is remembered for a while if there is
// room: its acknowledgement may only be late.
func (s *State) giveUp(i int32, why fate, r *Result) {
	f := &s.log.slots[i]
	s.log.outstanding--
	f.Path.release(f)
	f.state = why
	if s.log.kept < maxKept {
		s.log.kept++
	} else {
		f.Path.cc.Confirm()
		s.log.remove(i)
	}
	r.Lost = append(r.Lost, f)
}

// Requeue gives up the outstanding frames of a path that were sent earlier than
// before, because they went to an address that is abandoned or has changed: they
// come back in r.Lost, at once and once. That is not a sign of congestion. If
// they are acknowledged after all they still count as arrived, but not as
// samples of the RTT.
func (s *State) Requeue(p *Path, before clock.Time, r *Result) {
	r.Reset()
	for i := s.log.head; i != none; {
		f := &s.log.slots[i]
		next := f.next
		if f.Path == p && f.state == outstanding && f.At < before {
			s.giveUp(i, moved, r)
		}
		i = next
	}
	s.unlistIdle()
}

// Oldest adds the n oldest outstanding frames of a path to r.Lost, so that a
// probe can carry again what they hold. They stay outstanding.
func (s *State) Oldest(p *Path, n int, r *Result) {
	for i := s.log.head; i != none && n > 0; i = s.log.slots[i].next {
		if f := &s.log.slots[i]; f.Path == p && f.state == outstanding {
			r.Lost = append(r.Lost, f)
			n--
		}
	}
}
