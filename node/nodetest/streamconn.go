package nodetest

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// A Conn is one end of a stream.
type Conn struct {
	*stream
	in, out         *half
	local, remote   netip.AddrPort
	closed          bool
	readBy, writeBy deadline
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		if err := c.unusable(&c.readBy); err != nil {
			return 0, c.opError("read", err)
		}
		if len(b) == 0 {
			return 0, nil
		}
		n, end := c.in.read(b, c.net.Now())
		switch {
		case n > 0:
			return n, nil
		case end:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.opError("read", c.err)
		}
		c.net.wait(c.in.wake, c.readBy.wait(), c.in.next())
	}
}

// Write implements net.Conn. It returns when the data is on its way, and blocks
// while too much is unread.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		if err := c.unwritable(); err != nil {
			return n, c.opError("write", err)
		}
		if k := min(windowSize-c.out.size, len(b)); k > 0 {
			c.out.send(c.stream, slices.Clone(b[:k]))
			n, b = n+k, b[k:]
		}
		if len(b) == 0 {
			return n, nil
		}
		c.net.wait(c.out.wake, c.writeBy.wait(), c.resetAt())
	}
}

func (c *Conn) unusable(by *deadline) error {
	if c.closed {
		return net.ErrClosed
	}
	if by.isPast() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *Conn) unwritable() error {
	if err := c.unusable(&c.writeBy); err != nil {
		return err
	}
	if c.out.finished || c.net.Now() >= c.resetAt() {
		return os.NewSyscallError("write", syscall.EPIPE)
	}
	return c.err
}

// CloseWrite ends what this end writes; the other reads io.EOF after it.
func (c *Conn) CloseWrite() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.finish()
	return nil
}

func (c *Conn) finish() {
	if !c.out.finished {
		c.out.finished = true
		c.out.send(c.stream, nil)
	}
}

// Close implements net.Conn. What was written still arrives.
func (c *Conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	return c.close()
}

func (c *Conn) close() error {
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	c.readBy.set(time.Time{})
	c.writeBy.set(time.Time{})
	c.finish()
	c.in.wake, c.out.wake = broadcast(c.in.wake), broadcast(c.out.wake)
	if c.other().closed {
		c.end()
	}
	return nil
}

// resetAt returns when this end learns that the other is closed: with the last
// thing it sent.
func (c *Conn) resetAt() time.Duration {
	if !c.other().closed {
		return never
	}
	return c.in.segments[len(c.in.segments)-1].at
}

func (c *Conn) other() *Conn {
	if c == c.dialled {
		return c.accepted
	}
	return c.dialled
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr implements net.Conn. Behind the other end's NAT it is that of the NAT.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readBy, t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeBy, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	d.set(t)
	return nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
