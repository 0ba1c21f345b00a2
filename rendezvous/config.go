package rendezvous

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/sirupsen/logrus"
)

// A Config sets up a server. Nil and the zero value both work. It must not be
// changed after Listen.
type Config struct {
	// Key is the server's identity. Nodes know the server by it, so it should be
	// kept: see node.LoadOrCreateKey. If zero, a new one for this run.
	Key node.Key
	// Addr is the UDP address to bind, as host:port. If empty, ":3478".
	Addr string
	// PacketConn, if not nil, is the socket to use in place of Addr. The server
	// closes it.
	PacketConn net.PacketConn
	// Stack, if not nil, is where sockets come from in place of the operating
	// system.
	Stack Stack
	// ProbePorts is how many UDP ports after the server's own answer binding
	// requests too. Nodes need them to find out what the NATs before them do; they
	// must be open like the server's own. If zero, 8. If negative, none.
	ProbePorts int
	// WebSocket is the TCP address, as host:port, on which nodes that cannot use
	// UDP reach the server. If empty, the port of Addr. If "-", none.
	WebSocket string
	// TLS, if not nil, is for a second address on which such nodes reach the
	// server by HTTPS: many networks let nothing else through.
	TLS *tls.Config
	// TLSAddr is that address, as host:port. If empty, ":443".
	TLSAddr string
	// Allow, if not nil, says whether a node may use the server. It must return
	// at once. A refused node meets silence.
	Allow func(node.PeerID) bool
	// MaxClients bounds the nodes registered at one time. If zero, 65536.
	MaxClients int
	// RelayRate is how many bytes a second a node may send to others, and be
	// sent by them, through the server. If zero, 1 MB. If negative, none. Peers
	// that a node has not sent anything to share an eighth of what it may be sent.
	RelayRate int
	// RelayBurst is how many bytes may pass at once. If zero, 256 KiB.
	RelayBurst int
	// KeepAlive is how often nodes whose sessions are in use are asked to show that
	// they are there. It is also how soon they notice that a crashed server is
	// back; nodes that are not in use need up to a minute. If zero, 3 s.
	KeepAlive time.Duration
	// Shards is the number of sockets on the one port, for machines with many
	// cores. If zero, 1.
	Shards int
	// Logger receives the few events that an operator may act on. If nil, none.
	Logger logrus.FieldLogger
}

// A Stack is a node's (node.Stack) that also takes connections.
type Stack interface {
	node.Stack
	ListenTCP(port uint16) (net.Listener, error)
}

const probePortsMax = 64

// keepAliveMin keeps the registrations of many nodes from being the server's
// main work.
const keepAliveMin = 2 * time.Second

func (c *Config) withDefaults() (Config, error) {
	var d Config
	if c != nil {
		d = *c
	}
	setDefault(&d.Addr, ":3478")
	setDefault(&d.MaxClients, clientsMax)
	setDefault(&d.ProbePorts, 8)
	setDefault(&d.TLSAddr, ":443")
	d.ProbePorts = max(d.ProbePorts, 0)
	setDefault(&d.RelayRate, 1_000_000)
	setDefault(&d.RelayBurst, 256<<10)
	setDefault(&d.KeepAlive, 3*time.Second)
	if d.RelayRate < 0 {
		d.RelayRate, d.RelayBurst = 0, 0
	}
	switch {
	case d.MaxClients < 0:
		return d, fmt.Errorf("rendezvous: Config.MaxClients is negative: %d", d.MaxClients)
	case d.ProbePorts > probePortsMax:
		return d, fmt.Errorf("rendezvous: Config.ProbePorts is %d, want at most %d", d.ProbePorts, probePortsMax)
	case d.RelayBurst < 0:
		return d, fmt.Errorf("rendezvous: Config.RelayBurst is negative: %d", d.RelayBurst)
	case d.KeepAlive < keepAliveMin:
		return d, fmt.Errorf("rendezvous: Config.KeepAlive is %v, want at least %v", d.KeepAlive, keepAliveMin)
	}
	return d, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
