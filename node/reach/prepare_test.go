package reach

import (
	"net/netip"
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

// invitedByHard lets bob, whose NAT counts up, ask for the node.
func (r *rig) invitedByHard() {
	r.control(0, (&wire.Invite{ID: uuidOf(1), Peer: bob, NAT: sequentialNAT}).Append(nil))
}

// sampled answers the samples that a new socket takes: the NAT gives it the ports. It
// returns the socket's link.
func (r *rig) sampled(ports ...uint16) (link uint32) {
	r.t.Helper()
	link = r.take(OpenSocket, "a socket that no NAT has seen").Link
	for k, port := range ports {
		if k > 0 {
			r.advance(sampleGap)
		}
		a := r.take(SendSTUN, "a sample")
		if a.Link != link || a.Addr != r.c.survey.port(k) {
			r.t.Fatalf("sample %d from %x to %v", k, a.Link, a.Addr)
		}
		r.c.HandleSTUN(r.now, a.Link, a.Addr, answer(r.t, a, netip.AddrPortFrom(publicSelf.Addr(), port)))
		r.drain()
	}
	return link
}

// newSocketAddr is where servers see a socket that the NAT gave port 7777.
var newSocketAddr = netip.AddrPortFrom(publicSelf.Addr(), 7777)

// first returns the candidate that is tried first.
func first(list *wire.Candidates) (c wire.Candidate) {
	for c = range list.All() {
		break
	}
	return c
}

func TestPeerIsToldWhichPortsTheNATGaveLast(t *testing.T) {
	r := newHardRig(t, sequentialNAT, plain)
	r.known[bob] = true
	r.introduce(bob, false)
	r.sampled(20011, 20012, 20014)
	m, _ := r.takeControl(wire.RendezvousIntroduce, "all samples are there")
	if nat := m.Introduce.NAT; nat.Base != 20014 || nat.Step != sequentialNAT.Step {
		t.Errorf("told %+v, want a base of 20014", nat)
	}
}

// An early packet from the hard side would cost the main socket its port.
func TestPoisonProneNATIsMetThroughANewSocket(t *testing.T) {
	r := newHardRig(t, withFlags(easyNAT, wire.NATPoisonProne), plain)
	r.known[bob] = true
	r.invitedByHard()
	r.sampled(7777)
	m, _ := r.takeControl(wire.RendezvousAccept, "the sample is there")
	if c := first(&m.Accept.Candidates); c.Kind != wire.CandidateReflexive || c.Addr != newSocketAddr {
		t.Errorf("told %+v first, want the new socket's", c)
	}
}

// What failed from the main socket is tried from another, and the peer is told where
// that is.
func TestSecondRoundIsTriedFromANewSocket(t *testing.T) {
	r := newHardRig(t, easyNAT, plain)
	r.known[bob] = true
	id := r.introduce(bob, false)
	r.meets(0, id, bob, easyNAT, true, publicBob)
	if a := r.take(Probe, "the first round"); a.Link != 0 {
		t.Errorf("the first round probes from %x", a.Link)
	}
	r.out = nil
	r.advance(probeTime)
	link := r.sampled(7777)
	m, _ := r.takeControl(wire.RendezvousIntroduce, "the second round")
	if c := first(&m.Introduce.Candidates); c.Kind != wire.CandidateReflexive || c.Addr != newSocketAddr {
		t.Errorf("told %+v first, want the new socket's", c)
	}
	r.meets(0, m.Introduce.ID, bob, easyNAT, true, publicBob)
	if a := r.take(Probe, "the second round"); a.Link != link {
		t.Errorf("the second round probes from %x, want %x", a.Link, link)
	}
}

func TestSamplesThatNobodyAnswersHoldNothingUpForLong(t *testing.T) {
	for name, nat := range map[string]wire.NAT{"counted": sequentialNAT, "poison-prone": withFlags(easyNAT, wire.NATPoisonProne)} {
		r := newHardRig(t, nat, plain)
		r.known[bob] = true
		r.invitedByHard()
		r.advance(prepareMax - 1)
		r.wantNone(SendControl, "the samples may still come")
		r.advance(1)
		m, _ := r.takeControl(wire.RendezvousAccept, "it goes without")
		if m.Accept.NAT != nat || first(&m.Accept.Candidates).Addr != publicSelf {
			t.Errorf("%s: told %+v, and %v first", name, m.Accept.NAT, first(&m.Accept.Candidates))
		}
	}
}
