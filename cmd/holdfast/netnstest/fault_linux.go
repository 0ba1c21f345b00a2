package netnstest

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Rebind makes the router forget all mappings, and gives every inside socket
// another external port than before: what a NAT does that restarts. Behind a
// carrier, its new ports get new ones of the carrier's.
func (r *Router) Rebind() error {
	r.life++
	return r.reset()
}

// Renumber gives the router, or the carrier's if it is behind one, another public
// address: what a provider does at night. Without translation the host gets it.
func (r *Router) Renumber(addr netip.Addr) error {
	if r.carrier != nil {
		return r.carrier.Renumber(addr)
	}
	old := r.wan
	r.wan = addr
	r.in.unroute(old)
	r.in.route(addr, r.up)
	if r.nat.Mapping == Untranslated {
		return errors.Join(r.renumberInside(old), r.reset())
	}
	return errors.Join(
		runIn(r.ns, fmt.Sprintf("addr add %v/32 dev wan\naddr del %v/32 dev wan\n", addr, old), "ip", "-batch", "-"),
		r.reset(),
	)
}

func (r *Router) renumberInside(old netip.Addr) error {
	prefix := netip.PrefixFrom(r.wan, r.wan.BitLen())
	err := runIn(r.ns, fmt.Sprintf("route add %v dev lan\nroute del %v dev lan\n", prefix, old), "ip", "-batch", "-")
	if err != nil || r.inside == nil {
		return err
	}
	l := r.inside.lans[r]
	l.addr = prefix
	r.inside.lans[r] = l
	if r.inside.at != r {
		return nil // it gets the address when it comes
	}
	return runIn(r.inside.ns, fmt.Sprintf("addr flush dev %s\n", l.device)+l.join(), "ip", "-batch", "-")
}

// Reboot makes the router pass nothing for a while; then it is back with empty
// tables and another public address. It returns when the router is back.
func (r *Router) Reboot(down time.Duration, addr netip.Addr) error {
	if err := r.fault("reboot", `drop`); err != nil {
		return err
	}
	time.Sleep(down)
	r.life++
	return errors.Join(r.apply(), r.Renumber(addr), r.conntrack("-F"), r.repair("reboot"))
}

// BlockUDP makes the router drop all UDP of the hosts behind it; TCP passes.
func (r *Router) BlockUDP() error { return r.fault("udp", `meta l4proto udp drop`) }

// UnblockUDP ends what BlockUDP began. Mappings are as they were.
func (r *Router) UnblockUDP() error { return r.repair("udp") }

// fault adds a rule for what is forwarded, before all others.
func (r *Router) fault(name, rule string) error {
	return r.nft(fmt.Sprintf("table inet fault_%s {\n\tchain forward {\n\t\ttype filter hook forward priority -10\n\t\t%s\n\t}\n}\n", name, rule))
}

func (r *Router) repair(name string) error { return r.nft("delete table inet fault_" + name + "\n") }

// Forget makes the router, and the carrier's if it is behind one, forget the
// flows with the remote address, so that the next attempt between the two starts
// as the first did.
func (r *Router) Forget(remote netip.Addr) error {
	err := errors.Join(
		r.forgetFlows("--orig-src", remote.String()),
		r.forgetFlows("--orig-dst", remote.String()),
		r.nft("flush set inet "+table+" sent\n"),
	)
	if r.carrier != nil {
		err = errors.Join(err, r.carrier.Forget(remote))
	}
	return err
}

// Timeouts sets how long the router remembers a UDP flow that only one side has
// sent to, and one of both. The kernel counts in seconds.
func (r *Router) Timeouts(oneSided, both time.Duration) error {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	return errors.Join(
		sysctl(r.ns, "net/netfilter/nf_conntrack_udp_timeout", seconds(oneSided)),
		sysctl(r.ns, "net/netfilter/nf_conntrack_udp_timeout_stream", seconds(both)),
	)
}

// BlockBetween makes the Internet drop everything between two public addresses,
// both ways. Each still reaches all others, such as a relay.
func (in *Internet) BlockBetween(a, b netip.Addr) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.blocked[[2]netip.Addr{a, b}] = true
	in.blocked[[2]netip.Addr{b, a}] = true
}

// UnblockBetween ends what BlockBetween began.
func (in *Internet) UnblockBetween(a, b netip.Addr) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.blocked, [2]netip.Addr{a, b})
	delete(in.blocked, [2]netip.Addr{b, a})
}
