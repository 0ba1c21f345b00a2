package netnstest

import (
	"fmt"
	"net/netip"
	"strings"
)

// A NAT says what a router does to packets, in the words of RFC 4787.
type NAT struct {
	Mapping      Mapping
	Filtering    Filtering
	AcceptsInput bool // unsolicited packets to the router itself become flows, which later ones must not collide with
	DropsUDP     bool // of the hosts behind it; TCP passes
	Hairpin      bool // hosts behind it reach each other by the public address; with Cone only
}

// A Mapping says which external port a flow gets. TCP keeps its port with all.
type Mapping int

// Mappings. The first four are endpoint-independent.
const (
	Untranslated Mapping = iota // the host has the public address
	Cone                        // a table of the router's own: Port of each host has one external port, others keep their number
	Kept                        // conntrack's: the number is kept unless it is taken
	Pool                        // conntrack's, with ports of poolFirst to poolLast
	Sequential                  // each flow gets the next port: the step is 1
	Block                       // each flow gets a random port of blockFirst to blockLast
	Random                      // each flow gets a random port
)

// A Filtering says which packets a mapping lets in.
type Filtering int

// Filterings. Only Cone can have another than ByAddressAndPort.
const (
	Anybody          Filtering = iota // EIF
	ByAddress                         // ADF: from addresses that the host has sent to
	ByAddressAndPort                  // APDF: from addresses and ports that the host has sent to
)

// Port is the local UDP port whose external port a router with Cone can change:
// programs that are to be rebound listen on it. Other ports keep their number
// outside, so two hosts behind one router should not have one in common.
const Port = 7000

// External ports.
const (
	firstPort      = 50000 // of Port on the first host behind a router
	portsPerHost   = 1000  // between those of two hosts
	poolFirst      = 30000
	poolLast       = 34095
	blockFirst     = 40192
	blockLast      = blockFirst + 255
	sequenceFirst  = 20000
	sequenceLength = 512
	hostsMax       = 4 // behind one router
)

// table is the nftables table of a router.
const table = "nat_under_test"

// A translation is what the rules of a router depend on besides its NAT.
type translation struct {
	wan  netip.Addr
	host [hostsMax]netip.Addr // inside
	life uint16               // how often the router has been rebound: each life has other ports
}

// rules returns the nftables rules of a router.
//
// The map cone holds, for each external port, the inside address and port it
// belongs to; the kernel's own source NAT would filter by address and port. The
// set sent holds what each inside socket has sent to, for filtering by address.
//
// Where the kernel filters what a bridge carries, two hosts that talk on their
// local network go through forward too.
func (n NAT) rules(t translation) string {
	var post []string
	for _, out := range n.outward() {
		for _, rule := range n.source(t) {
			post = append(post, out+" "+rule)
		}
	}
	return fmt.Sprintf(`table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	map cone { type inet_service : ipv4_addr . inet_service; flags dynamic; size 4096; }
	set sent { type ipv4_addr . inet_service . ipv4_addr; flags dynamic; size 4096; }
	chain pre {
		type nat hook prerouting priority dstnat
		%[2]s
	}
	chain post {
		type nat hook postrouting priority srcnat
		%[3]s
	}
	chain forward {
		type filter hook forward priority filter
		iifname "wan" oifname "wan" drop
		iifname "lan" oifname "lan" accept
		%[4]s
	}
	chain input {
		type filter hook input priority filter
		%[5]s
	}
}
`, table, n.destination(t.wan), strings.Join(post, "\n\t\t"), n.filter(), n.input())
}

// destination names the public address: what still comes for the one before a
// Renumber must not make flows that translate back to it.
func (n NAT) destination(wan netip.Addr) string {
	if n.Mapping != Cone {
		return "" // the chain must be there all the same
	}
	from := `iifname "wan"`
	if n.Hairpin {
		from = `iifname { "wan", "lan" }`
	}
	return fmt.Sprintf(`%s ip daddr %v meta l4proto udp dnat ip to udp dport map @cone`, from, wan)
}

// outward returns what tells the packets whose source is translated.
func (n NAT) outward() []string {
	if n.Hairpin {
		return []string{`oifname "wan"`, `oifname "lan" ct status dnat`}
	}
	return []string{`oifname "wan"`}
}

// source returns how the source is translated: the first rule that matches does.
func (n NAT) source(t translation) []string {
	var udp []string
	switch n.Mapping {
	case Untranslated:
		return nil
	case Cone:
		for i, host := range t.host {
			port := firstPort + portsPerHost*i + int(t.life)
			udp = append(udp, fmt.Sprintf(`ip saddr %v udp sport %d update @cone { %d : ip saddr . udp sport } snat ip to %v:%d`, host, Port, port, t.wan, port))
		}
		udp = append(udp, fmt.Sprintf(`meta l4proto udp update @cone { udp sport : ip saddr . udp sport } snat ip to %v`, t.wan))
	case Kept:
		if t.life > 0 { // a port that was kept would be the same in each life
			first := firstPort + 100*int(t.life)
			udp = append(udp, fmt.Sprintf(`meta l4proto udp snat ip to %v:%d-%d`, t.wan, first, first+99))
		}
	case Pool:
		udp = append(udp, fmt.Sprintf(`meta l4proto udp snat ip to %v:%d-%d`, t.wan, poolFirst, poolLast))
	case Sequential:
		udp = append(udp, fmt.Sprintf(`meta l4proto udp snat ip to %v:numgen inc mod %d map { %s }`, t.wan, sequenceLength, sequence(t.life)))
	case Block:
		udp = append(udp, fmt.Sprintf(`meta l4proto udp snat ip to %v:%d-%d fully-random`, t.wan, blockFirst, blockLast))
	case Random:
		udp = append(udp, fmt.Sprintf(`meta l4proto udp snat ip to %v:1024-65535 fully-random`, t.wan))
	}
	return append(udp, fmt.Sprintf(`meta nfproto ipv4 snat ip to %v`, t.wan))
}

// sequence returns the elements of a map from a counter to ports. The counter as
// the port would go by steps of 256: the kernel has the one in its own byte order
// and takes the other for one in the network's.
func sequence(life uint16) string {
	first := sequenceFirst + int(life%32)*sequenceLength
	var b strings.Builder
	for i := range sequenceLength {
		fmt.Fprintf(&b, "%d : %d, ", i, first+i)
	}
	return b.String()
}

func (n NAT) filter() string {
	var rules []string
	if n.DropsUDP {
		rules = append(rules, `meta l4proto udp drop`)
	}
	switch n.Filtering {
	case Anybody:
		rules = append(rules, `accept`)
	case ByAddress:
		rules = append(rules,
			`oifname "wan" meta l4proto udp update @sent { ip saddr . udp sport . ip daddr } accept`,
			`oifname "wan" accept`,
			`ct state established,related accept`,
			`iifname "wan" ip daddr . udp dport . ip saddr @sent accept`,
			`drop`)
	case ByAddressAndPort:
		rules = append(rules, `oifname "wan" accept`, `ct state established,related accept`, `drop`)
	}
	return strings.Join(rules, "\n\t\t")
}

func (n NAT) input() string {
	if n.AcceptsInput {
		return ""
	}
	return `iifname "wan" ct state new drop`
}
