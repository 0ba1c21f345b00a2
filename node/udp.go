package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-reuseport"
	"github.com/seed-67dce94e/holdfast/wire"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A udpSocket is a socket of the system.
type udpSocket struct {
	conn   *net.UDPConn
	buf    []byte
	closed atomic.Bool
	platformSocket
}

// socketBuffer is what is asked of the system for each direction: macOS's
// default maximum, and enough for a burst of a fast path on others.
const socketBuffer = 7 << 20

func newUDPSocket(conn *net.UDPConn) *udpSocket {
	s := &udpSocket{conn: conn, buf: make([]byte, datagramBufferLen)}
	s.platformSocket.init(conn)
	return s
}

func (s *udpSocket) read(eager bool) ([]inbound, error) {
	return s.platformSocket.read(s.conn, s.buf, eager)
}

func (s *udpSocket) poll() ([]inbound, error) { return s.platformSocket.poll() }

func (s *udpSocket) write(b []byte, segment int, mark wire.ECN, to netip.AddrPort) error {
	return s.platformSocket.write(s.conn, b, segment, mark, to)
}

func (s *udpSocket) post(b []byte, to netip.AddrPort) error {
	return s.platformSocket.post(s.conn, b, to)
}

// writeTTL sets the TTL of the socket for one datagram. The shard, which alone
// writes, is locked.
func (s *udpSocket) writeTTL(b []byte, ttl int, to netip.AddrPort) error {
	if s.localAddr().Addr().Is6() {
		c := ipv6.NewConn(s.conn)
		before, err := c.HopLimit()
		if err != nil {
			return err
		}
		return s.writeWith(c.SetHopLimit, ttl, before, b, to)
	}
	c := ipv4.NewConn(s.conn)
	before, err := c.TTL()
	if err != nil {
		return err
	}
	return s.writeWith(c.SetTTL, ttl, before, b, to)
}

func (s *udpSocket) writeWith(set func(int) error, ttl, before int, b []byte, to netip.AddrPort) error {
	if err := set(ttl); err != nil {
		return err
	}
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return errors.Join(err, set(before))
}

func (s *udpSocket) localAddr() netip.AddrPort {
	return unmapped(s.conn.LocalAddr().(*net.UDPAddr).AddrPort())
}

func (s *udpSocket) setReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

func (s *udpSocket) close() error {
	s.closed.Store(true)
	return s.conn.Close()
}

func (s *udpSocket) retired() bool { return s.closed.Load() }

// portTries is how often another port is tried when the system picked one that
// is free in one address family alone.
const portTries = 16

// bindAll opens the sockets of n shards on one port.
func bindAll(stack Stack, addr string, n int) ([]sockets, error) {
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		all, err := bindPort(stack, host, port, n)
		if err == nil {
			return all, nil
		}
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) || try == portTries {
			return nil, fmt.Errorf("node: cannot bind %q: %w", addr, err)
		}
	}
}

// splitAddr reads an address to bind. An invalid host stands for all addresses.
func splitAddr(addr string) (host netip.Addr, port int, err error) {
	if addr == "" {
		return netip.Addr{}, 0, nil
	}
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return host, 0, fmt.Errorf("node: address to bind %q: want host:port: %w", addr, err)
	}
	if p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 0 || port > 65535 {
			return host, 0, fmt.Errorf("node: address to bind %q: want a port from 0 to 65535", addr)
		}
	}
	if h == "" {
		return host, port, nil
	}
	if host, err = netip.ParseAddr(h); err == nil {
		return host.Unmap(), port, nil
	}
	resolved, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return host, 0, fmt.Errorf("node: address to bind %q: %w", addr, err)
	}
	return resolved.AddrPort().Addr().Unmap(), port, nil
}

// bindPort opens the sockets of n shards. If port is 0, the first socket picks
// one for all.
func bindPort(stack Stack, host netip.Addr, port, n int) (all []sockets, err error) {
	defer func() {
		if err != nil {
			for _, s := range all {
				s.close()
			}
		}
	}()
	for range n {
		s, err := bindPair(stack, host, port, n > 1)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		port = int(s.all()[0].localAddr().Port())
	}
	if n > 1 {
		steerAll(all[0], n)
	}
	return all, nil
}

// steerAll steers what arrives in either family; that it cannot is no failure.
func steerAll(first sockets, shards int) {
	for _, sock := range first.all() {
		if udp, ok := sock.(*udpSocket); ok {
			_ = steer(udp.conn, shards)
		}
	}
}

// bindPair opens the sockets of one shard: both families, or that of host.
func bindPair(stack Stack, host netip.Addr, port int, shared bool) (s sockets, err error) {
	bindOne := func(host netip.Addr, port int, shared bool) (socket, error) {
		if stack != nil {
			return stackSocket(stack, netip.AddrPortFrom(host, uint16(port)))
		}
		return bindOne(host, port, shared)
	}
	if host.IsValid() {
		sock, err := bindOne(host, port, shared)
		if err != nil {
			return s, err
		}
		if host.Is4() {
			return sockets{v4: sock}, nil
		}
		return sockets{v6: sock}, nil
	}
	v4, err4 := bindOne(netip.IPv4Unspecified(), port, shared)
	if err4 == nil {
		port = int(v4.localAddr().Port())
	}
	v6, err6 := bindOne(netip.IPv6Unspecified(), port, shared)
	switch {
	case err4 == nil && err6 == nil:
		return sockets{v4: v4, v6: v6}, nil
	case err4 == nil && noSuchFamily(err6):
		return sockets{v4: v4}, nil
	case err6 == nil && noSuchFamily(err4):
		return sockets{v6: v6}, nil
	case err4 == nil:
		v4.close()
		return s, err6
	case err6 == nil:
		v6.close()
	}
	return s, err4
}

func bindOne(host netip.Addr, port int, shared bool) (socket, error) {
	network := "udp4"
	if host.Is6() {
		network = "udp6"
	}
	var lc net.ListenConfig
	if shared {
		lc.Control = reuseport.Control
	}
	conn, err := lc.ListenPacket(context.Background(), network, netip.AddrPortFrom(host, uint16(port)).String())
	if err != nil {
		return nil, err
	}
	return newUDPSocket(conn.(*net.UDPConn)), nil
}

// noSuchFamily reports whether the system has no IPv4, or no IPv6.
func noSuchFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) ||
		errors.Is(err, syscall.EPROTONOSUPPORT)
}

// shardOf returns the shard that a datagram is for. A frame names it by the
// first byte of the receiver's connection ID, and one that opens a session by
// that of its sender's, so that repeats meet the same shard. All else is for the
// first.
func (n *Node) shardOf(b []byte) int {
	switch wire.Classify(b) {
	case wire.KindSTUN, wire.KindUnknown:
		return 0
	case wire.KindInit:
		f, err := wire.ParseInit(b)
		if err != nil {
			return 0
		}
		return int(f.Src[0]) % len(n.shards)
	}
	id, ok := wire.Destination(b)
	if !ok {
		return 0
	}
	return int(id[0]) % len(n.shards)
}
