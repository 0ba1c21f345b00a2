package wiretest

import (
	"net/netip"
	"time"
)

// Poisoning is what Linux' connection tracking does to a NAT whose own input is
// open. A datagram to the external address that belongs to no flow is taken for
// one to the NAT itself, and accepted: it becomes a flow of its own, which owns
// the pair of endpoints for as long as it is refreshed.
//
//	inside           NAT             server      peer
//	  |--:6000--------|--:6000-------->|          |
//	  |               |<-------------- : ---------|   too early: claims (:6000, peer) for 30 s
//	  |--:6000--------|--:29651------- : -------->|   so the flow to the peer needs another port
//	  |--:6000--------|--:29651------- : ----------->  as does any new flow now: the newest mapping is reused
//	  |--:6000--------|--:6000-------->|          |   but the old flow keeps its own, and sees no change
//	  |               |<-------------- : ---------|   to :6000, still refused: claims for another 30 s
//
// A NAT that drops or rejects new input has no such flows. Neither has the
// filter before addresses that are not translated: they are not the NAT's own.

// claimLifetime is that of an unreplied UDP flow in Linux' connection tracking.
const claimLifetime = 30 * time.Second

// claim lets a refused datagram take the pair of endpoints it came by.
func (b *NAT) claim(now time.Duration, local, remote netip.AddrPort) {
	if b.translates(local.Addr()) {
		b.poison[tuple{local, remote}] = now + claimLifetime
	}
}

func (b *NAT) isPoisoned(now time.Duration, external, remote netip.AddrPort) bool {
	return now < b.poison[tuple{external, remote}]
}
