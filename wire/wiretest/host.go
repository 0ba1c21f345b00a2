package wiretest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Host sends and receives datagrams. It has an address of each family that it
// speaks, and sits on the internet or behind a NAT.
type Host struct {
	Name string
	Up   *Pipe // from the host
	Down *Pipe // to the host

	net       *Net
	behind    *NAT
	addrs     []netip.Addr
	segment   string
	unplugged bool
	moves     int // counts Move
}

// Host adds a host with the given addresses, behind a NAT or, if behind is nil,
// on the internet.
func (n *Net) Host(name string, behind *NAT, addrs ...netip.Addr) *Host {
	h := &Host{Name: name, net: n}
	h.Up, h.Down = n.pipe(name+" up"), n.pipe(name+" down")
	h.attach(behind, addrs)
	n.hosts = append(n.hosts, h)
	return h
}

// SetLink gives both directions of the host's wire the same properties.
func (h *Host) SetLink(l Link) { h.Up.Link, h.Down.Link = l, l }

// Addrs returns the addresses of the host. The caller must not change them.
func (h *Host) Addrs() []netip.Addr { return h.addrs }

// Behind returns the NAT that the host is behind, or nil.
func (h *Host) Behind() *NAT { return h.behind }

// Addr returns the host's address of the family of remote, and false if it has
// none.
func (h *Host) Addr(remote netip.Addr) (netip.Addr, bool) {
	for _, a := range h.addrs {
		if a.Is4() == remote.Is4() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// Move takes the host to another network: it loses its addresses and gets new
// ones there. What is on the way to the old ones is lost.
func (h *Host) Move(behind *NAT, addrs ...netip.Addr) {
	for _, a := range h.addrs {
		h.net.unroute(h.behind, a, h)
	}
	h.segment = ""
	h.moves++
	h.attach(behind, addrs)
}

// Unplug takes the host's link down: nothing is sent or received. The host keeps
// its addresses.
func (h *Host) Unplug() { h.unplugged = true }

// Plug takes the host's link up again.
func (h *Host) Plug() { h.unplugged = false }

// Plugged reports whether the host's link is up.
func (h *Host) Plugged() bool { return !h.unplugged }

func (h *Host) attach(behind *NAT, addrs []netip.Addr) {
	h.behind, h.addrs = behind, addrs
	for _, a := range addrs {
		h.net.route(behind, a, h)
	}
}

// Send sends a copy of data from the given port of the host. Without an address
// of the family of to, the datagram is lost.
func (h *Host) Send(now time.Duration, port uint16, to netip.AddrPort, data []byte) {
	h.SendECN(now, port, to, wire.NotECT, data)
}

// SendECN is Send with an ECN codepoint.
func (h *Host) SendECN(now time.Duration, port uint16, to netip.AddrPort, mark wire.ECN, data []byte) {
	src, _ := h.Addr(to.Addr())
	f := h.net.flight(now, h.Name, netip.AddrPortFrom(src, port), to, data)
	f.ecn = mark
	h.send(now, f)
}

// SendTTL is Send from one of several addresses, and with a TTL: each NAT or
// firewall takes one from it, the internet takes Net.Hops. A datagram dies that
// has none left, and has opened the NATs before that place.
func (h *Host) SendTTL(now time.Duration, from, to netip.AddrPort, ttl int, data []byte) {
	f := h.net.flight(now, h.Name, from, to, data)
	f.ttl = ttl
	h.send(now, f)
}

func (h *Host) send(now time.Duration, f *flight) {
	switch {
	case h.unplugged:
		h.net.end(now, f, LinkDown, h.Name)
	case !slices.Contains(h.addrs, f.from.Addr()):
		h.net.end(now, f, NoRoute, "")
	default:
		h.net.transmit(now, h.Up, f, hop{up: true, at: h.behind, by: h})
	}
}

func (h *Host) receive(now time.Duration, f *flight) {
	if h.unplugged {
		h.net.end(now, f, LinkDown, h.Name)
		return
	}
	h.net.end(now, f, Delivered, h.Name)
	h.net.arrived = append(h.net.arrived, Packet{At: now, Host: h, From: f.from, To: f.to, ECN: f.ecn, Data: f.data, Refused: f.refusal})
}

func (h *Host) downPipe() *Pipe { return h.Down }
