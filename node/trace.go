package node

import (
	"errors"
	"io"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/sirupsen/logrus"
)

// A Trace holds hooks for watching a node, as httptrace.ClientTrace does for
// HTTP. Any may be nil. They are called one at a time per shard with no lock
// held, and must not block.
type Trace struct {
	// Connected is called when a session opens.
	Connected func(c *Conn)
	// PathChanged is called when a session's data takes another path.
	PathChanged func(c *Conn, old, new Path)
	// Stranded is called when a session has no path left and looks for a new one.
	Stranded func(c *Conn)
	// Closed is called when a session has ended.
	Closed func(c *Conn, err error)
	// Registered is called when a rendezvous server knows the node.
	Registered func(server PeerID)
	// ServerLost is called when the session with a rendezvous server has ended.
	// The node dials it again by itself.
	ServerLost func(server PeerID, err error)
	// Introduced is called when a server starts the probing between this node
	// and peer; id is what both sides and the server log.
	Introduced func(id uuid.UUID, peer PeerID)
}

// A Handler is told what happens in place of Accept and Recv. It serves
// programs with very many sessions: none needs a goroutine. Its methods are
// called by one goroutine per shard with no lock held, in order for each
// session; they may call TrySend but must not block.
type Handler interface {
	// Connected is called for each session that opens, dialled or accepted.
	Connected(c *Conn)
	// Message is called for each message. m.Data is valid during the call.
	Message(c *Conn, m Message)
	// PathChanged is called when the session's data takes another path.
	PathChanged(c *Conn, old, new Path)
	// Closed is called once, last.
	Closed(c *Conn, err error)
}

// The functions below tell the Trace and the Logger what concerns the node and
// no single session. The shard is locked.

func (n *Node) tellRegistered(s *shard, server wire.Server) {
	s.dispatch.note(func() {
		n.log.Infof("node: registered with rendezvous server %s", server.Addr)
		if t := n.cfg.Trace; t != nil && t.Registered != nil {
			t.Registered(server.ID)
		}
	})
}

func (n *Node) tellServerLost(s *shard, server wire.Server, err error) {
	s.dispatch.note(func() {
		if e, ok := errors.AsType[*CloseError](err); ok && e.Remote && e.Code == reach.CodeReplaced {
			n.log.Warnf("node: rendezvous server %s now introduces and relays for another node with this one's key: each needs its own", server.Addr)
		} else {
			n.log.Warnf("node: lost rendezvous server %s: %v", server.Addr, err)
		}
		if t := n.cfg.Trace; t != nil && t.ServerLost != nil {
			t.ServerLost(server.ID, err)
		}
	})
}

func (n *Node) tellIntroduced(s *shard, id uuid.UUID, peer PeerID) {
	s.dispatch.note(func() {
		n.log.Debugf("node: introduction %s with peer %s", id, peer.Short())
		if t := n.cfg.Trace; t != nil && t.Introduced != nil {
			t.Introduced(id, peer)
		}
	})
}

// tellBuffers warns once of small socket buffers: a burst on a fast path
// overruns them.
func (n *Node) tellBuffers(s *shard) {
	for _, sock := range s.sockets.all() {
		if receive, _ := sock.buffers(); receive > 0 && receive < socketBuffer {
			s.dispatch.note(func() {
				n.log.Infof("node: the system granted a receive buffer of %d KiB; %d KiB are better for fast paths", receive>>10, socketBuffer>>10)
			})
			return
		}
	}
}

// tellSTUNFailed reports a STUN server whose name cannot be looked up. The shard
// is not locked.
func (n *Node) tellSTUNFailed(server string, err error) {
	n.shards[0].drive(func(session.Time) {
		n.shards[0].dispatch.note(func() { n.log.Warnf("node: STUN server %s: %v", server, err) })
	})
}

// loggerOf returns the logger to use, a silent one if there is none.
func loggerOf(c *Config) logrus.FieldLogger {
	if c.Logger != nil {
		return c.Logger
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	silent.SetLevel(logrus.PanicLevel)
	return silent
}
