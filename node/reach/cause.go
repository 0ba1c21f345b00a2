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

// causeWords says what a cause is to programs and to people, and what the user can do
// about it.
type causeWords struct{ name, text, remedy string }

var causes = [...]causeWords{
	CauseNone: {
		name: "none",
		text: "nothing stands in the way",
	},
	CauseNoServer: {
		name:   "no-server",
		text:   "no rendezvous server could be asked to introduce the two",
		remedy: "check the address of the rendezvous server, and that its UDP port and TCP port are open",
	},
	CauseAbsent: {
		name:   "peer-absent",
		text:   "no rendezvous server knows the peer, or it does not want to be introduced",
		remedy: "start the other side with the same server; it must accept this peer",
	},
	CauseRelayOnly: {
		name:   "relay-only",
		text:   "addresses are kept from the other side (relay only)",
		remedy: "nothing is wrong: the side that wants only relays was set up that way",
	},
	CauseNoUDP: {
		name:   "udp-blocked",
		text:   "the network lets no UDP pass",
		remedy: "let UDP pass in the firewall or network of that side; until then the relay carries the session over TCP",
	},
	CauseFamily: {
		name:   "no-common-family",
		text:   "the two have no address family in common: one has IPv4 alone, the other IPv6",
		remedy: "give both sides IPv6, or both IPv4",
	},
	CauseNoHairpin: {
		name:   "no-hairpin",
		text:   "both are behind the same public address, and its NAT does not let them reach each other through it",
		remedy: "connect both to one local network, or let their common NAT turn packets around (hairpinning); a carrier's NAT that does not is beyond your reach: use IPv6",
	},
	CauseBothHard: {
		name:   "both-nats-hard",
		text:   "the NATs of both sides give each destination another port, and these cannot be guessed on both",
		remedy: "switch on port mapping (UPnP, NAT-PMP or PCP) in either router, or use IPv6 on both sides",
	},
	CauseSearchOff: {
		name:   "search-off",
		text:   "a NAT gives each destination another port at random and the other side lets in known ports alone; searching for the port is switched off",
		remedy: "switch on the search on both sides (--search), or port mapping (UPnP, NAT-PMP or PCP) in either router",
	},
	CauseNotFound: {
		name:   "port-not-found",
		text:   "a NAT gives each destination another port, which was searched for and not found yet",
		remedy: "it is tried again by itself; port mapping (UPnP, NAT-PMP or PCP) in either router, or IPv6, needs no luck",
	},
	CauseUnanswered: {
		name:   "no-answer",
		text:   "probes were sent to all addresses and none was answered: a firewall drops them, most likely",
		remedy: "let UDP to and from other hosts pass in the firewall of either side",
	},
	CauseTrying: {
		name:   "still-trying",
		text:   "the two are looking for each other at this moment",
		remedy: "wait a few seconds",
	},
}

func (c Cause) words() causeWords {
	if int(c) < len(causes) {
		return causes[c]
	}
	return causeWords{name: "unknown"}
}

// String returns a name for programs, such as "udp-blocked".
func (c Cause) String() string { return c.words().name }

// Text returns the cause in plain words.
func (c Cause) Text() string { return c.words().text }

// Remedy returns what the user can do about a cause, in plain words.
func (c Cause) Remedy() string { return c.words().remedy }

// MarshalText implements [encoding.TextMarshaler].
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Cause) UnmarshalText(b []byte) error {
	for k := range causes {
		if causes[k].name == string(b) {
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

// sharePublicAddress reports whether servers see both sides at one IPv4 address.
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
