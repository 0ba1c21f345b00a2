package node

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A faultyConn is a socket whose writes fail as told.
type faultyConn struct {
	net.PacketConn
	fail atomic.Pointer[error]
}

func (c *faultyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := c.fail.Load(); err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: *err}
	}
	return c.PacketConn.WriteTo(b, to)
}

// connect returns the ends of a session between a node with the given
// configuration and an ordinary one.
func connect(t *testing.T, cfg Config) (n *Node, c, peer *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	other, err := Listen(&Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if n, err = Listen(&cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	if c, err = n.DialAddr(ctx, other.ID(), other.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if peer, err = other.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	return n, c, peer
}

// exchange passes a message each way.
func exchange(t *testing.T, a, b *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, way := range [][2]*Conn{{a, b}, {b, a}} {
		if err := way[0].Send(ctx, []byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := way[1].Recv(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteErrorsAreLostDatagrams(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := &faultyConn{PacketConn: udp}
	n, c, peer := connect(t, Config{PacketConn: conn})
	for _, err := range []error{
		syscall.EPERM, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ECONNREFUSED, syscall.ENOBUFS,
		syscall.EMSGSIZE, syscall.EINVAL, syscall.EADDRNOTAVAIL, syscall.EIO, syscall.EPIPE, syscall.ENETDOWN,
		net.ErrClosed,
	} {
		before := n.Status().Socket.WriteErrors
		conn.fail.Store(&err)
		if err := c.Send(t.Context(), []byte("lost at first")); err != nil {
			t.Fatalf("Send while writes fail: %v", err)
		}
		for n.Status().Socket.WriteErrors == before {
			runtime.Gosched() // the datagram leaves at once, or within a burst's gap
		}
		conn.fail.Store(nil)
		if _, err := peer.Recv(t.Context()); err != nil {
			t.Fatal(err)
		}
		exchange(t, c, peer)
	}
}

// Mobile systems close the sockets of a program that was in the background.
func TestSocketsClosedByTheSystemAreReplaced(t *testing.T) {
	n, c, peer := connect(t, Config{Addr: "127.0.0.1:0"})
	port := n.LocalAddr().Port()
	s := n.shards[0]
	s.mu.Lock()
	s.sockets.v4.(*udpSocket).conn.Close() // behind the node's back
	s.mu.Unlock()
	exchange(t, c, peer)
	if n.Status().Socket.Rebinds != 1 {
		t.Error("the socket was not replaced")
	}
	if n.LocalAddr().Port() != port {
		t.Error("the port was free, and was not kept")
	}
}
