package rendezvous

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/wslink"
)

// A streamServer takes the WebSockets of nodes that cannot use UDP. Their sessions
// are like all others; only their path is another.
type streamServer struct {
	server  *wslink.Server
	addrs   []net.Addr
	running sync.WaitGroup
}

// listenStreams opens the TCP ports. That of the server's own number may be taken
// by another program: then there is none, unless it was asked for.
func listenStreams(c *Config, n *node.Node) (*streamServer, error) {
	s := &streamServer{server: wslink.NewServer(nil, n.AttachStream)}
	if c.PacketConn != nil || c.WebSocket == "-" && c.TLS == nil {
		return s, nil
	}
	if c.WebSocket != "-" {
		l, err := listenTCP(c, n.LocalAddr())
		switch {
		case err == nil:
			s.addrs = append(s.addrs, l.Addr())
			s.running.Go(func() { s.server.Serve(l, nil) })
		case c.WebSocket != "":
			return nil, fmt.Errorf("rendezvous: WebSocket address %q: %w", c.WebSocket, err)
		}
	}
	if c.TLS != nil {
		l, err := net.Listen("tcp", c.TLSAddr)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("rendezvous: TLS address %q: %w", c.TLSAddr, err)
		}
		s.addrs = append(s.addrs, l.Addr())
		s.running.Go(func() { s.server.Serve(l, c.TLS) })
	}
	return s, nil
}

func listenTCP(c *Config, own netip.AddrPort) (net.Listener, error) {
	if c.Stack != nil {
		return c.Stack.ListenTCP(own.Port())
	}
	addr := c.WebSocket
	if addr == "" {
		addr = own.String()
		if own.Addr().IsUnspecified() {
			addr = net.JoinHostPort("", strconv.Itoa(int(own.Port()))) // both families
		}
	}
	return net.Listen("tcp", addr)
}

func (s *streamServer) close() error {
	err := s.server.Close()
	s.running.Wait()
	return err
}
