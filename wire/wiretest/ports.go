package wiretest

import (
	"iter"
	"net/netip"
	"time"
)

// A PortAllocation is how a NAT chooses the external port of a new mapping
// (RFC 4787 §4.2).
type PortAllocation uint8

// Port allocations.
const (
	PreservePort   PortAllocation = iota // the internal port while it is free, else a random one
	SequentialPort                       // the next one up, by NATConfig.PortStep
	RandomPort
	BlockPort // a random one of a block of NATConfig.PortBlock that the inside host has to itself (RFC 7422)
)

// allocateTries bounds the search for a free port in a NAT that is nearly full.
const allocateTries = 1 << 16

const firstPort = 1024 // below are the well-known ports

// allocate returns a free external endpoint for a flow.
func (b *NAT) allocate(now time.Duration, inside, remote netip.AddrPort) (external netip.AddrPort, ok bool) {
	tries := 0
	for port := range b.ports(inside) {
		external = netip.AddrPortFrom(b.external, port)
		if !b.live(now, b.byExternal[external]) && !b.retired[external] && !b.isPoisoned(now, external, remote) {
			return external, true
		}
		if tries++; tries == allocateTries {
			break
		}
	}
	return netip.AddrPort{}, false
}

// ports yields the ports to try for an inside endpoint, in order.
func (b *NAT) ports(inside netip.AddrPort) iter.Seq[uint16] {
	switch b.cfg.Ports {
	case SequentialPort:
		return generate(b.followingPort)
	case RandomPort:
		return generate(b.randomPort)
	case BlockPort:
		return b.blockPorts(inside.Addr())
	}
	return func(yield func(uint16) bool) {
		if yield(inside.Port()) {
			generate(b.randomPort)(yield)
		}
	}
}

func generate(next func() uint16) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for yield(next()) {
		}
	}
}

func (b *NAT) randomPort() uint16 { return uint16(firstPort + b.rng.IntN(1<<16-firstPort)) }

func (b *NAT) followingPort() uint16 {
	const all = 1<<16 - firstPort
	at := (int(b.nextPort) - firstPort + b.cfg.PortStep) % all
	b.nextPort = uint16(firstPort + (at+all)%all)
	return b.nextPort
}

// blockPorts yields all ports of an inside host's block, from a random one on.
func (b *NAT) blockPorts(host netip.Addr) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		first, ok := b.block(host)
		if !ok {
			return
		}
		start := b.rng.IntN(b.cfg.PortBlock)
		for i := range b.cfg.PortBlock {
			if !yield(first + uint16((start+i)%b.cfg.PortBlock)) {
				return
			}
		}
	}
}

// block returns the first port of the block of an inside host, which gets one
// that no other host has; it keeps it for as long as the NAT runs. It is false if
// none is left.
func (b *NAT) block(host netip.Addr) (first uint16, ok bool) {
	if first, ok = b.blocks[host]; ok {
		return first, true
	}
	taken := make(map[uint16]bool, len(b.blocks))
	for _, first := range b.blocks {
		taken[first] = true
	}
	blocks := (1<<16 - firstPort) / b.cfg.PortBlock
	start := b.rng.IntN(max(blocks, 1))
	for i := range blocks {
		first = uint16(firstPort + (start+i)%blocks*b.cfg.PortBlock)
		if !taken[first] {
			b.blocks[host] = first
			return first, true
		}
	}
	return 0, false
}
