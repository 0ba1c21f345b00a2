package node

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed-67dce94e/holdfast/wire"
	"golang.org/x/sys/unix"
)

// A platformSocket is what Linux adds to a UDP socket: many datagrams in one
// system call, both ways (UDP_SEGMENT and UDP_GRO, udp(7), for those of one size on
// one path; sendmmsg(2) and recvmmsg(2) for short ones on many). The system call is most
// of what a datagram costs.
type platformSocket struct {
	receive, send int // buffers granted, in bytes

	gso   atomic.Bool // a failing driver turns it off
	gro   bool
	ecn   atomic.Bool // marks are set and told; a system that refuses to turns it off
	batch []inbound

	in     *receiveBatch // of who reads; nil until then
	singly bool          // the system has no recvmmsg(2), or not for this process

	v4, v6 sendAncillary // used with the shard locked
	one    *sender       // likewise
	out    *sendBatch    // likewise; nil until something is posted
}

// kernelVersion is major*1000 + minor, and the patch level.
type kernelVersion struct{ release, patch int }

// Kernels that may be trusted. UDP_GRO lost datagrams before 5.12. Batches of
// equal segments were corrupted in 7.0 and in 7.1 up to 7.1.4.
func (v kernelVersion) canGRO() bool { return v.release >= 5012 }
func (v kernelVersion) canGSO() bool {
	return v.release >= 5000 && v.release != 7000 && (v.release != 7001 || v.patch > 4)
}

var kernel = sync.OnceValue(func() kernelVersion {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return kernelVersion{}
	}
	return parseKernel(unix.ByteSliceToString(name.Release[:]))
})

// parseKernel reads a form such as "6.8.0-45-generic". What it cannot read is 0.
func parseKernel(release string) kernelVersion {
	var n [3]int
	for i, part := range strings.SplitN(release, ".", len(n)) {
		digits, _, _ := strings.Cut(part, "-")
		n[i], _ = strconv.Atoi(digits)
	}
	return kernelVersion{n[0]*1000 + n[1], n[2]}
}

// init sets the options of a socket. Each is a hint: the node works, if less
// well, where the system does not know it.
func (s *platformSocket) init(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(handle uintptr) {
		fd := int(handle)
		// PROBE sends every datagram unfragmented and ignores what ICMP says of
		// the path: any host could forge that. The core measures for itself.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		s.receive = growBuffer(fd, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE)
		s.send = growBuffer(fd, unix.SO_SNDBUF, unix.SO_SNDBUFFORCE)
		if kernel().canGSO() {
			s.gso.Store(unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0) == nil)
		}
		if kernel().canGRO() {
			s.gro = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
		}
		// A socket of both families tells the class of IPv4 datagrams by IP_TOS.
		err4 := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
		err6 := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
		s.ecn.Store(err4 == nil || err6 == nil)
	})
	s.one = newSender(raw)
	s.v4 = newSendAncillary(unix.IPPROTO_IP, unix.IP_TOS)
	s.v6 = newSendAncillary(unix.IPPROTO_IPV6, unix.IPV6_TCLASS)
}

// growBuffer asks for socketBuffer bytes, with force if this process may, and
// returns what the system granted.
func growBuffer(fd, option, force int) int {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, socketBuffer)
	}
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if err != nil {
		return 0
	}
	return n / 2 // Linux doubles it for its own bookkeeping (socket(7))
}

func (s *platformSocket) buffers() (receive, send int) { return s.receive, s.send }

func (s *platformSocket) batches() (receive, send bool) { return s.gro, s.gso.Load() }

func (s *platformSocket) marks() bool { return s.ecn.Load() }

// read returns the datagrams that one system call yields.
func (s *platformSocket) read(conn *net.UDPConn, buf []byte, eager bool) ([]inbound, error) {
	if s.in == nil {
		in, err := newReceiveBatch(conn, buf)
		if err != nil {
			return nil, err
		}
		s.in = in
	}
	s.batch = s.batch[:0]
	if s.singly {
		return s.readSingly(conn, buf)
	}
	n, err := s.in.receive(eager)
	if isAny(err, cannotReceiveMany) {
		s.singly = true
		return s.readSingly(conn, buf)
	}
	if err != nil {
		return nil, err
	}
	s.take(n)
	return s.batch, nil
}

func (s *platformSocket) poll() ([]inbound, error) {
	n, err := s.in.poll()
	if n == 0 {
		return nil, err
	}
	s.batch = s.batch[:0]
	s.take(n)
	return s.batch, nil
}

