package rendezvous

import (
	"net/netip"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/wire"
)

// acceptable returns those candidates that a client seen at observed may tell
// its peers: they will send to them, so a client must not be able to name a
// stranger. It may name its own address with any port; an IPv6 address of its
// own network; and addresses that only exist inside private networks, where the
// peer decides whether it is in the same one.
func acceptable(list *wire.Candidates, observed netip.Addr) (kept wire.Candidates) {
	for candidate := range list.All() {
		if mayClaim(candidate.Addr.Addr(), observed) {
			kept.Add(candidate)
		}
	}
	return kept
}

func mayClaim(ip, observed netip.Addr) bool {
	if observed.IsLoopback() {
		return true // a process on the server's own machine
	}
	switch reach.ScopeOf(ip) {
	case reach.ScopePrivate, reach.ScopeShared, reach.ScopeLinkLocal:
		return true
	case reach.ScopeGlobal, reach.ScopeDocumentation:
		return ip == observed || ip.Is6() && observed.Is6() && network(ip, 64).Contains(observed)
	}
	return false
}

// candidatesFor returns what peer is told of c: where the server sees it, and
// then what it says of itself. Addresses of this machine are told on this
// machine only.
func candidatesFor(peer, c *client) (list wire.Candidates) {
	local := peer.addr.Addr().IsLoopback()
	add := func(candidate wire.Candidate) {
		if local || !candidate.Addr.Addr().IsLoopback() {
			list.Add(candidate)
		}
	}
	add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: c.addr})
	for candidate := range c.hosts.All() {
		add(candidate)
	}
	return list
}
