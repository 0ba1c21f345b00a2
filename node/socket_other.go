//go:build !linux && !darwin && !windows

package node

import "net"

// init sets the options of a socket that every system knows.
func (*platformSocket) init(conn *net.UDPConn) {
	conn.SetReadBuffer(socketBuffer)
	conn.SetWriteBuffer(socketBuffer)
}
