//go:build !linux && !darwin && !windows

package node

import "net"

// A platformSocket holds what a system's sockets can do beyond reading and
// writing.
type platformSocket struct{}

// init sets the options of a socket that every system knows.
func (platformSocket) init(conn *net.UDPConn) {
	conn.SetReadBuffer(socketBuffer)
	conn.SetWriteBuffer(socketBuffer)
}

func (platformSocket) buffers() (receive, send int) { return 0, 0 }
