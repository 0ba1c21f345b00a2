package netnstest

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"time"
)

// A Router joins one local network to the Internet and translates addresses.
type Router struct {
	in     *Internet
	ns     string
	name   string
	number int // of its local network
	nat    NAT
	up     *uplink
	addr   netip.Addr
	port   uint16 // the external port of Port
	hosts  int
}

// firstPort is the first external port that a router maps Port to.
const firstPort = 50000

// Router makes a router with the public address.
func (in *Internet) Router(name string, nat NAT, addr netip.Addr, delay time.Duration) (*Router, error) {
	ns, err := in.namespace(name)
	if err != nil {
		return nil, err
	}
	r := &Router{in: in, ns: ns, name: name, number: len(in.uplinks) + 1, nat: nat, addr: addr, port: firstPort}
	if r.up, err = in.attach(ns, addr, delay); err != nil {
		return nil, err
	}
	return r, errors.Join(
		run("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv4.ip_forward=1"),
		run("ip", "-n", ns, "link", "add", "lan", "type", "bridge"),
		run("ip", "-n", ns, "addr", "add", r.gateway().String()+"/24", "dev", "lan"),
		run("ip", "-n", ns, "link", "set", "lan", "up"),
		r.apply(),
	)
}

// Addr returns the router's public address.
func (r *Router) Addr() netip.Addr { return r.addr }

// Rebind makes the router forget all mappings, and gives Port another external
// port than before: what a NAT does that restarts.
func (r *Router) Rebind() error {
	r.port++
	return r.reset()
}

// Renumber gives the router another public address: what a provider does at
// night.
func (r *Router) Renumber(addr netip.Addr) error {
	old := r.addr
	r.addr = addr
	r.in.unroute(old)
	r.in.route(addr, r.up)
	return errors.Join(
		run("ip", "-n", r.ns, "addr", "add", addr.String()+"/32", "dev", "wan"),
		run("ip", "-n", r.ns, "addr", "del", old.String()+"/32", "dev", "wan"),
		r.reset(),
	)
}

// Forget makes the router forget its flows with the remote address, so that the
// next attempt between the two starts as the first did.
func (r *Router) Forget(remote netip.Addr) error {
	for _, by := range []string{"--orig-src", "--orig-dst"} {
		// The command fails if there is no such flow, which is as good.
		exec.Command("ip", "netns", "exec", r.ns, "conntrack", "-D", by, remote.String()).Run()
	}
	return run("ip", "netns", "exec", r.ns, "nft", "flush", "set", "ip", table, "sent")
}

func (r *Router) reset() error {
	return errors.Join(r.apply(), run("ip", "netns", "exec", r.ns, "conntrack", "-F"))
}

func (r *Router) apply() error {
	return runInput(r.nat.rules(r.addr, r.port), "ip", "netns", "exec", r.ns, "nft", "-f", "-")
}

func (r *Router) gateway() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(r.number), 1}) }

// plug connects the namespace of a host to the local network, with the interface
// down.
func (r *Router) plug(ns string) (lan, error) {
	r.hosts++
	l := lan{device: "eth-" + r.name, gateway: r.gateway()}
	addr := netip.AddrFrom4([4]byte{10, 0, byte(r.number), byte(1 + r.hosts)})
	port := fmt.Sprintf("port%d", r.hosts)
	return l, errors.Join(
		run("ip", "-n", r.ns, "link", "add", port, "type", "veth", "peer", "name", l.device, "netns", ns),
		run("ip", "-n", r.ns, "link", "set", port, "master", "lan", "up"),
		run("ip", "-n", ns, "addr", "add", addr.String()+"/24", "dev", l.device),
		askNeighboursOften(ns, l.device),
	)
}

// askNeighboursOften keeps an ARP request that got lost while an interface came
// up from costing a second.
func askNeighboursOften(ns, device string) error {
	return run("ip", "netns", "exec", ns, "sysctl", "-qw", "net/ipv4/neigh/"+device+"/retrans_time_ms=20")
}
