package nodetest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A PacketConn is a socket of a host. It has no deadlines.
type PacketConn struct {
	net    *Net
	key    socketKey
	queue  chan wiretest.Packet
	closed chan struct{}
	once   sync.Once

	mu     sync.Mutex
	faults []error // for the next reads
	fault  chan struct{}
}

// queueMax is how many datagrams wait for a slow reader; more are lost, as in a
// full socket buffer.
const queueMax = 4096

// Listen opens the socket of a host on a port. It panics if there is one
// already: that is a mistake of the test.
func (n *Net) Listen(h *wiretest.Host, port uint16) *PacketConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := socketKey{h, port}
	if n.conns[key] != nil {
		panic(fmt.Sprintf("nodetest: port %d of %s is taken", port, h.Name))
	}
	c := &PacketConn{
		net: n, key: key,
		queue:  make(chan wiretest.Packet, queueMax),
		closed: make(chan struct{}),
		fault:  make(chan struct{}, 1),
	}
	n.conns[key] = c
	return c
}

func (c *PacketConn) push(p wiretest.Packet) {
	select {
	case c.queue <- p:
	default:
	}
}

// FailReads makes the next reads return errs, one each, as a system does that
// reports what befell a datagram sent before.
func (c *PacketConn) FailReads(errs ...error) {
	c.mu.Lock()
	c.faults = append(c.faults, errs...)
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
		select {
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

// WriteTo implements net.PacketConn.
func (c *PacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", net.UnknownNetworkError(addr.Network()))
	}
	select {
	case <-c.closed:
		return 0, c.opError("write", net.ErrClosed)
	default:
	}
	n := c.net
	n.mu.Lock()
	defer n.mu.Unlock()
	ap := to.AddrPort()
	c.key.host.Send(n.now(), c.key.port, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), b)
	n.arm()
	return len(b), nil
}

// Close implements net.PacketConn.
func (c *PacketConn) Close() error {
	err := c.opError("close", net.ErrClosed)
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		delete(c.net.conns, c.key)
		c.net.mu.Unlock()
		err = nil
	})
	return err
}

// LocalAddr implements net.PacketConn. It is the first address of the host.
func (c *PacketConn) LocalAddr() net.Addr {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.key.host.Addrs()[0], c.key.port))
}

// AddrPort returns LocalAddr in the form that DialAddr takes.
func (c *PacketConn) AddrPort() netip.AddrPort {
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// SetDeadline implements net.PacketConn. It fails.
func (c *PacketConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.PacketConn. It fails.
func (c *PacketConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.PacketConn. It fails.
func (c *PacketConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

func (c *PacketConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Err: err}
}
