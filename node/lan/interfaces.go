package lan

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/seed-67dce94e/holdfast/node/netmon"
)

// interfacesMax is how many interfaces are used: the systems allow a socket about
// 20 groups, and a machine full of containers has hundreds of interfaces.
const interfacesMax = 8

// An iface is an interface whose link may have peers on it.
type iface struct {
	net.Interface
	prefixes []netip.Prefix // those of its addresses
}

// interfaces returns those worth using, the most likely first.
func interfaces() ([]iface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list []iface
	for _, ifi := range all {
		const wanted = net.FlagUp | net.FlagMulticast
		if ifi.Flags&(wanted|net.FlagPointToPoint) != wanted {
			continue
		}
		if prefixes := prefixes(ifi); len(prefixes) > 0 {
			list = append(list, iface{ifi, prefixes})
		}
	}
	slices.SortFunc(list, func(a, b iface) int {
		return cmp.Or(cmp.Compare(b.rank(), a.rank()), cmp.Compare(a.Index, b.Index))
	})
	return list[:min(len(list), interfacesMax)], nil
}

func prefixes(ifi net.Interface) (list []netip.Prefix) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p := netmon.Prefix(a); p.IsValid() {
			list = append(list, p.Masked())
		}
	}
	return list
}

// rank is higher for interfaces that more likely lead to other machines.
func (i iface) rank() int {
	switch {
	case i.Flags&net.FlagLoopback != 0:
		return 0
	case i.Flags&net.FlagRunning == 0:
		return 1
	case !slices.ContainsFunc(i.prefixes, func(p netip.Prefix) bool { return p.Addr().IsGlobalUnicast() }):
		return 2 // link-local only: often one end of a container's cable
	}
	return 3
}

func (i iface) has4() bool {
	return slices.ContainsFunc(i.prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() })
}

func (i iface) has6() bool {
	return slices.ContainsFunc(i.prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// onLink reports whether an address belongs to the interface's link.
func (i iface) onLink(a netip.Addr) bool {
	a = a.WithZone("")
	return a.IsLinkLocalUnicast() ||
		slices.ContainsFunc(i.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
