package node

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/sirupsen/logrus"
)

// A Config sets up a node. Nil and the zero value both work. It must not be
// changed after Listen.
type Config struct {
	// Key is the identity. If zero, a new one for this run.
	Key Key
	// App separates applications: sessions open only between nodes that name
	// the same one. If empty, "".
	App string
	// Addr is the UDP address to bind, as host:port. If the host is empty, all
	// addresses of both families; if the port is 0, any. If empty, ":0".
	Addr string
	// PacketConn, if not nil, is the socket to use in place of Addr, and all of the
	// network that the node uses: it opens no other socket and no stream. The node
	// closes it. It may have the methods that a socket of Stack may have.
	PacketConn net.PacketConn
	// Stack, if not nil, is where sockets and addresses come from in place of the
	// operating system.
	Stack Stack
	// Rendezvous names the servers that introduce peers and relay for them, each
	// as "hf1...@host:port"; at most 4. If empty, Dial knows no way to find a
	// peer.
	Rendezvous []string
	// STUN names further servers to learn public addresses from, each as
	// host:port. If empty, the rendezvous servers alone.
	STUN []string
	// ServeSTUN makes the node answer binding requests (RFC 8489) on its socket,
	// as rendezvous servers do.
	ServeSTUN bool
	// Allow, if not nil, says whether a peer may open a session. It is called
	// with a lock held and must return at once. A refused peer meets silence.
	Allow func(PeerID) bool
	// MaxDatagram is the largest UDP payload to send, in bytes. If zero,
	// whatever the path carries.
	MaxDatagram int
	// Congestion is the algorithm that decides how much a path may carry and how
	// fast, for what this node sends; DialOptions may choose another for a session.
	// If zero, BBR.
	Congestion Congestion
	// MaxMessage is the largest message to accept, in bytes: at least 2048,
	// which relays need. If zero, 16 MiB.
	MaxMessage int
	// IdleTimeout ends a session that hears nothing; the peer is told, and the
	// shorter one counts. If zero, a session ends when its keepalives go
	// unanswered, after 30 s at least. If negative, never.
	IdleTimeout time.Duration
	// KeepAlive is the longest that a session stays silent. If zero, as long as
	// the NATs on the way allow, or an hour if a server's relay can wake the
	// peer. If negative, it may stay silent for ever, and NAT mappings are lost.
	KeepAlive time.Duration
	// ResumeTime is how long a session without any path waits for a new one,
	// keeping its messages. If zero, 60 s.
	ResumeTime time.Duration
	// MaxSessions bounds the sessions of each shard. If zero, 65536.
	MaxSessions int
	// Handler, if not nil, is told of sessions and messages in place of Accept
	// and Recv, for programs with very many sessions.
	Handler Handler
	// Trace, if not nil, holds hooks for watching the node at work.
	Trace *Trace
	// Logger receives the few events that an operator may act on. If nil, none.
	Logger logrus.FieldLogger
	// NoRelay keeps sessions off the rendezvous servers' relays, which then carry
	// the handshake alone: Dial and Accept return a session once it has a direct
	// path.
	NoRelay bool
	// RelayOnly keeps the node's addresses from its peers: it tells them none,
	// and reaches them through rendezvous servers alone. Servers still see where
	// it is. It excludes LAN.
	RelayOnly bool
	// NoPortMapping keeps the node from asking the gateway for a port (PCP,
	// NAT-PMP, UPnP-IGD), which it does if it has servers that are not on this
	// machine.
	NoPortMapping bool
	// LAN makes the node find peers on the local link without a server, and be
	// found there: a dial sends its first frame to a multicast group too. Nobody
	// learns from it who is there, or whom it is for.
	LAN bool
	// Search lets the node take part in a search for a peer whose NAT gives each
	// destination a port at random: up to 256 sockets on one side, and 1024 small
	// datagrams in 5 s from the other. It takes place only if both want it.
	Search bool
	// Shards is the number of sockets on the one port, each with sessions,
	// timers and a lock of its own, for servers with many cores; at
	// most 64. If zero, 1.
	Shards int
}

