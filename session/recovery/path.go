package recovery

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/congestion"
)

// DefaultMDS is the datagram size that every path carries (RFC 9000 §14).
const DefaultMDS = 1200

// Bounds of the backoff of the probe timeout, so that a session is heard soon
// after an outage ends: the sooner, the shorter the outage was. A path whose RTT
// asks for more gets it.
const (
	minProbeGap = 150 * time.Millisecond // or two round trips
	freshOutage = 10 * time.Second       // for so long
	midProbeGap = 500 * time.Millisecond
	longOutage  = 30 * time.Second // for so long
	maxPTO      = 2 * time.Second
	patientPTO  = 15 * time.Second
)

// Path is the recovery state of one network path. Call Init before use. A path
// to another network gets a new Path (RFC 9000 §9.4); one whose port alone has
// changed may keep it. It is forgotten only after Requeue.
type Path struct {
	// RTT is the round trip time. The caller may add samples of its own.
	RTT RTT

	cc          congestion.Controller
	pacer       congestion.Pacer
	sampler     congestion.Sampler
	inFlight    int  // bytes
	urgent      int  // bytes of these in frames flagged Urgent
	outstanding int  // frames
	listed      bool // in State.paths

	sent    uint64 // frames, which numbers their ordinals
	arrived uint64 // one more than the largest ordinal acknowledged; 0 if none

	lossTime clock.Time // when the next frame will count as lost; Never if none
	ptoBase  clock.Time // what the probe timeout counts from
	ptoCount int        // probe timeouts since the last acknowledgement
	ptoFirst clock.Time // when the first of them expired
	patient  bool       // SetPatient

	ecn        ecn
	batches    batchHealth
	lossRate   lossRate
	reordering reordering
	episode    episode
	ack        ackSum
	loss       lossSum
}

// An episode is a reduction of the congestion window, or several in a row, and
// the losses that it stands for. It can be undone as long as every one of these
// is still remembered.
type episode struct {
	id      uint32 // 0 before the first
	missing int    // frames lost and still not acknowledged
}

// ackSum is what one acknowledgement says about the path.
type ackSum struct {
	any     bool
	proved  bool // by a frame that took no other path
	largest uint64
	before  int           // bytes in flight before it
	sample  time.Duration // 0 if it gives none
	delay   time.Duration // how long the peer held it back
}

// lossSum is what one loss detection says about the path.
type lossSum struct {
	delay    time.Duration // after which a frame is lost
	runFrom  clock.Time    // when the first of the last unbroken run was sent; Never if none
	runEnd   uint64        // one more than the ordinal of its last
	runTaken time.Duration // by the longest run
}

// Init prepares a path that nothing is known about.
func (p *Path) Init(a congestion.Algorithm, mds int) {
	*p = Path{lossTime: clock.Never}
	p.RTT.init()
	p.cc.Init(a, mds)
}

// SetMDS sets the largest datagram size that the path is known to carry.
func (p *Path) SetMDS(mds int) { p.cc.SetMDS(mds) }

// Window returns the congestion window in bytes.
func (p *Path) Window() int { return p.cc.Window() }

// SetCalm says whether short messages that are urgent share the path with others.
func (p *Path) SetCalm(now clock.Time, calm bool) { p.cc.SetCalm(now, calm) }

// Rate returns at how many bytes a second the controller sends.
func (p *Path) Rate() uint64 { return p.cc.Rate(p.RTT.Smoothed()) }

// InFlight returns the bytes that count against the congestion window.
func (p *Path) InFlight() int { return p.inFlight }

// OnLimited learns that the application has nothing to send although window and
// pacer would let it: what the path delivers now says nothing about the most
// that it can. If the application was refused more, for want of room in the send buffer,
// that holds only as long as what is in flight does not fill the path.
func (p *Path) OnLimited(refused bool) {
	if !refused || !p.cc.Fills(p.inFlight) {
		p.sampler.OnLimited(p.inFlight)
	}
}

// PTOCount returns how many probe timeouts passed since anything was last
// acknowledged on the path.
func (p *Path) PTOCount() int { return p.ptoCount }

// SetPatient says that the probe timeout is to back off further than in any outage of
// one path: somebody else's probes have the use of what there is.
func (p *Path) SetPatient(patient bool) { p.patient = patient }

// ResetPTO ends the backoff of the probe timeout, since the network has changed
// and the silence may be over.
func (p *Path) ResetPTO() { p.ptoCount = 0 }

func (p *Path) onSent(f *Sent, maxAckDelay time.Duration) {
	p.cc.OnSent(f.At, f.PN, p.inFlight, p.RTT.PTO(maxAckDelay), p.RTT.bound())
	p.pacer.OnSent(f.At, f.Size, p.inFlight, &p.cc, p.RTT.Smoothed())
	f.stamp = p.sampler.OnSent(f.At, p.inFlight)
	if p.RTT.HasSample() {
		f.Flags |= afterSample
	}
	f.ordinal = p.sent
	p.sent++
	p.inFlight += f.Size
	if f.Flags&Urgent != 0 {
		p.urgent += f.Size
	}
	if p.outstanding == 0 {
		p.ptoBase = f.At
	}
	p.outstanding++
}

// release takes a frame that is not outstanding any more out of flight.
func (p *Path) release(f *Sent) {
	p.inFlight -= f.Size
	if f.Flags&Urgent != 0 {
		p.urgent -= f.Size
	}
	p.outstanding--
}

// ptoTime returns when the probe timeout expires; Never if none is running. A
// running loss timer takes its place (RFC 9002 §6.2.1).
//
// It counts from the last acknowledgement, or from the first frame in flight
// after there was none, and not from the last frame sent as RFC 9002 suggests:
// an application that sends a little all the time would put it off until the
// congestion window is full, and a dead path would go unnoticed for seconds.
func (p *Path) ptoTime(maxAckDelay time.Duration) clock.Time {
	if p.outstanding == 0 || p.lossTime != clock.Never {
		return clock.Never
	}
	pto := p.RTT.PTO(maxAckDelay)
	const maxShift = 12 // beyond what any PTO needs to reach maxPTO
	return p.ptoBase.Add(min(pto<<min(p.ptoCount, maxShift), max(p.maxPTO(), pto)))
}

// maxPTO is how far the probe timeout backs off at this age of the outage.
func (p *Path) maxPTO() time.Duration {
	switch age := p.ptoBase.Sub(p.ptoFirst); {
	case p.patient:
		return patientPTO
	case p.ptoCount == 0 || age < freshOutage:
		return max(2*p.RTT.Smoothed(), minProbeGap)
	case age < longOutage:
		return midProbeGap
	}
	return maxPTO
}
