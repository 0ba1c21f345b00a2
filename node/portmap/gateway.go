package portmap

import (
	"errors"
	"net"
	"net/netip"

	"github.com/libp2p/go-netroute"
	"github.com/seed-67dce94e/holdfast/node/netmon"
	"github.com/seed-67dce94e/holdfast/node/reach"
)

// A Gateway is the router to the internet, and this machine's place beside it.
type Gateway struct {
	Addr  netip.Addr   // of the gateway
	Local netip.Addr   // of this machine, towards it
	Link  netip.Prefix // the network they share; zero if unknown
}

// ErrNoGateway reports that this machine has no IPv4 gateway to ask: it is
// offline, has a tunnel for a default route, or needs no mapping.
var ErrNoGateway = errors.New("portmap: no IPv4 gateway")

// somewhere is on the internet, so the route there is the default route. Nothing
// is sent to it.
var somewhere = net.IPv4(198, 41, 0, 4)

// DefaultGateway asks the system for the IPv4 gateway.
func DefaultGateway() (Gateway, error) {
	router, err := netroute.New()
	if err != nil {
		return Gateway{}, err
	}
	iface, via, source, err := router.Route(somewhere)
	if err != nil {
		return Gateway{}, errors.Join(ErrNoGateway, err)
	}
	addr, isV4 := netip.AddrFromSlice(via.To4())
	local, ok := netip.AddrFromSlice(source.To4())
	if !isV4 || !ok || addr.IsUnspecified() {
		return Gateway{}, ErrNoGateway
	}
	return Gateway{addr, local, linkOf(iface, local)}, nil
}

// linkOf returns the prefix of an interface's network in which addr is.
func linkOf(iface *net.Interface, addr netip.Addr) netip.Prefix {
	if iface == nil {
		return netip.Prefix{}
	}
	list, _ := iface.Addrs() // without it, the gateway alone is believed
	for _, a := range list {
		if p := netmon.Prefix(a); p.IsValid() && p.Addr() == addr {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}

// mayServe reports whether a service of the gateway may be at ip: it is the
// gateway, or private and on our link.
func (g Gateway) mayServe(ip netip.Addr) bool {
	return ip == g.Addr || ip != g.Local && g.Link.Contains(ip) && reach.ScopeOf(ip) == reach.ScopePrivate
}

// plausible reports whether a gateway can have granted external.
func plausible(external netip.AddrPort) bool {
	return external.Addr().Is4() && external.Port() != 0 &&
		reach.ScopeOf(external.Addr()) > reach.ScopeLinkLocal
}

// isInside reports whether ip is of a network behind yet another NAT.
func isInside(ip netip.Addr) bool {
	s := reach.ScopeOf(ip)
	return s == reach.ScopePrivate || s == reach.ScopeShared
}
