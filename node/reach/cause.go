package reach

import (
	"errors"
	"net/netip"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Cause says why two peers do not talk directly.
type Cause uint8

// Causes, in the order in which they are looked for: of several the first is the
// one that no remedy for a later one would help against.
const (
	CauseNone       Cause = iota // they do, or nothing was tried
	CauseNoServer                // no rendezvous server could be asked
	CauseAbsent                  // no server knows the peer, or it does not want to
	CauseRelayOnly               // a side keeps its addresses to itself
	CauseNoUDP                   // a side's network lets no UDP pass
	CauseFamily                  // one has IPv4 alone, the other IPv6
	CauseNoHairpin               // both are behind one NAT, which does not let them meet
	CauseBothHard                // the ports of both sides' NATs cannot be guessed
	CauseSearchOff               // one side's cannot without a search, which a side has not switched on
	CauseNotFound                // one side's port was looked for and not found
	CauseUnanswered              // everything was tried, and nothing came back: a firewall, most likely
	CauseTrying                  // nothing stands in the way, but they have not met yet
)

var causeNames = [...]string{
	"none", "no-server", "peer-absent", "relay-only", "udp-blocked", "no-common-family", "no-hairpin", "both-nats-hard",
	"search-off", "port-not-found", "no-answer", "still-trying",
}

// String returns a name for programs, such as "udp-blocked".
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return "unknown"
}

// MarshalText implements [encoding.TextMarshaler].
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Cause) UnmarshalText(b []byte) error {
	for k, name := range causeNames {
		if name == string(b) {
			*c = Cause(k)
			return nil
		}
	}
	return errors.New("reach: no such cause")
}

// A Party is a side, or both.
type Party uint8

// Parties.
const (
	Nobody   Party = iota
	ThisSide       // the node's own
	PeerSide
	BothSides
)

// String returns "", "this side", "the peer" or "both sides".
func (p Party) String() string { return [...]string{"", "this side", "the peer", "both sides"}[p&3] }

// MarshalText implements [encoding.TextMarshaler].
func (p Party) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func whose(this, peer bool) Party {
	switch {
	case this && peer:
		return BothSides
	case this:
		return ThisSide
	case peer:
		return PeerSide
	}
	return Nobody
}

// Explain returns why the attempts, the newest last, did not lead to a direct
// path, and whose doing that is.
func Explain(attempts []Attempt) (Cause, Party) {
	var last *Attempt
	for k := range attempts {
		if a := &attempts[k]; a.Started || a.Err != nil {
			last = a
		}
	}
	switch {
	case last == nil:
		return CauseNone, Nobody
	case !last.Started && errors.Is(last.Err, ErrPeerAbsent):
		return CauseAbsent, PeerSide
	case !last.Started:
		return CauseNoServer, ThisSide
	}
	return last.explain()
}

func (a *Attempt) explain() (Cause, Party) {
	for _, f := range []struct {
		flag  wire.NATFlags
		cause Cause
	}{{wire.NATRelayOnly, CauseRelayOnly}, {wire.NATNoUDP, CauseNoUDP}} {
		if p := whose(a.Local.Has(f.flag), a.Remote.Has(f.flag)); p != Nobody {
			return f.cause, p
		}
	}
	switch {
	case !a.shareFamily():
		return CauseFamily, BothSides
	case a.sharePublicAddress():
		return CauseNoHairpin, BothSides
	}
	mine, theirs := hardnessOf(&a.Local), hardnessOf(&a.Remote)
	hard := whose(mine != easy, theirs != easy)
	switch {
	case !a.Ended && a.Round == 0 && techniqueFor(&a.Local, &a.Remote, 0) != TechniqueNone:
		return CauseTrying, Nobody
	case hard == Nobody, portFree(&a.Local, &a.Remote):
		return CauseUnanswered, BothSides
	case techniques[mine][theirs] == TechniqueNone:
		return CauseBothHard, BothSides
	case techniqueFor(&a.Local, &a.Remote, a.Round) == TechniqueNone:
		return CauseSearchOff, whose(!a.Local.Has(wire.NATSearch), !a.Remote.Has(wire.NATSearch))
	case a.Technique == TechniqueNone:
		return CauseTrying, Nobody // once the search for another peer is over
	}
	return CauseNotFound, hard
}

