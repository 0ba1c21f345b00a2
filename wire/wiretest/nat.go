package wiretest

import (
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

// A PortAllocation is how a NAT chooses the external port of a new mapping
// (RFC 4787 §4.2).
type PortAllocation uint8

// Port allocations.
const (
	PreservePort   PortAllocation = iota // the internal port while it is free, else a random one
	SequentialPort                       // the next one up
	RandomPort
)

// NATConfig describes a NAT. The zero value maps and filters without looking at
// the remote endpoint, and preserves ports: a "full cone".
type NATConfig struct {
	Mapping   Behavior
	Filtering Behavior
	Ports     PortAllocation
	Lifetime  time.Duration // of a mapping since the last datagram out; if zero, 2 min (RFC 4787 REQ-5); if negative, for ever
	Hairpin   bool          // inside hosts reach each other by their external endpoints (RFC 4787 REQ-9)

	// Poisoned makes the NAT behave as Linux does with its own input open: a
	// datagram that the filter refuses claims the tuple it came by, so that the
	// flow the inside host later opens to its sender gets another port, and so
	// do all flows it opens from then on.
	Poisoned bool
}

// poisonLifetime is that of an unreplied UDP flow in Linux' connection tracking.
const poisonLifetime = 30 * time.Second

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
	nextPort uint16

	mappings   map[tuple]*mapping // by inside endpoint and what Mapping keeps of the remote one: where new flows go
	flows      map[tuple]*flow    // by inside and remote endpoint
	byExternal map[netip.AddrPort]*mapping
	poison     map[tuple]time.Duration // external and remote endpoint; until when
	retired    map[netip.AddrPort]bool // external endpoints lost in the last Rebind, not given out again
}

type tuple struct{ local, remote netip.AddrPort }

// A mapping is an external endpoint that stands for an inside one.
type mapping struct {
	inside, external netip.AddrPort
	expires          time.Duration
	allowed          map[netip.AddrPort]time.Duration // what Filtering keeps of the remote endpoints sent to; until when
}

// A flow is an inside endpoint talking to a remote one. It stays on its mapping
// even when newer flows are given another.
type flow struct {
	m       *mapping
	expires time.Duration
}

// NAT adds a NAT with an external address, behind another NAT or, if behind is
// nil, on the internet. Without a valid address it is a firewall.
func (n *Net) NAT(name string, behind *NAT, cfg NATConfig, external netip.Addr) *NAT {
	if cfg.Lifetime == 0 {
		cfg.Lifetime = 2 * time.Minute
	}
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

func (b *NAT) clear() {
	b.mappings = make(map[tuple]*mapping)
	b.flows = make(map[tuple]*flow)
	b.byExternal = make(map[netip.AddrPort]*mapping)
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
	m := b.outbound(now, f.from, f.to)
	if m == nil {
		b.net.end(now, f, NoPort, b.Name)
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
	b.receive(now, f)
}

// outbound returns the mapping for a flow, which it makes or refreshes.
func (b *NAT) outbound(now time.Duration, inside, remote netip.AddrPort) *mapping {
	id := tuple{inside, remote}
	fl := b.flows[id]
	if fl == nil || !b.alive(now, fl.expires) || b.byExternal[fl.m.external] != fl.m {
		m := b.mapping(now, inside, remote)
		if m == nil {
			return nil
		}
		fl = &flow{m: m}
		b.flows[id] = fl
	}
	until := now + b.cfg.Lifetime
	fl.expires, fl.m.expires = until, until
	fl.m.allowed[b.cfg.Filtering.key(remote)] = until
	return fl.m
}

// mapping returns the mapping that a new flow uses, which it makes if need be.
func (b *NAT) mapping(now time.Duration, inside, remote netip.AddrPort) *mapping {
	id := tuple{inside, b.cfg.Mapping.key(remote)}
	m := b.mappings[id]
	if m != nil && b.alive(now, m.expires) && !b.isPoisoned(now, m.external, remote) {
		return m
	}
	external := inside
	if b.translates(inside.Addr()) {
		var ok bool
		if external, ok = b.allocate(now, inside, remote); !ok {
			return nil
		}
	}
	m = &mapping{inside: inside, external: external, allowed: make(map[netip.AddrPort]time.Duration)}
	b.mappings[id], b.byExternal[external] = m, m
	return m
}

// allocateTries bounds the search for a free port in a NAT that is nearly full.
const allocateTries = 1 << 16

func (b *NAT) allocate(now time.Duration, inside, remote netip.AddrPort) (external netip.AddrPort, ok bool) {
	port := inside.Port()
	if b.cfg.Ports == SequentialPort {
		port = b.followingPort()
	} else if b.cfg.Ports == RandomPort {
		port = b.randomPort()
	}
	for range allocateTries {
		external = netip.AddrPortFrom(b.external, port)
		m := b.byExternal[external]
		free := m == nil || !b.alive(now, m.expires)
		if free && !b.retired[external] && !b.isPoisoned(now, external, remote) {
			return external, true
		}
		if b.cfg.Ports == SequentialPort {
			port = b.followingPort()
		} else {
			port = b.randomPort()
		}
	}
	return external, false
}

const firstPort = 1024 // below are the well-known ports

func (b *NAT) randomPort() uint16 { return uint16(firstPort + b.rng.IntN(1<<16-firstPort)) }

func (b *NAT) followingPort() uint16 {
	b.nextPort = max(b.nextPort+1, firstPort)
	return b.nextPort
}

// receive handles a datagram from outside, or one that turns in its hairpin.
func (b *NAT) receive(now time.Duration, f *flight) {
	m := b.byExternal[f.to]
	if m == nil || !b.alive(now, m.expires) {
		b.refuse(now, f, NoMapping)
		return
	}
	until, known := m.allowed[b.cfg.Filtering.key(f.from)]
	if !known && b.cfg.Filtering != EndpointIndependent || known && !b.alive(now, until) {
		b.refuse(now, f, Filtered)
		return
	}
	f.to = m.inside
	b.net.descend(now, b, f)
}

func (b *NAT) refuse(now time.Duration, f *flight, fate Fate) {
	if b.cfg.Poisoned {
		b.poison[tuple{f.to, f.from}] = now + poisonLifetime
	}
	b.net.end(now, f, fate, b.Name)
}

func (b *NAT) isPoisoned(now time.Duration, external, remote netip.AddrPort) bool {
	return now < b.poison[tuple{external, remote}]
}

func (b *NAT) alive(now, until time.Duration) bool {
	return b.cfg.Lifetime < 0 || now < until
}

func (b *NAT) downPipe() *Pipe { return b.Down }
