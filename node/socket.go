package node

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A socket reads and writes datagrams. Addresses are never IPv4-mapped IPv6:
// otherwise every IPv4 datagram would look like one from elsewhere.
type socket interface {
	// read blocks for at least one datagram and returns what has arrived. It is
	// valid until the next read. If eager, it may keep the processor busy for some
	// microseconds before it sleeps.
	read(eager bool) ([]inbound, error)
	// poll is read for who does not wait. It returns nothing if nothing has arrived. It
	// may be called where polls says so, by who has read.
	poll() ([]inbound, error)
	polls() bool
	// write sends b as datagrams of segment bytes, the last one perhaps shorter,
	// or as one if segment is 0, with an ECN codepoint where the system can set it.
	write(b []byte, segment int, mark wire.ECN, to netip.AddrPort) error
	// post sends a datagram of at most shortMax bytes at the next flush, or at
	// once where no system call takes many to different addresses. It is not
	// marked.
	post(b []byte, to netip.AddrPort) error
	// flush sends what is posted, and tells how many of that could not be sent.
	flush() (failed int, err error)
	// writeTTL sends one datagram that lives for so many hops. Where the system
	// cannot do that, it fails.
	writeTTL(b []byte, ttl int, to netip.AddrPort) error
	// setReadDeadline ends reads then; the zero time lets them go on.
	setReadDeadline(t time.Time) error
	localAddr() netip.AddrPort
	buffers() (receive, send int)
	// batches reports whether one system call may carry many datagrams.
	batches() (receive, send bool)
	// marks reports whether ECN codepoints are set and told.
	marks() bool
	close() error
	// retired reports whether close was called: a read error means nothing then.
	retired() bool
}

// An inbound datagram.
type inbound struct {
	from netip.AddrPort
	mark wire.ECN // wire.NotECT where the system does not tell
	data []byte
}

// shortMax is the largest datagram that is posted, in bytes: it is copied.
const shortMax = 128

// batchMax is how many datagrams are handled in one turn of the lock: about as many as
// the system joins.
const batchMax = 64

// sockets are what one shard speaks through: one socket per address family, on
// one local port, since the port is what NATs map. Either may be missing, or
// both may be the same.
type sockets struct{ v4, v6 socket }

func (s sockets) to(a netip.Addr) socket {
	if a.Is4() {
		return s.v4
	}
	return s.v6
}

// all returns each socket once.
func (s sockets) all() []socket {
	switch {
	case s.v4 == nil && s.v6 == nil:
		return nil
	case s.v4 == nil || s.v4 == s.v6:
		return []socket{s.v6}
	case s.v6 == nil:
		return []socket{s.v4}
	}
	return []socket{s.v4, s.v6}
}

func (s sockets) close() {
	for _, sock := range s.all() {
		sock.close() // there is nothing to do about an error
	}
}

// segments calls send for each datagram that b holds.
func segments(b []byte, segment int, send func([]byte) error) (err error) {
	if segment == 0 {
		return send(b)
	}
	for len(b) > 0 {
		n := min(segment, len(b))
		if e := send(b[:n]); e != nil {
			err = e
		}
		b = b[n:]
	}
	return err
}

// unmapped is ap with an IPv4 address as such.
func unmapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// wrapPacketConn makes a socket of one that the application opened.
func wrapPacketConn(conn net.PacketConn) socket {
	if udp, ok := conn.(*net.UDPConn); ok {
		return newUDPSocket(udp)
	}
	return newPacketSocket(conn)
}

// A packetSocket is a socket over any net.PacketConn.
type packetSocket struct {
	conn   net.PacketConn
	buf    []byte
	one    [1]inbound
	closed atomic.Bool
}

func newPacketSocket(conn net.PacketConn) *packetSocket {
	return &packetSocket{conn: conn, buf: make([]byte, datagramBufferLen)}
}

func (s *packetSocket) read(bool) ([]inbound, error) {
	n, addr, err := s.conn.ReadFrom(s.buf)
	if err != nil {
		return nil, err
	}
	return s.received(n, addr)
}

func (s *packetSocket) received(n int, addr net.Addr) ([]inbound, error) {
	from, err := addrPortOf(addr)
	if err != nil {
		return nil, err
	}
	s.one[0] = inbound{from: from, data: s.buf[:n]}
	return s.one[:], nil
}

// pollReader is a PacketConn that can be read without waiting: the address is nil if
// there is nothing.
type pollReader interface {
	PollFrom(b []byte) (int, net.Addr, error)
}

func (s *packetSocket) poll() ([]inbound, error) {
	n, addr, err := s.conn.(pollReader).PollFrom(s.buf)
	if err != nil || addr == nil {
		return nil, err
	}
	return s.received(n, addr)
}

func (s *packetSocket) polls() bool {
	_, can := s.conn.(pollReader)
	return can
}

func (s *packetSocket) write(b []byte, segment int, _ wire.ECN, to netip.AddrPort) error {
	addr := net.UDPAddrFromAddrPort(to)
	return segments(b, segment, func(d []byte) error {
		_, err := s.conn.WriteTo(d, addr)
		return err
	})
}

func (s *packetSocket) post(b []byte, to netip.AddrPort) error {
	return s.write(b, 0, wire.NotECT, to)
}

func (s *packetSocket) flush() (failed int, err error) { return 0, nil }

// ttlWriter is a PacketConn that can send with a TTL.
type ttlWriter interface {
	WriteTTL(b []byte, ttl int, to netip.AddrPort) (int, error)
}

func (s *packetSocket) writeTTL(b []byte, ttl int, to netip.AddrPort) error {
	w, ok := s.conn.(ttlWriter)
	if !ok {
		return errors.ErrUnsupported
	}
	_, err := w.WriteTTL(b, ttl, to)
	return err
}

func (s *packetSocket) localAddr() netip.AddrPort {
	ap, _ := addrPortOf(s.conn.LocalAddr())
	return ap
}

func (s *packetSocket) setReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

func (s *packetSocket) buffers() (receive, send int) { return 0, 0 }

func (s *packetSocket) batches() (receive, send bool) { return false, false }

func (s *packetSocket) marks() bool { return false }

func (s *packetSocket) close() error {
	s.closed.Store(true)
	return s.conn.Close()
}

func (s *packetSocket) retired() bool { return s.closed.Load() }

var errNotUDP = errors.New("node: the PacketConn's addresses are not UDP addresses")

func addrPortOf(a net.Addr) (netip.AddrPort, error) {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, errNotUDP
	}
	return unmapped(udp.AddrPort()), nil
}
