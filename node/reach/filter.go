package reach

import (
	"net/netip"
	"slices"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Scope says from where an address can be reached, and so whether a server may
// make this node send to it.
type Scope uint8

// Scopes, from the narrowest.
const (
	ScopeNever         Scope = iota // no peer can have it
	ScopeLoopback                   // this machine
	ScopeLinkLocal                  // this link
	ScopePrivate                    // a network behind a NAT: RFC 1918, RFC 4193
	ScopeShared                     // a carrier's network behind its NAT: RFC 6598
	ScopeDocumentation              // laboratories: RFC 5737, RFC 3849, RFC 9637, RFC 2544
	ScopeGlobal
)

type scopedPrefix struct {
	prefix netip.Prefix
	scope  Scope
}

// specialPrefixes holds what is not global (IANA special-purpose address
// registries). Where prefixes overlap, the first one counts.
var specialPrefixes = func(list []scopedPrefix, text map[Scope][]string) []scopedPrefix {
	for s := ScopeNever; s < ScopeGlobal; s++ {
		for _, p := range text[s] {
			list = append(list, scopedPrefix{netip.MustParsePrefix(p), s})
		}
	}
	return list
}(nil, map[Scope][]string{
	ScopeNever: {
		"0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/128", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "fec0::/10", "ff00::/8",
	},
	ScopeLoopback:  {"127.0.0.0/8", "::1/128"},
	ScopeLinkLocal: {"169.254.0.0/16", "fe80::/10"},
	ScopePrivate:   {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
	ScopeShared:    {"100.64.0.0/10"},
	ScopeDocumentation: {
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15",
		"2001:db8::/32", "3fff::/20", "2001:2::/48",
	},
})

// Prefixes of IPv6 addresses that stand for an IPv4 address: a packet to them
// leaves some gateway as IPv4.
var (
	prefixNAT64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	prefix6to4   = netip.MustParsePrefix("2002::/16")    // RFC 3056
	prefixTeredo = netip.MustParsePrefix("2001::/32")    // RFC 4380
)

// ScopeOf returns the scope of an address. An IPv6 address that stands for an
// IPv4 address which is not global is nobody's.
func ScopeOf(ip netip.Addr) Scope {
	if !ip.IsValid() {
		return ScopeNever
	}
	ip = ip.WithZone("")
	if v4, ok := embedded4(ip); ok && ScopeOf(v4) != ScopeGlobal {
		return ScopeNever
	}
	for _, p := range specialPrefixes {
		if p.prefix.Contains(ip) {
			return p.scope
		}
	}
	return ScopeGlobal
}

func embedded4(ip netip.Addr) (v4 netip.Addr, ok bool) {
	if !ip.Is6() {
		return v4, false
	}
	b := ip.As16()
	switch {
	case prefixNAT64.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case prefix6to4.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:])), true
	case prefixTeredo.Contains(ip): // RFC 4380 §4: the client's address, inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	}
	return v4, false
}

// forbiddenPorts belong to services that answer, often with more than they were
// sent, whoever seems to ask. No NAT gives them to a node.
var forbiddenPorts = []uint16{
	0, 17, 19, 53, 69, 111, 123, 137, 138, 161, 389, 500, 1900, 3702, 5353, 5355, 11211,
}

// A filter says which candidates of one peer, told by one server, the node may
// probe. A server, or a peer through it, must not be able to make us send into a
// network in which the peer cannot be.
type filter struct {
	hosts    []Host
	observed Scope // of this node's address, as the server sees it
	sameNAT  bool  // peer and node share a public address
}

// filterFor returns the filter for a list of candidates that server i sent.
func (c *Client) filterFor(i int, list *wire.Candidates) filter {
	observed := c.servers[i].observed
	f := filter{hosts: c.hosts, observed: ScopeOf(observed.Addr())}
	for candidate := range list.All() {
		if candidate.Kind == wire.CandidateReflexive && candidate.Addr.Addr() == observed.Addr() {
			f.sameNAT = true
		}
	}
	return f
}

func (f *filter) allows(candidate wire.Candidate) bool {
	addr := candidate.Addr
	if slices.Contains(forbiddenPorts, addr.Port()) || f.isSelf(addr) {
		return false
	}
	switch s := ScopeOf(addr.Addr()); s {
	case ScopeGlobal:
		return true
	case ScopeLoopback:
		return f.observed == ScopeLoopback
	case ScopeLinkLocal:
		return f.onLink(addr.Addr())
	case ScopePrivate, ScopeShared:
		// A server inside a private network sees addresses of that network.
		inside := candidate.Kind == wire.CandidateReflexive && f.observed == s
		return inside || f.sameNAT || f.onLink(addr.Addr())
	case ScopeDocumentation:
		return f.observed == s || f.onLink(addr.Addr())
	}
	return false
}

func (f *filter) isSelf(a netip.AddrPort) bool {
	return slices.ContainsFunc(f.hosts, func(h Host) bool { return h.Addr == a })
}

func (f *filter) onLink(ip netip.Addr) bool {
	return slices.ContainsFunc(f.hosts, func(h Host) bool { return h.OnLink.IsValid() && h.OnLink.Contains(ip) })
}

// plausibleReflexive reports whether a server at remote can have seen the node
// at addr: an address that only a narrower network can route means that the
// answer is wrong, or was made wrong on the way. A node seen at an impossible
// address would tell it to peers.
func plausibleReflexive(addr, remote netip.AddrPort) bool {
	if addr.Port() == 0 || addr.Addr().Is4In6() {
		return false
	}
	switch s := ScopeOf(addr.Addr()); s {
	case ScopeGlobal:
		return true
	case ScopeNever, ScopeLinkLocal:
		return false
	case ScopeLoopback:
		return ScopeOf(remote.Addr()) == s
	default:
		return remote.IsValid() && ScopeOf(remote.Addr()) != ScopeGlobal
	}
}
