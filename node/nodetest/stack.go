package nodetest

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A Stack is what a program on a host has of an operating system: its addresses,
// sockets and streams. Sockets and streams stay open when the host moves, as far
// as they can.
type Stack struct {
	net          *Net
	host         *wiretest.Host
	bits4, bits6 int
	changed      chan struct{}

	// As they were when last noticed.
	addrs   []netip.Addr
	behind  *wiretest.NAT
	plugged bool
}

// Stack returns the stack of a host, always the same one.
func (n *Net) Stack(h *wiretest.Host) *Stack {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stacks[h]
	if s == nil {
		s = &Stack{net: n, host: h, bits4: 24, bits6: 64, changed: make(chan struct{}, 1)}
		s.addrs, s.behind, s.plugged = slices.Clone(h.Addrs()), h.Behind(), h.Plugged()
		n.stacks[h] = s
	}
	return s
}

// SetPrefixLen sets how many bits of the host's addresses name its network. Before
// it is called these are 24 for IPv4 and 64 for IPv6.
func (s *Stack) SetPrefixLen(bits4, bits6 int) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.bits4, s.bits6 = bits4, bits6
}

// Addresses returns the addresses of the host, each with the prefix of its network.
// There are none while its link is down.
func (s *Stack) Addresses() []netip.Prefix {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if !s.host.Plugged() {
		return nil
	}
	var all []netip.Prefix
	for _, a := range s.host.Addrs() {
		bits := s.bits6
		if a.Is4() {
			bits = s.bits4
		}
		all = append(all, netip.PrefixFrom(a, bits))
	}
	return all
}

// Changed returns a channel that tells when the host's addresses, its network or
// the state of its link have changed since it was last read. Several changes may
// be told as one. It is always the same, so there should be one reader.
func (s *Stack) Changed() <-chan struct{} { return s.changed }

// notice tells of changes.
func (s *Stack) notice() {
	h := s.host
	if slices.Equal(h.Addrs(), s.addrs) && h.Behind() == s.behind && h.Plugged() == s.plugged {
		return
	}
	s.addrs, s.behind, s.plugged = slices.Clone(h.Addrs()), h.Behind(), h.Plugged()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// ListenUDP opens a socket on an address of the host, or on all of a family if it
// is unspecified. Port 0 stands for a free one. The socket is a *PacketConn.
func (s *Stack) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	fail := func(err error) (net.PacketConn, error) {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: os.NewSyscallError("bind", err)}
	}
	if a := addr.Addr(); !a.IsUnspecified() && !slices.Contains(s.host.Addrs(), a) {
		return fail(syscall.EADDRNOTAVAIL)
	}
	if addr.Port() == 0 {
		port, ok := s.ephemeral(func(port uint16) bool { return len(n.sockets[portKey{s.host, port}]) > 0 })
		if !ok {
			return fail(syscall.EADDRINUSE)
		}
		addr = netip.AddrPortFrom(addr.Addr(), port)
	}
	c, ok := n.open(s.host, addr)
	if !ok {
		return fail(syscall.EADDRINUSE)
	}
	return c, nil
}

// The ephemeral ports (RFC 6335 §6).
const (
	ephemeralFirst = 49152
	ephemeralCount = 1<<16 - ephemeralFirst
)

// ephemeral returns a random port that is not taken.
func (s *Stack) ephemeral(taken func(port uint16) bool) (port uint16, ok bool) {
	start := s.net.rng.IntN(ephemeralCount)
	for i := range ephemeralCount {
		port = uint16(ephemeralFirst + (start+i)%ephemeralCount)
		if !taken(port) {
			return port, true
		}
	}
	return 0, false
}
