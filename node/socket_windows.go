package node

import (
	"net"

	"golang.org/x/sys/windows"
)

// Options that package windows does not name (ws2ipdef.h).
const (
	ipDontFragment = 14
	ipv6DontFrag   = 14
)

// init sets the options of a socket. Each is a hint: the node works, if less
// well, where the system does not know it.
func (s *platformSocket) init(conn *net.UDPConn) {
	conn.SetReadBuffer(socketBuffer)
	conn.SetWriteBuffer(socketBuffer)
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(handle uintptr) {
		fd := windows.Handle(handle)
		// Datagrams are never fragmented: the core measures what the path carries.
		windows.SetsockoptInt(fd, windows.IPPROTO_IP, ipDontFragment, 1)
		windows.SetsockoptInt(fd, windows.IPPROTO_IPV6, ipv6DontFrag, 1)
		s.receive, _ = windows.GetsockoptInt(fd, windows.SOL_SOCKET, windows.SO_RCVBUF)
		s.send, _ = windows.GetsockoptInt(fd, windows.SOL_SOCKET, windows.SO_SNDBUF)
	})
}
