package netnstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"time"
)

// A Host is a machine where processes run.
type Host struct {
	in   *Internet
	ns   string
	up   *uplink // nil: behind routers
	at   *Router // nil: on the Internet itself, or nowhere yet
	lans map[*Router]lan
	addr netip.Addr // public
}

// PublicHost makes a host with public addresses, delay away from the middle of
// the Internet. It sends from the first of each family if it has no reason for
// another.
func (in *Internet) PublicHost(name string, delay time.Duration, addrs ...netip.Addr) (*Host, error) {
	ns, err := in.namespace(name)
	if err != nil {
		return nil, err
	}
	h := &Host{in: in, ns: ns, addr: addrs[0]}
	h.up, err = in.attach(ns, delay, false, addrs...)
	return h, err
}

// Host makes a host behind the routers, connected to the first of them. Move
// takes it to another.
func (in *Internet) Host(name string, routers ...*Router) (*Host, error) {
	ns, err := in.namespace(name)
	if err != nil {
		return nil, err
	}
	h := &Host{in: in, ns: ns, lans: make(map[*Router]lan)}
	for _, r := range routers {
		if h.lans[r], err = r.plug(ns, "eth-"+r.name); err != nil {
			return nil, err
		}
		r.inside = h
	}
	return h, h.Move(routers[0])
}

// HostOf makes a host of the kind, with a router of its own if the kind has one.
func (in *Internet) HostOf(kind Kind, name string, addr netip.Addr, delay time.Duration) (*Host, error) {
	if kind.Home == nil {
		return in.PublicHost(name, delay, addr)
	}
	r, err := in.Router(name+"r", kind, addr, delay)
	if err != nil {
		return nil, err
	}
	return in.Host(name, r)
}

// Move takes the host from the network it is on to that of another router: the
// one interface goes down and loses its address, the other comes up with its own.
func (h *Host) Move(to *Router) error { return h.Switch(to, 0) }

// Switch is Move with a gap, as from Wi-Fi to a mobile network: the other
// interface comes up that long after the first has gone. It returns then.
func (h *Host) Switch(to *Router, gap time.Duration) error {
	leave := ""
	if h.at != nil {
		leave = h.lans[h.at].leave()
	}
	if gap > 0 && leave != "" {
		if err := h.ip(leave); err != nil {
			return err
		}
		leave = ""
		time.Sleep(gap)
	}
	h.at = to
	return h.ip(leave + h.lans[to].join())
}

func (h *Host) ip(batch string) error { return runIn(h.ns, batch, "ip", "-batch", "-") }

// Unplug pulls the cable of the interface in use: it loses its carrier, as the
// host is told, and keeps its address.
func (h *Host) Unplug() error { return h.cable("down") }

// Plug puts the cable back.
func (h *Host) Plug() error { return h.cable("up") }

func (h *Host) cable(state string) error {
	if h.up != nil {
		return h.up.carrier(state == "up")
	}
	return runIn(h.at.ns, fmt.Sprintf("link set %s %s\n", h.lans[h.at].port, state), "ip", "-batch", "-")
}

// Router returns the router that the host is behind at present, or nil.
func (h *Host) Router() *Router { return h.at }

// Addr returns the address that the host is seen with on the Internet.
func (h *Host) Addr() netip.Addr {
	if h.at != nil {
		return h.at.Addr()
	}
	return h.addr
}

// Command is exec.CommandContext for a program that runs on the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

// Do calls f on a thread that is on the host: what f itself opens stays there, but
// not what goroutines open that it starts.
func (h *Host) Do(f func() error) error {
	_, err := inNamespace(h.ns, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// ListenUDP opens a socket on the host, of the family of its address.
func (h *Host) ListenUDP(port uint16) (*net.UDPConn, error) {
	any := netip.IPv4Unspecified()
	if h.Addr().Is6() {
		any = netip.IPv6Unspecified()
	}
	return h.ListenUDPAddr(netip.AddrPortFrom(any, port))
}

// ListenUDPAddr opens a socket on the host with the address, and of its family.
func (h *Host) ListenUDPAddr(addr netip.AddrPort) (*net.UDPConn, error) {
	return inNamespace(h.ns, func() (*net.UDPConn, error) {
		return net.ListenUDP(family("udp", addr), net.UDPAddrFromAddrPort(addr))
	})
}

// ListenTCP listens on the host at the address.
func (h *Host) ListenTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	return inNamespace(h.ns, func() (*net.TCPListener, error) {
		return net.ListenTCP(family("tcp", addr), net.TCPAddrFromAddrPort(addr))
	})
}

// DialTCP connects from the host to the address.
func (h *Host) DialTCP(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	return inNamespace(h.ns, func() (*net.TCPConn, error) {
		c, err := new(net.Dialer).DialContext(ctx, family("tcp", addr), addr.String())
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("dialed a %T", c), c.Close())
		}
		return tcp, nil
	})
}

func family(network string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return network + "4"
	}
	return network + "6"
}
