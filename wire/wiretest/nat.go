package wiretest

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"time"
)

// A Behavior is how much of the remote endpoint a NAT looks at, when it maps
// (RFC 4787 §4.1) or filters (§5).
type Behavior uint8

// Behaviours, from the most to the least open.
const (
	EndpointIndependent Behavior = iota
	AddressDependent
	AddressAndPortDependent
)

func (b Behavior) String() string {
	return [...]string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}[b]
}

// key reduces a remote endpoint to what the behaviour looks at.
func (b Behavior) key(remote netip.AddrPort) netip.AddrPort {
	switch b {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	}
	return remote
}

// NATConfig describes a NAT. The zero value maps and filters without looking at
// the remote endpoint, and preserves ports: a "full cone".
type NATConfig struct {
	Mapping   Behavior
	Filtering Behavior

	Ports     PortAllocation
	PortStep  int // of SequentialPort, may be negative; if zero, 1
	PortBlock int // size of the blocks of BlockPort; if zero, 256

	Lifetime       time.Duration // of a mapping since the last datagram out; if zero, 2 min (RFC 4787 REQ-5); if negative, for ever
	Unreplied      time.Duration // the same, until the first datagram comes in; if zero, Lifetime
	InboundRefresh bool          // datagrams in count as datagrams out do (RFC 4787 REQ-6)
	MaxAge         time.Duration // of a mapping, whatever passes; if zero, no limit
	MaxMappings    int           // at a time; if zero, no limit
	EvictOldest    bool          // a NAT with MaxMappings gives up the one longest unused, instead of refusing another

	Hairpin  bool // inside hosts reach each other by their external endpoints (RFC 4787 REQ-9)
	BlockUDP bool // datagrams pass neither way; streams do
	ICMP     bool // senders are told what is refused

	// Poisoned makes the NAT behave as Linux does with its own input open: see
	// poison.go.
	Poisoned bool
}

// LinuxNAT describes the NAT of a Linux router that masquerades and has the
// kernel's default timeouts. Distributions for routers close its input; virtual
// machine hosts, containers and home-made gateways often leave it open.
func LinuxNAT(inputOpen bool) NATConfig {
	return NATConfig{
		Filtering: AddressAndPortDependent,
		Lifetime:  120 * time.Second, Unreplied: 30 * time.Second, InboundRefresh: true,
		Poisoned: inputOpen,
	}
}

// A NAT translates between the network inside it and the one it is in. Addresses
// of a family of which it has no external address pass unchanged, but are still
// filtered; a NAT without any external address is thus a firewall.
type NAT struct {
	Name string
	Up   *Pipe // from the NAT outwards
	Down *Pipe // to the NAT from outside

	net      *Net
	behind   *NAT
	cfg      NATConfig
	external netip.Addr
	rng      *rand.Rand
	bootedAt time.Duration // nothing passes before
	lives    int           // how often the mappings were forgotten

	table
	nextPort uint16
	blocks   map[netip.Addr]uint16   // first port of the block of an inside host
	poison   map[tuple]time.Duration // external and remote endpoint; until when
	retired  map[netip.AddrPort]bool // external endpoints lost in the last Rebind, not given out again
}

// NAT adds a NAT with an external address, behind another NAT or, if behind is
// nil, on the internet. Without a valid address it is a firewall.
func (n *Net) NAT(name string, behind *NAT, cfg NATConfig, external netip.Addr) *NAT {
	cfg.Lifetime = cmp.Or(cfg.Lifetime, 2*time.Minute)
	cfg.Unreplied = cmp.Or(cfg.Unreplied, cfg.Lifetime)
	cfg.PortStep = cmp.Or(cfg.PortStep, 1)
	cfg.PortBlock = cmp.Or(cfg.PortBlock, 256)
	b := &NAT{Name: name, net: n, behind: behind, cfg: cfg, external: external}
	b.Up, b.Down = n.pipe(name+" up"), n.pipe(name+" down")
	b.rng = b.Up.rng
	b.nextPort = b.randomPort()
	b.clear()
	if external.IsValid() {
		n.route(behind, external, b)
	}
	return b
}

// Firewall adds a box that translates nothing and lets in only what answers a
// datagram from inside.
func (n *Net) Firewall(name string, behind *NAT) *NAT {
	return n.NAT(name, behind, NATConfig{Filtering: AddressAndPortDependent}, netip.Addr{})
}

