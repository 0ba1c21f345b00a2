package netmon

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// A Snapshot is what a node can send from at one moment.
type Snapshot struct {
	Interfaces []Interface // those that are up and have an address, by index
	Source4    netip.Addr  // where datagrams by the default IPv4 route leave from; invalid if there is none
	Source6    netip.Addr  // the same for IPv6
}

// An Interface is up and has at least one address.
type Interface struct {
	Index int
	Name  string
	Addrs []netip.Prefix // global and unique local addresses with the length of their prefix, sorted
}

// Up reports whether there is any address to send from.
func (s Snapshot) Up() bool {
	return len(s.Interfaces) > 0 || s.Source4.IsValid() || s.Source6.IsValid()
}

// Equal reports whether nothing changed from s to o.
func (s Snapshot) Equal(o Snapshot) bool {
	return s.Source4 == o.Source4 && s.Source6 == o.Source6 &&
		slices.EqualFunc(s.Interfaces, o.Interfaces, Interface.equal)
}

func (i Interface) equal(o Interface) bool {
	return i.Index == o.Index && i.Name == o.Name && slices.Equal(i.Addrs, o.Addrs)
}

// opens reports whether s has a way out that before had not: an address where
// there was none, or another source address of a default route.
func (s Snapshot) opens(before Snapshot) bool {
	return s.Up() && !before.Up() ||
		s.Source4.IsValid() && s.Source4 != before.Source4 ||
		s.Source6.IsValid() && s.Source6 != before.Source6
}

// Take returns the present state of the machine's network. What the system does
// not tell, as some mobile ones do not, is missing from it.
func Take() Snapshot {
	return Snapshot{
		Interfaces: interfaces(),
		Source4:    leavesFrom("udp4", "192.0.2.1:9"),
		Source6:    leavesFrom("udp6", "[2001:db8::1]:9"),
	}
}

func interfaces() (list []Interface) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, ifi := range all {
		const working = net.FlagUp | net.FlagRunning
		if ifi.Flags&working != working || ifi.Flags&net.FlagLoopback != 0 {
			continue
		}
		if addrs := addresses(ifi); len(addrs) > 0 {
			list = append(list, Interface{Index: ifi.Index, Name: ifi.Name, Addrs: addrs})
		}
	}
	slices.SortFunc(list, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	return list
}

// addresses returns those of an interface that a node elsewhere could be reached
// from.
func addresses(ifi net.Interface) (list []netip.Prefix) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p := Prefix(a); p.IsValid() && p.Addr().IsGlobalUnicast() {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// Prefix returns an address of an interface, as package net has it, with the length
// of the prefix of its link. It is invalid if a is nothing of that kind.
func Prefix(a net.Addr) netip.Prefix {
	ipNet, ok := a.(*net.IPNet)
	if !ok {
		return netip.Prefix{}
	}
	ip, ok := netip.AddrFromSlice(ipNet.IP)
	ones, bits := ipNet.Mask.Size()
	if ip = ip.Unmap(); !ok || bits != ip.BitLen() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(ip, ones)
}

// leavesFrom asks the system which address a datagram to a remote address would
// leave from. Connecting a UDP socket looks up the route and sends nothing; the
// remote addresses are those set aside for documentation (RFC 5737, RFC 3849).
func leavesFrom(network, remote string) netip.Addr {
	conn, err := net.Dial(network, remote)
	if err != nil {
		return netip.Addr{} // no route
	}
	defer conn.Close()
	a := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if !a.IsGlobalUnicast() {
		return netip.Addr{}
	}
	return a
}
