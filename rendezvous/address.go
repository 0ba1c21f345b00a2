package rendezvous

import (
	"net/netip"
	"slices"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/wire"
)

// candidatesFor returns what peer is told of c: what it says of itself, as far as
// that is plausible, since it may have opened a socket for the purpose, and then
// where the server sees it. Of a node without UDP, and of one that keeps its
// addresses to itself, nobody is told anything. Addresses of this machine are told
// on this machine only.
func candidatesFor(peer, c *client, nat *wire.NAT, claimed *wire.Candidates) (list wire.Candidates) {
	if !c.udp || nat.Flags&(wire.NATRelayOnly|wire.NATNoUDP) != 0 {
		return list
	}
	local := peer.addr.Addr().IsLoopback()
	add := func(candidate wire.Candidate) {
		if local || !candidate.Addr.Addr().IsLoopback() {
			list.Add(candidate)
		}
	}
	for candidate := range claimed.All() {
		if list.Len() < wire.MaxCandidates-len(c.observed()) && mayClaim(candidate.Addr.Addr(), c.observed()) {
			add(candidate)
		}
	}
	for _, a := range c.observed() {
		add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: a})
	}
	return list
}

// observed returns where the server sees the client: the address of its session,
// and one of the other family if the client has proved it on another path.
func (c *client) observed() []netip.AddrPort {
	if !c.other.IsValid() {
		return []netip.AddrPort{c.addr}
	}
	return []netip.AddrPort{c.addr, c.other}
}

// mayClaim reports whether a client that is seen at the observed addresses may
// tell its peers of ip: they will send to it, so a client must not be able to
// name a stranger. It may name its own address with any port; an IPv6 address of
// its own network; and addresses that only exist inside private networks, where
// the peer decides whether it is in the same one.
func mayClaim(ip netip.Addr, observed []netip.AddrPort) bool {
	switch reach.ScopeOf(ip) {
	case reach.ScopePrivate, reach.ScopeShared, reach.ScopeLinkLocal:
		return true
	}
	return slices.ContainsFunc(observed, func(o netip.AddrPort) bool { return hasSeen(o.Addr(), ip) })
}

func hasSeen(observed, ip netip.Addr) bool {
	if observed.IsLoopback() {
		return true // a process on the server's own machine
	}
	switch reach.ScopeOf(ip) {
	case reach.ScopeGlobal, reach.ScopeDocumentation:
		return ip == observed || ip.Is6() && observed.Is6() && network(ip, 64).Contains(observed)
	}
	return false
}
