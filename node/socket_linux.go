package node

import (
	"net"

	"golang.org/x/sys/unix"
)

// A platformSocket holds what a system's sockets can do beyond reading and
// writing.
type platformSocket struct{ receive, send int }

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
	})
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
