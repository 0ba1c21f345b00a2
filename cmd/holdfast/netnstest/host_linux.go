package netnstest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// A Host is a machine where processes run.
type Host struct {
	in   *Internet
	ns   string
	at   *Router // nil: on the Internet itself, or nowhere yet
	lans map[*Router]lan
}

// A lan is a host's interface behind a router.
type lan struct {
	device  string
	gateway netip.Addr
}

// PublicHost makes a host with a public address, delay away from the middle of
// the Internet.
func (in *Internet) PublicHost(name string, addr netip.Addr, delay time.Duration) (*Host, error) {
	ns, err := in.namespace(name)
	if err != nil {
		return nil, err
	}
	_, err = in.attach(ns, addr, delay)
	return &Host{in: in, ns: ns}, err
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
		if h.lans[r], err = r.plug(ns); err != nil {
			return nil, err
		}
	}
	return h, h.Move(routers[0])
}

// Move takes the host from the network it is on to that of another router: the
// one interface goes down, the other comes up with its address and route.
func (h *Host) Move(to *Router) error {
	var batch strings.Builder
	if h.at != nil {
		fmt.Fprintf(&batch, "link set %s down\n", h.lans[h.at].device)
	}
	h.at = to
	l := h.lans[to]
	fmt.Fprintf(&batch, "link set %s up\nroute replace default via %v dev %s\n", l.device, l.gateway, l.device)
	return runInput(batch.String(), "ip", "-n", h.ns, "-batch", "-")
}

// Router returns the router that the host is behind at present.
func (h *Host) Router() *Router { return h.at }

// Command is exec.CommandContext for a program that runs on the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

// ListenUDP opens a socket on the host.
func (h *Host) ListenUDP(port uint16) (*net.UDPConn, error) {
	return inNamespace(h.ns, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	})
}