// SetLink gives both directions of the NAT's outer wire the same properties.
func (b *NAT) SetLink(l Link) { b.Up.Link, b.Down.Link = l, l }

// External returns the external address.
func (b *NAT) External() netip.Addr { return b.external }

// Rebind forgets all mappings, as a NAT does that restarts or runs out of
// memory. New mappings have other external ports than the forgotten ones, even
// where ports are preserved.
func (b *NAT) Rebind() {
	lost := b.byExternal
	b.clear()
	for external := range lost {
		if b.translates(external.Addr()) {
			b.retired[external] = true
		}
	}
}

// Renumber gives the NAT another external address and forgets all mappings.
func (b *NAT) Renumber(external netip.Addr) {
	b.net.unroute(b.behind, b.external, b)
	b.external = external
	b.net.route(b.behind, external, b)
	b.clear()
}

// Reboot takes the NAT out of service for d. It comes back without mappings and
// with another external address, as a home router does whose provider gives it
// a new one.
func (b *NAT) Reboot(now, d time.Duration, external netip.Addr) {
	b.Renumber(external)
	b.bootedAt = now + d
}

func (b *NAT) clear() {
	b.lives++
	b.table = newTable()
	b.blocks = make(map[netip.Addr]uint16)
	b.poison = make(map[tuple]time.Duration)
	b.retired = make(map[netip.AddrPort]bool)
}

func (b *NAT) translates(a netip.Addr) bool {
	return b.external.IsValid() && b.external.Is4() == a.Is4()
}

// fromInside handles a datagram of an inside host.
func (b *NAT) fromInside(now time.Duration, f *flight) {
	if _, local := b.net.routes[place{b, f.to.Addr()}]; local {
		b.net.descend(now, b, f)
		return
	}
	if !b.forwards(now, f) {
		return
	}
	if f.refusal {
		b.refusalOut(now, f)
		return
	}
	m, fate := b.outbound(now, f.from, f.to)
	if m == nil {
		b.net.end(now, f, fate, b.Name)
		return
	}
	f.from = m.external
	if f.to.Addr() != b.external {
		b.net.transmit(now, b.Up, f, hop{up: true, at: b.behind})
		return
	}
	if !b.cfg.Hairpin {
		b.net.end(now, f, NoHairpin, b.Name)
		return
	}
	b.inbound(now, f)
}

// receive handles a datagram from outside.
func (b *NAT) receive(now time.Duration, f *flight) {
	if !b.forwards(now, f) {
		return
	}
	if f.refusal {
		b.refusalIn(now, f)
		return
	}
	b.inbound(now, f)
}

// forwards reports whether the NAT is up and willing, and the datagram not too
// old, to pass at all. It is before the translation: what expires here maps
// nothing.
func (b *NAT) forwards(now time.Duration, f *flight) bool {
	switch {
	case now < b.bootedAt:
		b.net.end(now, f, Rebooting, b.Name)
	case b.cfg.BlockUDP:
		b.net.end(now, f, Blocked, b.Name)
	case !f.spend(1):
		b.net.end(now, f, Expired, b.Name)
	default:
		return true
	}
	return false
}

// inbound handles a datagram from outside, or one that turns in the hairpin.
func (b *NAT) inbound(now time.Duration, f *flight) {
	m := b.byExternal[f.to]
	if !b.live(now, m) {
		b.refuse(now, f, NoMapping)
		return
	}
	s := m.states[b.cfg.Filtering.key(f.from)]
	if !b.admits(now, s) || b.isPoisoned(now, f.to, f.from) {
		b.refuse(now, f, Filtered)
		return
	}
	b.replied(now, m, s)
	f.to = m.inside
	b.net.descend(now, b, f)
}

func (b *NAT) refuse(now time.Duration, f *flight, fate Fate) {
	if b.cfg.Poisoned {
		b.claim(now, f.to, f.from)
	}
	b.net.end(now, f, fate, b.Name)
	if b.cfg.ICMP {
		b.net.transmit(now, b.Up, b.net.refusal(now, b, f), hop{up: true, at: b.behind})
	}
}

func (b *NAT) downPipe() *Pipe { return b.Down }
