// Package portmap asks the gateway to map a UDP port of this machine to one of
// its public address, by PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP-IGD. Peers
// can then send to the mapped address unasked: the mapping filters by nothing.
//
//	Start, Moved ──> search ──────── granted ───────> hold ──┐ check every 10 min,
//	                  ^  │                             │     │ renew at half of the lease
//	                  │  └─ nothing: rest 1, 5, 30 min │  <──┘
//	                  └────────────────────────────────┘ refused, or expired
//
// A search tries to reach all three protocols at once, and then asks one at a
// time for the mapping, in the order PCP, NAT-PMP, UPnP: gateways tend to keep a
// single table behind all their protocols, so that two mappings of one port
// stand in each other's way. It is over 250 ms after it began; what is granted
// later, up to a second, still counts, since late is better than never.
//
// # What a gateway cannot do
//
// Port mapping has no authentication, so the answers are believed as little as
// possible: only from the gateway's own address and port, to a request that is
// open, about our own port, and with an external address that a gateway can have.
// UPnP names a URL to talk to; it must be on the gateway or at a private address
// of our link, and everything read from there is limited. A wrong mapping costs
// no more than a candidate at which nobody answers: sessions authenticate peers
// whatever the address.
package portmap
