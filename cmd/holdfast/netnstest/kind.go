package netnstest

// A Kind says how a host is connected to the Internet. Kinds are comparable.
type Kind struct {
	Name    string
	Home    *NAT // of the router that the host is behind; nil if it has a public address itself
	Carrier *NAT // of the router that Home is behind; nil if Home has a public address
	IPv6    bool // the public address is an IPv6 address, and the host has no other
}

func (k Kind) String() string { return k.Name }

// What the kinds are made of. All but poisonable drop unsolicited packets to the
// router itself, as home routers do.
var (
	eif        = &NAT{Mapping: Cone, Filtering: Anybody}
	adf        = &NAT{Mapping: Cone, Filtering: ByAddress}
	apdf       = &NAT{Mapping: Cone, Filtering: ByAddressAndPort}
	hairpin    = &NAT{Mapping: Cone, Filtering: ByAddressAndPort, Hairpin: true}
	poisonable = &NAT{Mapping: Kept, Filtering: ByAddressAndPort, AcceptsInput: true}
	sequential = &NAT{Mapping: Sequential, Filtering: ByAddressAndPort}
	block      = &NAT{Mapping: Block, Filtering: ByAddressAndPort}
	random     = &NAT{Mapping: Random, Filtering: ByAddressAndPort}
	pool       = &NAT{Mapping: Pool, Filtering: ByAddressAndPort}
	firewall   = &NAT{Mapping: Untranslated, Filtering: ByAddressAndPort}
	tcpOnly    = &NAT{Mapping: Cone, Filtering: ByAddressAndPort, DropsUDP: true}
)

// The kinds.
var (
	Public            = Kind{Name: "public"}
	FullCone          = Kind{Name: "full-cone", Home: eif}
	AddrRestricted    = Kind{Name: "addr-restricted", Home: adf}
	PortRestricted    = Kind{Name: "port-restricted", Home: apdf}
	Linux             = Kind{Name: "linux", Home: poisonable} // an unsolicited packet that is first makes it remap the flow
	SequentialPorts   = Kind{Name: "sequential", Home: sequential}
	PortBlock         = Kind{Name: "port-block", Home: block}
	RandomPorts       = Kind{Name: "random", Home: random}
	CGNFullCone       = Kind{Name: "cgn+full-cone", Home: eif, Carrier: pool}
	CGNAddrRestricted = Kind{Name: "cgn+addr-restricted", Home: adf, Carrier: pool}
	CGNPortRestricted = Kind{Name: "cgn+port-restricted", Home: apdf, Carrier: pool}
	Firewall          = Kind{Name: "firewall", Home: firewall}
	IPv6Firewall      = Kind{Name: "ipv6-firewall", Home: firewall, IPv6: true}
	UDPBlocked        = Kind{Name: "udp-blocked", Home: tcpOnly}

	// Hairpin is PortRestricted whose hosts reach each other by its public
	// address too. It is not one of Kinds: from outside nothing tells the two
	// apart.
	Hairpin = Kind{Name: "hairpin", Home: hairpin}
)

// Kinds holds every kind, in the order of a matrix.
var Kinds = []Kind{
	Public, FullCone, AddrRestricted, PortRestricted, Linux, SequentialPorts, PortBlock, RandomPorts,
	CGNFullCone, CGNAddrRestricted, CGNPortRestricted, Firewall, IPv6Firewall, UDPBlocked,
}