// shareFamily reports whether some candidate of each side is of one family.
func (a *Attempt) shareFamily() bool {
	var mine, theirs [2]bool
	for _, c := range a.Told {
		mine[familyOf(c.Addr.Addr())] = true
	}
	for _, c := range a.Candidates {
		theirs[familyOf(c.Addr.Addr())] = true
	}
	return mine[0] && theirs[0] || mine[1] && theirs[1]
}

func familyOf(ip netip.Addr) int {
	if ip.Is4() {
		return 0
	}
	return 1
}

// sharePublicAddress reports whether servers see both sides at one address, which
// is not one of their own.
func (a *Attempt) sharePublicAddress() bool {
	for _, c := range a.Candidates {
		if c.Kind != wire.CandidateReflexive || !c.Addr.Addr().Is4() {
			continue
		}
		for _, own := range a.Told {
			if own.Kind == wire.CandidateReflexive && own.Addr.Addr() == c.Addr.Addr() {
				return true
			}
		}
	}
	return false
}

// remedies says what would help against a cause.
var remedies = [...]string{
	CauseNone:       "",
	CauseNoServer:   "check the address of the rendezvous server, and that its UDP port and TCP port are open",
	CauseAbsent:     "start the other side with the same server; it must accept this peer",
	CauseRelayOnly:  "nothing is wrong: the side that wants only relays was set up that way",
	CauseNoUDP:      "let UDP pass in the firewall or network of that side; until then the relay carries the session over TCP",
	CauseFamily:     "give both sides IPv6, or both IPv4",
	CauseNoHairpin:  "connect both to one local network, or let their common NAT turn packets around (hairpinning); a carrier's NAT that does not is beyond your reach: use IPv6",
	CauseBothHard:   "switch on port mapping (UPnP, NAT-PMP or PCP) in either router, or use IPv6 on both sides",
	CauseSearchOff:  "switch on the search on both sides (--search), or port mapping (UPnP, NAT-PMP or PCP) in either router",
	CauseNotFound:   "it is tried again by itself; port mapping (UPnP, NAT-PMP or PCP) in either router, or IPv6, needs no luck",
	CauseUnanswered: "let UDP to and from other hosts pass in the firewall of either side",
	CauseTrying:     "wait a few seconds",
}

// Remedy returns what the user can do about a cause, in plain words.
func (c Cause) Remedy() string {
	if int(c) < len(remedies) {
		return remedies[c]
	}
	return ""
}

var causeTexts = [...]string{
	CauseNone:       "nothing stands in the way",
	CauseNoServer:   "no rendezvous server could be asked to introduce the two",
	CauseAbsent:     "no rendezvous server knows the peer, or it does not want to be introduced",
	CauseRelayOnly:  "addresses are kept from the other side (relay only)",
	CauseNoUDP:      "the network lets no UDP pass",
	CauseFamily:     "the two have no address family in common: one has IPv4 alone, the other IPv6",
	CauseNoHairpin:  "both are behind the same public address, and its NAT does not let them reach each other through it",
	CauseBothHard:   "the NATs of both sides give each destination another port, and these cannot be guessed on both",
	CauseSearchOff:  "a NAT gives each destination another port at random and the other side lets in known ports alone; searching for the port is switched off",
	CauseNotFound:   "a NAT gives each destination another port, which was searched for and not found yet",
	CauseUnanswered: "probes were sent to all addresses and none was answered: a firewall drops them, most likely",
	CauseTrying:     "the two are looking for each other at this moment",
}

// Text returns the cause in plain words.
func (c Cause) Text() string {
	if int(c) < len(causeTexts) {
		return causeTexts[c]
	}
	return ""
}
