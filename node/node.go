package node

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/sirupsen/logrus"
)

// A Node is one participant: an identity, a UDP port, any number of sessions.
// Its methods may be called by several goroutines at once.
type Node struct {
	cfg     Config
	log     logrus.FieldLogger
	id      PeerID
	servers []wire.Server
	shards  []*shard
	offered chan *Conn
	began   time.Time
	spare   spareKey

	ctx        context.Context // ends when everything is to stop
	stop       context.CancelFunc
	running    sync.WaitGroup // readers and lookups
	closing    chan struct{}  // closed when Close begins
	closeBegun atomic.Bool
	closed     chan struct{} // closed when Close is done

	streams        streams
	gateway        gateway       // guarded by rebinding
	lan            neighbourhood // its senders are guarded by rebinding
	networkChanges atomic.Uint64

	rebinding  sync.Mutex
	repairedAt atomic.Int64 // when broken sockets were last replaced, as a session.Time
	readErrors atomic.Uint64
	misrouted  atomic.Uint64
	rebinds    atomic.Uint64
}

// acceptMax is how many sessions may wait for Accept. More are closed with
// CodeBusy.
const acceptMax = 1024

// Listen makes a node. A nil cfg is the zero Config. It does not wait for the
// network: see WaitOnline.
func Listen(cfg *Config) (*Node, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg:     c,
		log:     loggerOf(&c),
		id:      c.Key.ID(),
		offered: make(chan *Conn, acceptMax),
		began:   time.Now(),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
	}
	for _, text := range c.Rendezvous {
		server, err := wire.ParseServer(text)
		if err != nil {
			return nil, fmt.Errorf("node: Config.Rendezvous %q: %w", text, err)
		}
		if !slices.Contains(n.servers, server) { // a second session would take the first's place
			n.servers = append(n.servers, server)
		}
	}
	for i := range c.Shards {
		core := c.session(i)
		core.Keypair = n.spare.take
		ep, err := session.NewEndpoint(&core, seed())
		if err != nil {
			return nil, fmt.Errorf("node: %w", err)
		}
		n.shards = append(n.shards, newShard(n, i, ep))
	}
	all, err := n.openSockets(c.Addr)
	if err != nil {
		return nil, err
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.start(all)
	return n, nil
}

func seed() (b [32]byte) {
	rand.Read(b[:]) // never fails
	return b
}

func (n *Node) openSockets(addr string) ([]sockets, error) {
	if conn := n.cfg.PacketConn; conn != nil {
		s := wrapPacketConn(conn)
		return []sockets{{v4: s, v6: s}}, nil
	}
	return bindAll(n.cfg.Stack, addr, len(n.shards))
}

// start sets everything in motion.
func (n *Node) start(all []sockets) {
	for i, s := range n.shards {
		s.sockets = all[i]
		s.dispatch.start(s)
	}
	first := n.shards[0]
	first.reach = newRendezvous(first, n.servers, seed())
	first.drive(func(now session.Time) {
		n.tellBuffers(first)
		first.reach.client.SetHosts(now, n.hosts(first.sockets))
		first.reach.client.HandleTimeout(now)
	})
	n.findSTUNServers()
	for _, s := range n.shards {
		n.startReaders(s)
	}
	n.listenLAN()
	n.watch()
	n.rebinding.Lock()
	defer n.rebinding.Unlock()
	n.mapPort()
	n.renewLAN()
}

// now is the time as the core sees it: never 0, which stands for no time.
func (n *Node) now() session.Time { return session.Time(time.Since(n.began)) + 1 }

// coreTime turns a time of day into the core's. The zero time stays zero.
func (n *Node) coreTime(now session.Time, t time.Time) session.Time {
	if t.IsZero() {
		return 0
	}
	return max(now.Add(time.Until(t)), 1)
}

// ID returns the node's peer ID, which others dial.
func (n *Node) ID() PeerID { return n.id }

// LocalAddr returns the address the node's socket is bound to: the IPv4 one if
// there are two. Both have the same port.
func (n *Node) LocalAddr() netip.AddrPort {
	return n.shards[0].localAddrs()[0]
}

// localAddrs returns the addresses of the sockets; the shard must not be locked.
func (s *shard) localAddrs() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []netip.AddrPort
	for _, sock := range s.sockets.all() {
		list = append(list, sock.localAddr())
	}
	return list
}

// Ticket returns what others need to dial the node through its rendezvous
// servers.
func (n *Node) Ticket() Ticket {
	return Ticket{Peer: n.id, Servers: slices.Clone(n.servers)}
}

// Accept returns the next session that a peer has opened. Up to 1024 sessions
// wait to be accepted; further ones are closed with CodeBusy. With a Handler
// there is nothing to accept: it fails with ErrHandled.
func (n *Node) Accept(ctx context.Context) (*Conn, error) {
	if n.cfg.Handler != nil {
		return nil, ErrHandled
	}
	if n.isClosing() {
		return nil, ErrClosed
	}
	select {
	case c := <-n.offered:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.closing:
		return nil, ErrClosed
	}
}

// offer gives a session to who accepts, and reports whether there was room.
func (n *Node) offer(c *Conn) bool {
	if n.isClosing() {
		return false
	}
	select {
	case n.offered <- c:
		return true
	default:
		return false
	}
}

// accepts reports whether the node wants to meet a peer.
func (n *Node) accepts(peer PeerID) bool {
	return !n.isClosing() && (n.cfg.Allow == nil || n.cfg.Allow(peer))
}

// begin runs f beside everything else, unless the node is closing: Close waits for
// what runs, and nothing may be added to that while it does.
func (n *Node) begin(f func()) {
	n.rebinding.Lock()
	defer n.rebinding.Unlock()
	if !n.isClosing() {
		n.running.Go(f)
	}
}

func (n *Node) isClosing() bool { return isClosed(n.closing) }

// shardFor returns the shard that dials a peer.
func (n *Node) shardFor(peer PeerID) *shard {
	return n.shards[int(peer[0])%len(n.shards)]
}
