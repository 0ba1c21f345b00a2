package netnstest

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// A Router joins one local network to the Internet, or to the network of a
// carrier, and translates addresses.
type Router struct {
	in      *Internet
	ns      string
	name    string
	number  byte // of its local network
	nat     NAT
	carrier *Router // nil: on the Internet itself
	up      *uplink // nil: behind a carrier
	wan     netip.Addr
	carries bool // its local network is one of a carrier
	life    uint16
	ports   int // taken on its local network
	inside  *Host
}

// Router makes a router of the kind with the public address, and the router of
// the carrier before it if the kind has one.
func (in *Internet) Router(name string, kind Kind, addr netip.Addr, delay time.Duration) (*Router, error) {
	switch {
	case kind.Home == nil:
		return nil, fmt.Errorf("kind %v has no router", kind)
	case kind.Carrier == nil:
		r := &Router{in: in, name: name, nat: *kind.Home, wan: addr}
		return r, r.start(delay)
	}
	carrier := &Router{in: in, name: name + "c", nat: *kind.Carrier, wan: addr, carries: true}
	if err := carrier.start(delay); err != nil {
		return nil, err
	}
	r := &Router{in: in, name: name, nat: *kind.Home, carrier: carrier}
	return r, r.start(0)
}

func (r *Router) start(delay time.Duration) (err error) {
	r.in.routers++
	r.number = byte(r.in.routers)
	if r.ns, err = r.in.namespace(r.name); err != nil {
		return err
	}
	if err = r.connect(delay); err != nil {
		return err
	}
	var batch strings.Builder
	fmt.Fprintln(&batch, "link add lan type bridge")
	fmt.Fprintln(&batch, "link set lan up")
	if r.v6() {
		fmt.Fprintf(&batch, "addr add %v/64 dev lan nodad\n", r.gateway())
	} else {
		fmt.Fprintf(&batch, "addr add %v/24 dev lan\n", r.gateway())
	}
	if r.nat.Mapping == Untranslated {
		fmt.Fprintf(&batch, "route add %v dev lan\n", netip.PrefixFrom(r.wan, r.wan.BitLen()))
	}
	if err = runIn(r.ns, batch.String(), "ip", "-batch", "-"); err != nil {
		return err
	}
	return errors.Join(
		sysctl(r.ns, "net/ipv4/ip_forward", "1"),
		sysctl(r.ns, "net/ipv6/conf/all/forwarding", "1"),
		askNeighboursOften(r.ns, "lan"),
		r.apply(),
	)
}

// connect makes the interface wan.
func (r *Router) connect(delay time.Duration) (err error) {
	if r.carrier != nil {
		l, err := r.carrier.plug(r.ns, "wan")
		if err != nil {
			return err
		}
		r.wan = l.addr.Addr()
		return runIn(r.ns, l.join(), "ip", "-batch", "-")
	}
	if r.nat.Mapping == Untranslated {
		r.up, err = r.in.attach(r.ns, delay, r.v6())
		r.in.route(r.wan, r.up)
		return err
	}
	r.up, err = r.in.attach(r.ns, delay, false, r.wan)
	return err
}

func (r *Router) v6() bool { return r.wan.Is6() }

// Addr returns the public address: that of the carrier if there is one.
func (r *Router) Addr() netip.Addr { return r.edge().wan }

// edge is the router on the Internet.
func (r *Router) edge() *Router {
	if r.carrier != nil {
		return r.carrier
	}
	return r
}

// Carrier returns the router of the carrier that this one is behind, or nil.
func (r *Router) Carrier() *Router { return r.carrier }

func (r *Router) reset() error { return errors.Join(r.apply(), r.conntrack("-F")) }

func (r *Router) apply() error {
	t := translation{wan: r.wan, life: r.life}
	for i := range t.host {
		t.host[i] = r.local(byte(2 + i))
	}
	return r.nft(r.nat.rules(t))
}

func (r *Router) nft(rules string) error { return runIn(r.ns, rules, "nft", "-f", "-") }

func (r *Router) conntrack(args ...string) error { return runIn(r.ns, "", "conntrack", args...) }

// forgetFlows deletes the flows that conntrack's options select. The command
// fails if there are none, which is as good.
func (r *Router) forgetFlows(args ...string) error {
	err := r.conntrack(append([]string{"-D"}, args...)...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil
	}
	return err
}

func (r *Router) gateway() netip.Addr {
	if r.v6() {
		return netip.MustParseAddr("fe80::1")
	}
	return r.local(1)
}

// local returns an address of the local network.
func (r *Router) local(host byte) netip.Addr {
	if r.carries {
		return netip.AddrFrom4([4]byte{100, 64, r.number, host})
	}
	return netip.AddrFrom4([4]byte{10, 0, r.number, host})
}

// A lan is an interface on the local network of a router.
type lan struct {
	device  string
	port    string // the other end, at the router
	addr    netip.Prefix
	gateway netip.Addr
}

// plug connects a namespace to the local network, with the interface down.
func (r *Router) plug(ns, device string) (lan, error) {
	if r.ports == hostsMax {
		return lan{}, fmt.Errorf("router %s has %d hosts", r.name, hostsMax)
	}
	r.ports++
	l := lan{device: device, port: fmt.Sprintf("port%d", r.ports), gateway: r.gateway()}
	l.addr = netip.PrefixFrom(r.local(byte(1+r.ports)), 24)
	if r.nat.Mapping == Untranslated {
		l.addr = netip.PrefixFrom(r.wan, r.wan.BitLen())
	}
	err := runIn(r.ns, fmt.Sprintf("link add %s type veth peer name %s netns %s\nlink set %[1]s master lan up\n", l.port, device, ns), "ip", "-batch", "-")
	if err != nil {
		return l, err
	}
	return l, askNeighboursOften(ns, device)
}

// join and leave are what ip does when a host comes to the network and goes.
func (l lan) join() string {
	nodad := ""
	if l.addr.Addr().Is6() {
		nodad = " nodad"
	}
	return fmt.Sprintf("link set %[1]s up\naddr replace %[2]v dev %[1]s%[3]s\nroute replace default via %[4]v dev %[1]s onlink\n", l.device, l.addr, nodad, l.gateway)
}

func (l lan) leave() string {
	return fmt.Sprintf("addr flush dev %[1]s\nlink set %[1]s down\n", l.device)
}

// askNeighboursOften keeps a request for a neighbour that got lost while an
// interface came up from costing a second.
func askNeighboursOften(ns, device string) error {
	return errors.Join(
		sysctl(ns, "net/ipv4/neigh/"+device+"/retrans_time_ms", "20"),
		sysctl(ns, "net/ipv6/neigh/"+device+"/retrans_time_ms", "20"),
	)
}
