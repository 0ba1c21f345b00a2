package node

import (
	"context"
	"net"
	"net/netip"
)

// A Stack is the network stack of a host: where a node's sockets and addresses
// come from, if not from the operating system. Package nodetest has one of a
// pretend host.
type Stack interface {
	// ListenUDP opens a socket. An unspecified address is all of its family, and
	// port 0 is any. The addresses of the socket are of type *net.UDPAddr. If it
	// has a method WriteTTL([]byte, int, netip.AddrPort) (int, error), that sends
	// a datagram with the given TTL; if it has PollFrom([]byte) (int, net.Addr, error),
	// that is ReadFrom for one who does not wait, with a nil address if there is nothing.
	ListenUDP(addr netip.AddrPort) (net.PacketConn, error)
	// Addresses returns the host's own addresses, with the length of the prefix
	// that each shares with its link.
	Addresses() []netip.Prefix
	// DialTCP opens a connection.
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Changed returns a channel that receives when addresses or routes have
	// changed.
	Changed() <-chan struct{}
}

// stackSocket opens a socket of a stack.
func stackSocket(stack Stack, addr netip.AddrPort) (socket, error) {
	conn, err := stack.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	return newPacketSocket(conn), nil
}

// addresses returns this host's addresses.
func (n *Node) addresses() []netip.Prefix {
	if n.cfg.Stack != nil {
		return n.cfg.Stack.Addresses()
	}
	return interfacePrefixes()
}
