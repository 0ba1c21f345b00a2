package lan

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Port is the UDP port of the groups.
const Port = 34783

// The groups: one of an organisation's own (RFC 2365), one of the link (RFC 4291).
var (
	Group4 = netip.AddrFrom4([4]byte{239, 255, 72, 70})
	Group6 = netip.MustParseAddr("ff02::4846")
)

// Hop limits that show that a datagram was not forwarded.
const (
	ttl4      = 1
	hopLimit6 = 255
)

// A receiver reads what is sent to the group of one address family.
type receiver struct {
	conn    *net.UDPConn
	group   netip.Addr
	hops    int  // what a Sender sets
	control bool // the system tells how a datagram came
	ip4     *ipv4.PacketConn
	ip6     *ipv6.PacketConn // the one that is not nil is used
}

// An arrival is how a datagram came, as far as the system tells.
type arrival struct {
	from  netip.AddrPort
	to    netip.Addr
	index int // of the interface; 0 if unknown
	hops  int // hop limit, or TTL
}

func newReceiver4(conn *net.UDPConn) *receiver {
	r := &receiver{conn: conn, group: Group4, hops: ttl4, ip4: ipv4.NewPacketConn(conn)}
	r.control = r.ip4.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst|ipv4.FlagInterface, true) == nil
	return r
}

func newReceiver6(conn *net.UDPConn) *receiver {
	r := &receiver{conn: conn, group: Group6, hops: hopLimit6, ip6: ipv6.NewPacketConn(conn)}
	r.control = r.ip6.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst|ipv6.FlagInterface, true) == nil
	return r
}

func (r *receiver) read(b []byte) (n int, a arrival, err error) {
	if r.ip4 != nil {
		return r.read4(b)
	}
	return r.read6(b)
}

func (r *receiver) read4(b []byte) (int, arrival, error) {
	n, cm, from, err := r.ip4.ReadFrom(b)
	if err != nil {
		return 0, arrival{}, err
	}
	a := arrival{from: addrPort(from)}
	if cm != nil {
		a.to, a.index, a.hops = addr(cm.Dst), cm.IfIndex, cm.TTL
	}
	return n, a, nil
}

func (r *receiver) read6(b []byte) (int, arrival, error) {
	n, cm, from, err := r.ip6.ReadFrom(b)
	if err != nil {
		return 0, arrival{}, err
	}
	a := arrival{from: addrPort(from)}
	if cm != nil {
		a.to, a.index, a.hops = addr(cm.Dst), cm.IfIndex, cm.HopLimit
	}
	return n, a, nil
}

// came reports whether a datagram came from the link to the group.
func (r *receiver) came(a arrival, links []iface) bool {
	if r.control && (a.to != r.group || a.hops != r.hops) {
		return false
	}
	for _, l := range links {
		if (!r.control || l.Index == a.index) && l.onLink(a.from.Addr()) {
			return true
		}
	}
	return false
}

func (r *receiver) uses(i iface) bool {
	if r.ip4 != nil {
		return i.has4()
	}
	return i.has6()
}

func (r *receiver) join(i iface) error {
	group := &net.UDPAddr{IP: r.group.AsSlice()}
	if r.ip4 != nil {
		return r.ip4.JoinGroup(&i.Interface, group)
	}
	return r.ip6.JoinGroup(&i.Interface, group)
}

func (r *receiver) leave(i iface) {
	group := &net.UDPAddr{IP: r.group.AsSlice()}
	if r.ip4 != nil {
		r.ip4.LeaveGroup(&i.Interface, group) // fails if the interface is gone, and the membership with it
		return
	}
	r.ip6.LeaveGroup(&i.Interface, group)
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
