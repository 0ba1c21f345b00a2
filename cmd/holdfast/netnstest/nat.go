package netnstest

import (
	"fmt"
	"net/netip"
)

// A NAT says how a router translates, in the words of RFC 4787. Every kind drops
// unsolicited packets to the router itself, as home routers do.
type NAT int

// NATs by what they let in, all with endpoint-independent mapping, and the one
// that gives each destination a port of its own at random.
const (
	EndpointIndependentFiltering NAT = iota
	AddressDependentFiltering
	AddressAndPortDependentFiltering
	AddressAndPortDependentMapping // and filtering
)

func (n NAT) String() string {
	return [...]string{"EIM+EIF", "EIM+ADF", "EIM+APDF", "APDM"}[n]
}

// Port is the local UDP port whose external port a router can change: programs
// that are to be rebound listen on it. Other ports keep their number outside.
const Port = 7000

// table is the nftables table of a router.
const table = "nat_under_test"

// rules returns the nftables rules of a router whose public address is wan and
// which maps Port to the external port.
//
// The map cone holds, for each external port, the inside address and port it
// belongs to; the kernel's own source NAT would filter by address and port. The
// set sent holds what each inside socket has sent to, for filtering by address.
func (n NAT) rules(wan netip.Addr, port uint16) string {
	return fmt.Sprintf(`flush ruleset
table ip %s {
	map cone { type inet_service : ipv4_addr . inet_service; flags dynamic; size 4096; }
	set sent { type ipv4_addr . inet_service . ipv4_addr; flags dynamic; size 4096; }
	chain pre {
		type nat hook prerouting priority dstnat
		%s
	}
	chain post {
		type nat hook postrouting priority srcnat
		%s
	}
	chain forward {
		type filter hook forward priority filter
		iifname "wan" oifname "wan" drop
		%s
	}
	chain input {
		type filter hook input priority filter
		iifname "wan" ct state new drop
	}
}
`, table, n.destination(wan), n.source(wan, port), n.filter())
}

// destination names the public address: what still comes for the one before a
// Renumber must not make flows that translate back to it.
func (n NAT) destination(wan netip.Addr) string {
	if n == AddressAndPortDependentMapping {
		return "" // the chain must be there all the same
	}
	return fmt.Sprintf(`iifname "wan" ip daddr %v meta l4proto udp dnat ip to udp dport map @cone`, wan)
}

func (n NAT) source(wan netip.Addr, port uint16) string {
	if n == AddressAndPortDependentMapping {
		return fmt.Sprintf(`oifname "wan" meta l4proto udp snat to %v:1024-65535 fully-random`, wan)
	}
	return fmt.Sprintf(`oifname "wan" udp sport %d update @cone { %d : ip saddr . udp sport } snat to %v:%d
		oifname "wan" meta l4proto udp update @cone { udp sport : ip saddr . udp sport } snat to %v`,
		Port, port, wan, port, wan)
}

func (n NAT) filter() string {
	switch n {
	case EndpointIndependentFiltering:
		return `accept`
	case AddressDependentFiltering:
		return `oifname "wan" meta l4proto udp update @sent { ip saddr . udp sport . ip daddr } accept
		iifname "wan" ct state established accept
		iifname "wan" ip daddr . udp dport . ip saddr @sent accept
		drop`
	default:
		return `oifname "wan" accept
		iifname "wan" ct state established accept
		drop`
	}
}
