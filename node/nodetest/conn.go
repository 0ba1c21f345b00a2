package nodetest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A PacketConn is a socket of a host.
type PacketConn struct {
	net    *Net
	host   *wiretest.Host
	local  netip.AddrPort // without an address: all of both families
	queue  chan wiretest.Packet
	closed chan struct{}
	once   sync.Once
	readBy deadline
	groups map[netip.Addr]bool // guarded by net

	mu     sync.Mutex
	faults []error // for the next reads
	fault  chan struct{}
}

// queueMax is how many datagrams wait for a slow reader; more are lost, as in a
// full socket buffer.
const queueMax = 4096

// Listen opens the socket of a host on a port, for both families. It panics if
// there is one already: that is a mistake of the test.
func (n *Net) Listen(h *wiretest.Host, port uint16) *PacketConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, ok := n.open(h, netip.AddrPortFrom(netip.Addr{}, port))
	if !ok {
		panic(fmt.Sprintf("nodetest: port %d of %s is taken", port, h.Name))
	}
	return c
}

// open opens a socket, unless one that is open would share datagrams with it.
func (n *Net) open(h *wiretest.Host, local netip.AddrPort) (*PacketConn, bool) {
	key := portKey{h, local.Port()}
	for _, c := range n.sockets[key] {
		if overlap(c.local.Addr(), local.Addr()) {
			return nil, false
		}
	}
	c := &PacketConn{
		net: n, host: h, local: local,
		queue:  make(chan wiretest.Packet, queueMax),
		closed: make(chan struct{}),
		fault:  make(chan struct{}, 1),
		groups: make(map[netip.Addr]bool),
	}
	n.sockets[key] = append(n.sockets[key], c)
	return c, true
}

func overlap(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return true
	}
	return a == b || a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// wants reports whether the socket takes what is sent to an address of its host
// or to a multicast group.
func (c *PacketConn) wants(to netip.Addr) bool {
	if to.IsMulticast() {
		return c.groups[to]
	}
	return overlap(c.local.Addr(), to)
}

// JoinGroup lets the socket receive what is sent to a multicast group within the
// host's network.
func (c *PacketConn) JoinGroup(group netip.Addr) error {
	if !group.IsMulticast() || !overlap(c.local.Addr(), unspecified(group)) {
		return c.opError("join", os.NewSyscallError("setsockopt", syscall.EINVAL))
	}
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.groups[group.WithZone("")] = true
	return nil
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (c *PacketConn) push(p wiretest.Packet) {
	if p.Refused {
		c.FailReads(os.NewSyscallError("recvmsg", syscall.ECONNREFUSED))
		return
	}
	select {
	case c.queue <- p:
	default:
	}
}

// FailReads makes the next reads return errs, one each, as a system does that
// reports what befell a datagram sent before.
func (c *PacketConn) FailReads(errs ...error) {
	c.mu.Lock()
	if len(c.faults) < queueMax {
		c.faults = append(c.faults, errs...)
	}
	c.mu.Unlock()
	c.signalFault()
}

func (c *PacketConn) signalFault() {
	select {
	case c.fault <- struct{}{}:
	default:
	}
}

func (c *PacketConn) nextFault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) == 0 {
		return nil
	}
	err := c.faults[0]
	if c.faults = c.faults[1:]; len(c.faults) > 0 {
		c.signalFault()
	}
	return err
}

// ReadFrom implements net.PacketConn.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if c.readBy.isPast() {
			return 0, nil, c.opError("read", os.ErrDeadlineExceeded)
		}
		select {
		case <-c.readBy.wait():
		case p := <-c.queue:
			return copy(b, p.Data), net.UDPAddrFromAddrPort(p.From), nil
		case <-c.fault:
			if err := c.nextFault(); err != nil {
				return 0, nil, c.opError("read", err)
			}
		case <-c.closed:
			return 0, nil, c.opError("read", net.ErrClosed)
		}
	}
}

// PollFrom is ReadFrom for one who does not wait: the address is nil if there is nothing
// to read.
func (c *PacketConn) PollFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.queue:
		return copy(b, p.Data), net.UDPAddrFromAddrPort(p.From), nil
	default:
		return 0, nil, nil
	}
}

// WriteTo implements net.PacketConn.
func (c *PacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", net.UnknownNetworkError(addr.Network()))
	}
	return c.WriteTTL(b, wiretest.DefaultTTL, to.AddrPort())
}

// WriteTTL sends a datagram that dies after ttl hops, as
// [wiretest.Host.SendTTL] does. Like an operating system it fails where the host
// knows that it cannot send.
func (c *PacketConn) WriteTTL(b []byte, ttl int, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, c.opError("write", net.ErrClosed)
	default:
	}
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	from, ok := c.source(to.Addr())
	if !ok {
		return 0, c.opError("write", os.NewSyscallError("sendmsg", syscall.ENETUNREACH))
	}
	c.host.SendTTL(n.Now(), from, to, ttl, b)
	n.arm()
	return len(b), nil
}

// source returns from where the socket sends to an address.
func (c *PacketConn) source(to netip.Addr) (from netip.AddrPort, ok bool) {
	a := c.local.Addr()
	if !c.host.Plugged() || !overlap(a, unspecified(to)) {
		return from, false
	}
	if !a.IsValid() || a.IsUnspecified() {
		a, ok = c.host.Addr(to)
		return netip.AddrPortFrom(a, c.local.Port()), ok
	}
	return c.local, slices.Contains(c.host.Addrs(), a)
}

// Close implements net.PacketConn.
func (c *PacketConn) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.once.Do(func() {
		close(c.closed)
		c.net.close(c)
		err = nil
	})
	return err
}

func (n *Net) close(c *PacketConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := portKey{c.host, c.local.Port()}
	n.sockets[key] = slices.DeleteFunc(n.sockets[key], func(o *PacketConn) bool { return o == c })
}

// LocalAddr implements net.PacketConn. It is the address that the socket is bound
// to, or the first one of the host for a socket of Net.Listen.
func (c *PacketConn) LocalAddr() net.Addr {
	if c.local.Addr().IsValid() {
		return net.UDPAddrFromAddrPort(c.local)
	}
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	addr := netip.IPv6Unspecified()
	if all := c.host.Addrs(); len(all) > 0 {
		addr = all[0]
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, c.local.Port()))
}

// AddrPort returns LocalAddr in the form that DialAddr takes.
func (c *PacketConn) AddrPort() netip.AddrPort {
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// SetDeadline implements net.PacketConn. Writes never block.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	return nil
}

// SetWriteDeadline implements net.PacketConn. It does nothing.
func (c *PacketConn) SetWriteDeadline(time.Time) error { return nil }

func (c *PacketConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Err: err}
}
