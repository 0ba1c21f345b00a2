package recovery

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Bounds of the test of a path (RFC 9000 appendix A.4).
const (
	ecnTestFrames = 10 // are marked
	ecnTestPTOs   = 3  // end it earlier
)

// An ECNState says whether a path keeps ECN marks (RFC 9000 §13.4.2).
//
//	           ECT(0) arrives
//	unknown -------------------> capable
//	   |    <-------------------    |
//	   |     nothing marked does    |
//	   +--------> failed <----------+   the counts do not fit, or all are CE
type ECNState uint8

// States. A path is tested by its first frames; where none of their marks is heard
// of it stays unknown, and is no longer marked.
const (
	ECNUnknown ECNState = iota
	ECNCapable
	ECNFailed
)

var ecnStateNames = [...]string{"unknown", "capable", "failed"}

// String returns "unknown", "capable" or "failed".
func (e ECNState) String() string {
	if int(e) < len(ecnStateNames) {
		return ecnStateNames[e]
	}
	return ecnStateNames[ECNUnknown]
}

// MarshalText implements [encoding.TextMarshaler].
func (e ECNState) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// ecn is what is known of the marks on a path.
type ecn struct {
	state  ECNState
	waits  bool   // for the first acknowledgement here: marked frames are in flight elsewhere
	frames uint8  // marked while it is unknown
	ptos   uint8  // since a marked frame last arrived
	from   uint64 // frames with smaller numbers took another path
	ce     uint64 // frames that the network has marked since the test began
}

// Markable reports whether the next frame on the path is to be marked ECT(0).
func (p *Path) Markable() bool {
	e := &p.ecn
	return e.state == ECNCapable || e.state == ECNUnknown && !e.waits && e.frames < ecnTestFrames && e.ptos < ecnTestPTOs
}

// ECN returns whether the path keeps marks, and how many frames the network has
// marked CE there since it was last tested, by what the peer tells.
func (p *Path) ECN() (state ECNState, ce uint64) { return p.ecn.state, p.ecn.ce }

// onMarked counts a frame that was sent with ECT(0).
func (e *ecn) onMarked() {
	if e.state == ECNUnknown {
		e.frames++
	}
}

// onPTO counts the probe timeouts at which something marked may be in flight. Probes
// are not marked, so a path that has begun to drop what is shows here: it is tested
// anew, from the frame numbered next on, and so is one that answers nothing.
func (e *ecn) onPTO(next uint64) {
	if e.frames > 0 {
		e.ptos = min(e.ptos+1, ecnTestPTOs)
	}
	if e.state == ECNCapable && e.ptos == ecnTestPTOs {
		*e = ecn{from: next}
	}
}

// take learns of marks that have arrived, and reports whether they tell of
// congestion. What is CE from the first frame on says nothing about that: some
// routers mark all.
func (e *ecn) take(ect0, ce uint64) (congested bool) {
	e.ce += ce
	switch {
	case e.state == ECNFailed:
		return false
	case e.state == ECNCapable:
		return ce > 0
	case ect0 > 0:
		e.state = ECNCapable
		return e.ce > 0
	case e.ce >= ecnTestFrames:
		e.state = ECNFailed
	}
	return false
}

// takeMarks draws the conclusions of the ECN counts of an acknowledgement: are they
// possible, did the marks arrive, and does the network ask for less (RFC 9000
// §13.4.2.1)? They count all frames, so those that come while frames of two paths
// are in flight judge neither.
func (s *State) takeMarks(now clock.Time, a *wire.Ack, r *Result) {
	if a.Largest < s.countedTo {
		return // overtaken: its counts are older
	}
	was, is := s.counts, a.Counts
	s.counts, s.countedTo = is, a.Largest+1
	p := s.active
	here, elsewhere := p.marked(r.Acked)
	if here > 0 {
		p.ecn.ptos = 0
	}
	if a.Largest >= p.ecn.from {
		p.ecn.waits = false
	}
	reported := is.ECT0 + is.CE
	tooMany := reported > s.marked
	s.marked = max(s.marked, reported) // else every path to come would fail by this
	switch {
	case elsewhere > 0:
		if p.ecn.state == ECNUnknown && here > 0 {
			p.ecn = ecn{from: s.sent} // the test told nothing
		}
	case tooMany,
		is.ECT0 < was.ECT0 || is.CE < was.CE,
		is.ECT1 != was.ECT1, // nobody sends that
		reported < was.ECT0+was.CE+here:
		p.ecn.state = ECNFailed
	default:
		r.Marked = is.CE - was.CE
		if p.ecn.take(is.ECT0-was.ECT0, r.Marked) {
			p.cc.OnMark(now, r.Acked[len(r.Acked)-1].At)
		}
	}
}

// marked counts the frames that were sent with ECT(0), on the path as it now is and
// elsewhere.
func (p *Path) marked(frames []*Sent) (here, elsewhere uint64) {
	for _, f := range frames {
		switch {
		case f.Flags&ECT0 == 0:
		case f.Path == p && f.PN >= p.ecn.from:
			here++
		default:
			elsewhere++
		}
	}
	return here, elsewhere
}
