package lab

import (
	"fmt"
	"net/netip"

	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A Kind is a way for a host to be connected to the Internet.
type Kind int

// Kinds, from open to closed.
const (
	Public            Kind = iota // a public address
	FullCone                      // endpoint-independent mapping and filtering
	AddressRestricted             // the same mapping, address-dependent filtering
	PortRestricted                // the same mapping, address-and-port-dependent filtering: most homes
	Linux                         // the same, with Linux' input open: poison-prone
	Sequential                    // address-and-port-dependent mapping, ports counted up
	PortBlock                     // the same, ports at random in a block of 256: a carrier
	Random                        // the same, ports at random
	CarrierFullCone               // a home router as above behind a carrier's NAT
	CarrierAddressRestricted
	CarrierPortRestricted
	Firewall     // a public address behind a stateful firewall
	IPv6Firewall // IPv6 alone, behind a stateful firewall
	UDPBlocked   // port-restricted, and no UDP passes
	kinds        // how many there are
)

var kindNames = [...]string{
	"public", "full-cone", "addr-restricted", "port-restricted", "linux", "sequential", "port-block", "random",
	"cgn+full-cone", "cgn+addr-restricted", "cgn+port-restricted", "firewall", "ipv6-firewall", "udp-blocked",
}

// String returns a name such as "port-restricted".
func (k Kind) String() string {
	if k >= 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Kinds returns all kinds.
func Kinds() (all []Kind) {
	for k := range kinds {
		all = append(all, k)
	}
	return all
}

// ParseKind returns the kind of a name.
func ParseKind(name string) (Kind, error) {
	for k := range kinds {
		if kindNames[k] == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("lab: no kind of network is called %q", name)
}

// natOf is the NAT next to a host of the kind.
func natOf(k Kind) wiretest.NATConfig {
	apd, hard := wiretest.AddressAndPortDependent, wiretest.NATConfig{
		Mapping: wiretest.AddressAndPortDependent, Filtering: wiretest.AddressAndPortDependent,
	}
	switch k {
	case AddressRestricted, CarrierAddressRestricted:
		return wiretest.NATConfig{Filtering: wiretest.AddressDependent}
	case PortRestricted, CarrierPortRestricted, Firewall, IPv6Firewall:
		return wiretest.NATConfig{Filtering: apd}
	case Linux:
		return wiretest.LinuxNAT(true)
	case Sequential:
		hard.Ports = wiretest.SequentialPort
		return hard
	case PortBlock:
		hard.Ports = wiretest.BlockPort
		return hard
	case Random:
		hard.Ports = wiretest.RandomPort
		return hard
	case UDPBlocked:
		return wiretest.NATConfig{Filtering: apd, BlockUDP: true}
	}
	return wiretest.NATConfig{}
}

// place puts host number n, of a kind, on the network.
func place(net *nodetest.Net, k Kind, n byte, link wiretest.Link) Place {
	return placeBehind(net, k, natOf(k), n, link)
}

func placeBehind(net *nodetest.Net, k Kind, nat wiretest.NATConfig, n byte, link wiretest.Link) Place {
	name := fmt.Sprintf("%c", 'a'+n-1)
	public, private := netip.AddrFrom4([4]byte{203, 0, 113, n}), netip.AddrFrom4([4]byte{192, 168, n, 2})
	addr := private
	p := Place{Kind: k}
	switch k {
	case Public:
		addr = public
	case Firewall:
		addr = public
		p.Router = net.NAT(name+"'s firewall", nil, nat, netip.Addr{})
	case IPv6Firewall:
		addr = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, n, 15: 2})
		p.Router = net.NAT(name+"'s firewall", nil, nat, netip.Addr{})
	case CarrierFullCone, CarrierAddressRestricted, CarrierPortRestricted:
		carrier := net.NAT(name+"'s carrier", nil, wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort}, public)
		p.Router = net.NAT(name+"'s router", carrier, nat, netip.AddrFrom4([4]byte{100, 64, n, 2}))
	default:
		p.Router = net.NAT(name+"'s router", nil, nat, public)
	}
	p.Host = net.Host(name, p.Router, addr)
	net.Do(func(*wiretest.Net) { p.Host.SetLink(link) })
	return p
}
