package lan

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A Sender sends to the group of a socket's address family. The socket is the
// node's own, so that answers come to it; nothing but its multicast options is
// touched.
type Sender struct {
	conn *net.UDPConn

	mu  sync.Mutex       // the outgoing interface is an option of the socket
	ip4 *ipv4.PacketConn // nil if the socket is one of IPv6
	ip6 *ipv6.PacketConn
}

// ErrNoInterface means that no interface could take a datagram: there is no
// network, or none that can multicast.
var ErrNoInterface = errors.New("lan: no interface to send on")

// NewSender returns a sender to the group. The family is that of conn's local
// address; a socket of both counts as IPv6.
func NewSender(conn *net.UDPConn) *Sender {
	s := &Sender{conn: conn}
	local := conn.LocalAddr().(*net.UDPAddr)
	if local.IP.To4() != nil {
		s.ip4 = ipv4.NewPacketConn(conn)
		s.ip4.SetMulticastTTL(ttl4)
		s.ip4.SetMulticastLoopback(true) // for nodes on this machine
		return s
	}
	s.ip6 = ipv6.NewPacketConn(conn)
	s.ip6.SetMulticastHopLimit(hopLimit6)
	s.ip6.SetMulticastLoopback(true)
	return s
}

// Send sends b once on each interface that can multicast, at most 8 of them, and
// returns on how many it did. The error says what went wrong if it is none.
func (s *Sender) Send(b []byte) (sent int, err error) {
	links, err := interfaces()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{ErrNoInterface}
	for _, l := range links {
		if s.ip4 != nil && !l.has4() || s.ip6 != nil && !l.has6() {
			continue
		}
		if err := s.sendOn(l, b); err != nil {
			errs = append(errs, err)
			continue
		}
		sent++
	}
	if sent > 0 {
		return sent, nil
	}
	return 0, errors.Join(errs...)
}

func (s *Sender) sendOn(l iface, b []byte) error {
	to := netip.AddrPortFrom(Group4, Port)
	if s.ip4 != nil {
		if err := s.ip4.SetMulticastInterface(&l.Interface); err != nil {
			return err
		}
	} else {
		to = netip.AddrPortFrom(Group6.WithZone(l.Name), Port)
	}
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}
