package rendezvous

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/sirupsen/logrus"
)

// A Server is a running rendezvous server. Its methods may be called
// concurrently.
type Server struct {
	node  *node.Node
	log   logrus.FieldLogger
	epoch time.Time // zero of the hub's clock

	probers []*prober
	streams *streamServer

	mu      sync.Mutex
	hub     *hub
	clients map[*node.Conn]*client
	buf     []byte // of the relay message being sent
}

// Listen starts a server. A nil cfg is the zero Config.
func Listen(cfg *Config) (*Server, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{epoch: time.Now(), log: c.Logger, clients: make(map[*node.Conn]*client)}
	if s.log == nil {
		s.log = silent()
	}
	s.hub = newHub(s.now(), &c, s.locate)
	s.mu.Lock() // until the hub knows the port
	defer s.mu.Unlock()
	s.node, err = node.Listen(&node.Config{
		Key: c.Key, App: wire.RendezvousApp, Addr: c.Addr, PacketConn: c.PacketConn, Stack: c.Stack,
		KeepAlive: -1, IdleTimeout: idleTimeout, ServeSTUN: true, Allow: c.Allow, Shards: c.Shards, MaxMessage: messageMax,
		Handler: (*handler)(s), Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	own := s.node.LocalAddr()
	if c.PacketConn == nil {
		free := c.ProbePorts
		for _, host := range probeHosts(&c, own.Addr()) {
			p := listenProbes(listenProbe(&c, host), own.Port(), free, s.now)
			s.probers = append(s.probers, p)
			free = len(p.ports)
		}
		s.hub.probes = uint8(free)
		if free < c.ProbePorts {
			s.log.Warnf("rendezvous: only %d of the %d UDP ports after %d are free: nodes will know less of their NATs", free, c.ProbePorts, own.Port())
		}
	}
	s.hub.stunPort = own.Port()
	if s.streams, err = listenStreams(&c, s.node); err != nil {
		s.closeListeners()
		s.node.Close()
		return nil, err
	}
	return s, nil
}

// idleTimeout ends the session of a node that has gone without a word. It is also
// what nodes keep their silence below half of.
const idleTimeout = 3 * time.Minute

func (s *Server) closeListeners() {
	for _, p := range s.probers {
		p.close()
	}
	if s.streams != nil {
		s.streams.close()
	}
}

// messageMax is the longest message that a client may send. A relayed datagram
// is the longest that makes sense.
const messageMax = 2048

// ID returns the server's peer ID.
func (s *Server) ID() node.PeerID { return s.node.ID() }

// Addr returns the address that the server is bound to.
func (s *Server) Addr() netip.AddrPort { return s.node.LocalAddr() }

// Server returns what nodes need in order to use the server, with the address
// that it is bound to: loopback if that is a wildcard, since the server does not
// know under which name others reach it.
func (s *Server) Server() wire.Server {
	addr := s.Addr()
	host := addr.Addr()
	if host.IsUnspecified() {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return wire.Server{ID: s.ID(), Addr: netip.AddrPortFrom(host, addr.Port()).String()}
}

// Stats returns the server's counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.hub.stats
	st.Sessions, st.Registered = len(s.hub.registry.sessions), len(s.hub.registry.byPeer)
	return st
}

// Close tells the clients to come back later and ends their sessions. It
// returns within 5 s.
func (s *Server) Close() error {
	s.drive(func(clock.Time) {
		s.hub.drain(func(window time.Duration) time.Duration { return rand.N(window) })
	})
	err := s.node.Close()
	s.closeListeners()
	return err
}

func (s *Server) now() clock.Time { return clock.Time(time.Since(s.epoch)) }

// drive is the only way to the hub: one change, then all that follows from it.
func (s *Server) drive(change func(now clock.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.now())
	for o, ok := s.hub.next(); ok; o, ok = s.hub.next() {
		s.carryOut(o)
	}
}

func (s *Server) carryOut(o outgoing) {
	if o.close != 0 {
		s.end(o.to.conn, o.close)
		return
	}
	err := o.to.conn.TrySend(node.Message{Channel: wire.ChannelControl, Data: o.data})
	if errors.Is(err, node.ErrWouldBlock) {
		// It does not read what it asks for. It asks again, or it is gone.
		s.hub.stats.Limited++
	}
}

var closeReasons = map[uint64]string{
	reach.CodeReplaced:     "this key has registered again in a newer session",
	reach.CodeBusy:         "too many sessions, in all or from this network",
	reach.CodeUnregistered: "no registration",
}

// end closes a session without waiting for the peer.
func (s *Server) end(conn *node.Conn, code uint64) {
	s.log.WithFields(logrus.Fields{"peer": conn.Peer().Short(), "session": conn.ID()}).Debug(closeReasons[code])
	conn.CloseWith(code, closeReasons[code])
}

// handler is what the server shows to its node.
type handler Server

// Connected implements [node.Handler].
func (h *handler) Connected(conn *node.Conn) {
	s := (*Server)(h)
	s.drive(func(now clock.Time) {
		c := s.hub.connected(now, conn.Peer(), conn.Path().Remote)
		if c == nil {
			s.end(conn, reach.CodeBusy)
			return
		}
		c.conn = conn
		s.clients[conn] = c
	})
}

// Message implements [node.Handler].
func (h *handler) Message(conn *node.Conn, m node.Message) {
	s := (*Server)(h)
	s.drive(func(now clock.Time) {
		c := s.clients[conn]
		switch {
		case c == nil:
		case m.Channel == wire.ChannelRelay && m.Mode == wire.Unreliable:
			s.relay(now, c, m.Data)
		case m.Channel == wire.ChannelControl && m.Mode == wire.Reliable:
			s.hub.message(now, c, m.Data)
		default:
			s.hub.stats.Malformed++
		}
	})
}

// locate tells the hub where a client is.
func (s *Server) locate(c *client) {
	path := c.conn.Path()
	c.udp, c.other = path.Kind == node.Direct, netip.AddrPort{}
	c.rtt, c.validated = path.RTT, path.Validated || !c.udp // TCP has proved it
	for _, p := range c.conn.Paths() {
		if c.udp && p.Kind == node.Direct && p.Validated && p.Remote.Addr().Is4() != path.Remote.Addr().Is4() {
			c.other = p.Remote
		}
	}
	s.hub.moved(c, path.Remote)
}

func (s *Server) relay(now clock.Time, c *client, msg []byte) {
	to, out := s.hub.relay(now, c, msg, s.buf[:0])
	s.buf = out
	if to == nil {
		return
	}
	err := to.conn.TrySend(node.Message{Channel: wire.ChannelRelay, Mode: wire.Unreliable, Data: out})
	if err != nil {
		s.hub.stats.RelayDropped++
	}
}

// PathChanged implements [node.Handler].
func (h *handler) PathChanged(conn *node.Conn, _, _ node.Path) {
	s := (*Server)(h)
	s.drive(func(clock.Time) {
		if c := s.clients[conn]; c != nil {
			s.locate(c) // it may have moved between UDP and a WebSocket, too
		}
	})
}

// Closed implements [node.Handler].
func (h *handler) Closed(conn *node.Conn, err error) {
	s := (*Server)(h)
	s.drive(func(now clock.Time) {
		if c := s.clients[conn]; c != nil {
			delete(s.clients, conn)
			s.hub.closed(now, c)
		}
	})
}

// silent returns a logger that writes nothing.
func silent() logrus.FieldLogger {
	l := logrus.New()
	l.SetLevel(logrus.PanicLevel)
	return l
}
