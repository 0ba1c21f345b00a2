package rendezvous

import (
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
	// KeepAlive is how often nodes are asked to show that they are there. It is
	// also how soon they notice that a crashed server is back. If zero, 3 s.
	KeepAlive time.Duration
	// Shards is the number of sockets on the one port, for machines with many
	// cores. If zero, 1.
	Shards int
	// Logger receives the few events that an operator may act on. If nil, none.
	Logger logrus.FieldLogger
}

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
	setDefault(&d.RelayRate, 1_000_000)
	setDefault(&d.RelayBurst, 256<<10)
	setDefault(&d.KeepAlive, 3*time.Second)
	if d.RelayRate < 0 {
		d.RelayRate, d.RelayBurst = 0, 0
	}
	switch {
	case d.MaxClients < 0:
		return d, fmt.Errorf("rendezvous: Config.MaxClients is negative: %d", d.MaxClients)
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