func (s *platformSocket) polls() bool { return s.in != nil && !s.singly }

// take takes the datagrams out of n slots.
func (s *platformSocket) take(n int) {
	bytes := 0
	for i := range n {
		data, control, from := s.in.get(i)
		s.split(data, control, from)
		bytes += len(data)
	}
	s.in.adapt(bytes, s.in.peers())
}

// readSingly is read by recvmsg(2), for systems that have nothing else.
func (s *platformSocket) readSingly(conn *net.UDPConn, buf []byte) ([]inbound, error) {
	control := s.in.rooms[0]
	n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, control)
	if err != nil {
		return nil, err
	}
	s.split(buf[:n], control[:oobn], unmapped(from))
	return s.batch, nil
}

// split adds the datagrams that the system has joined: those of one sender and one
// size that came in a row, the last of which may be shorter.
func (s *platformSocket) split(b, control []byte, from netip.AddrPort) {
	size, mark := readAncillary(control)
	if size <= 0 {
		size = len(b)
	}
	for {
		k := min(size, len(b))
		s.batch = append(s.batch, inbound{from: from, mark: mark, data: b[:k:k]})
		if b = b[k:]; len(b) == 0 {
			return
		}
	}
}

// segmentsMax is what every kernel with UDP_SEGMENT takes, less one: some count
// the header as well.
const segmentsMax = 63

// write sends b as datagrams of segment bytes.
func (s *platformSocket) write(conn *net.UDPConn, b []byte, segment int, mark wire.ECN, to netip.AddrPort) error {
	for segment > 0 && len(b) > segment && s.gso.Load() {
		n := min(len(b), segment*segmentsMax)
		if err := s.transmit(conn, b[:n], segment, mark, to); err != nil {
			return s.writeSingly(conn, b, segment, mark, to, err)
		}
		b = b[n:]
	}
	return s.writeEach(conn, b, segment, mark, to)
}

func (s *platformSocket) writeEach(conn *net.UDPConn, b []byte, segment int, mark wire.ECN, to netip.AddrPort) error {
	return segments(b, segment, func(d []byte) error { return s.transmit(conn, d, 0, mark, to) })
}

// cannotMark are the errors of a system that takes no traffic class, or not from
// this process. They may also mean something else.
var cannotMark = []error{unix.EINVAL, unix.EPERM, unix.EOPNOTSUPP}

// transmit makes one system call. Should the datagrams go out without a mark that was
// asked for, and not with it, there will be no more marks: the peer tells the core
// that none arrive.
func (s *platformSocket) transmit(conn *net.UDPConn, b []byte, segment int, mark wire.ECN, to netip.AddrPort) error {
	marked := mark == wire.ECT0 && s.ecn.Load()
	err := s.transmitAs(conn, b, segment, marked, to)
	if marked && isAny(err, cannotMark) {
		if err = s.transmitAs(conn, b, segment, false, to); err == nil {
			s.ecn.Store(false)
		}
	}
	return err
}

func (s *platformSocket) transmitAs(conn *net.UDPConn, b []byte, segment int, marked bool, to netip.AddrPort) error {
	control := s.v6
	if to.Addr().Is4() {
		control = s.v4
	}
	if s.one == nil || !s.one.reaches(to.Addr()) {
		_, _, err := conn.WriteMsgUDPAddrPort(b, control.of(marked, segment), to)
		return err
	}
	return s.one.send(b, control.of(marked, segment), to)
}

// isAny reports whether err is one of some errors of the system.
func isAny(err error, of []error) bool {
	return err != nil && slices.ContainsFunc(of, func(e error) bool { return errors.Is(err, e) })
}

// cannotSegment are the errors of a device, or of a route, that cannot take a
// batch. They may also mean that the segments are too long for the path.
var cannotSegment = []error{unix.EIO, unix.EINVAL, unix.EMSGSIZE, unix.EOPNOTSUPP}

// writeSingly sends what could not be sent as a batch. If that works, it was the
// batch's fault, and there will be no more of them.
func (s *platformSocket) writeSingly(conn *net.UDPConn, b []byte, segment int, mark wire.ECN, to netip.AddrPort, cause error) error {
	if !isAny(cause, cannotSegment) {
		return cause
	}
	err := s.writeEach(conn, b, segment, mark, to)
	if err == nil {
		s.gso.Store(false)
	}
	return err
}