// Congestion is an algorithm of congestion control.
type Congestion = congestion.Algorithm

// The algorithms.
const (
	// BBR models the rate and the round trip time of a path and sends at that
	// rate (draft-ietf-ccwg-bbr-04). It keeps queues short, and losses that are
	// not of its doing hardly slow it. It is the default.
	BBR = congestion.BBR
	// CUBIC sends more until the queue of the path overflows (RFC 9438), as most
	// TCP does. On paths with random loss it is slow.
	CUBIC = congestion.CUBIC
)

// shardsMax is bounded by the first byte of a connection ID, which names the
// shard.
const shardsMax = 64

// datagramMax is the largest UDP payload there is over IPv4.
const datagramMax = 65507

// maxMessageMin leaves room for the datagrams that a relay passes on.
const maxMessageMin = 2048

// datagramMin is the smallest that every path must carry (SPEC: 1200 bytes).
const datagramMin = 1200

func (c *Config) withDefaults() (Config, error) {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Shards == 0 {
		d.Shards = 1
	}
	switch {
	case d.Shards < 0 || d.Shards > shardsMax:
		return d, fmt.Errorf("node: Config.Shards is %d, want 0 to %d", d.Shards, shardsMax)
	case d.Shards > 1 && d.PacketConn != nil:
		return d, fmt.Errorf("node: Config.PacketConn serves one shard, Config.Shards asks for %d", d.Shards)
	case d.Shards > 1 && d.Stack != nil:
		return d, fmt.Errorf("node: Config.Stack serves one shard, Config.Shards asks for %d", d.Shards)
	case d.RelayOnly && d.NoRelay:
		return d, errors.New("node: Config.RelayOnly and Config.NoRelay leave no path")
	case d.RelayOnly && d.LAN:
		return d, errors.New("node: Config.LAN shows the local link where the node is, which Config.RelayOnly forbids")
	case d.MaxDatagram != 0 && (d.MaxDatagram < datagramMin || d.MaxDatagram > datagramMax):
		return d, fmt.Errorf("node: Config.MaxDatagram is %d, want 0 or %d to %d", d.MaxDatagram, datagramMin, datagramMax)
	case d.Congestion > CUBIC:
		return d, fmt.Errorf("node: Config.Congestion is %d, want BBR or CUBIC", d.Congestion)
	case d.MaxMessage != 0 && d.MaxMessage < maxMessageMin:
		return d, fmt.Errorf("node: Config.MaxMessage is %d, want 0 or at least %d", d.MaxMessage, maxMessageMin)
	case d.ResumeTime < 0:
		return d, fmt.Errorf("node: Config.ResumeTime is negative: %v", d.ResumeTime)
	case d.MaxSessions < 0:
		return d, fmt.Errorf("node: Config.MaxSessions is negative: %d", d.MaxSessions)
	case len(d.Rendezvous) > wire.MaxTicketServers:
		return d, fmt.Errorf("node: Config.Rendezvous has %d servers, want at most %d", len(d.Rendezvous), wire.MaxTicketServers)
	}
	if d.Key.IsZero() {
		var err error
		if d.Key, err = NewKey(); err != nil {
			return d, err
		}
	}
	return d, nil
}

// session returns the configuration of the core of one shard.
func (c *Config) session(shard int) session.Config {
	return session.Config{
		Key:         c.Key.secret,
		App:         c.App,
		Allow:       c.Allow,
		MaxDatagram: c.MaxDatagram,
		Congestion:  c.Congestion,
		MaxMessage:  c.MaxMessage,
		IdleTimeout: c.IdleTimeout,
		KeepAlive:   c.KeepAlive,
		ResumeTime:  c.ResumeTime,
		MaxSessions: c.MaxSessions,
		Shard:       uint8(shard),
		Shards:      uint8(c.Shards),
	}
}
