package wslink

import "net"

// unsentMax is how much the kernel holds of what it cannot send yet. More would
// only make datagrams late: what has been sent and not acknowledged does not count.
const unsentMax = 32 << 10

// tune sets options of the TCP connection that c is, or is made of. They are
// hints: without them the link works, but later.
func tune(c net.Conn) {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetNoDelay(true) // the default of package net, but not every dialer's
		limitUnsent(tcp)
	}
}
