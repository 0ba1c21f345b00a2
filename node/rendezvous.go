package node

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A rendezvous joins a shard to the state machine that finds peers (package
// reach): it keeps the sessions with the servers, carries out what the machine
// decides, and moves datagrams between relay links and those sessions. It is
// guarded by the shard's mutex, and is driven by the same law.
type rendezvous struct {
	shard         *shard
	client        *reach.Client
	links         []*serverLink // by the client's number for the server
	online        waitList
	outbox        outbox
	buf           []byte  // holds a message of a server
	untuned       []*Conn // whose keepalive is to be set anew
	retuneServers bool
	reapAt        session.Time // when side sockets are looked at next
	left          bool         // some session has left a path: side sockets may have no use any more
	serverBack    bool         // a server is reached again: what went through its relay may go on

	side       map[uint32]*sideSocket
	sideFailed uint64 // side sockets that could not be opened
	dropped    uint64 // datagrams for a relay that could not be asked
}

// A serverLink is the way to one rendezvous server.
type serverLink struct {
	number   int
	server   wire.Server
	dials    int // how many were begun: a slow lookup of names must not overtake a newer one
	stream   serverStream
	sess     *session.Session
	up       bool
	readable bool
}

// An outbox holds datagrams on their way to a relay: the core may not be changed
// while it is being drained.
type outbox struct {
	slab  []byte
	items []outboxItem
}

type outboxItem struct {
	link *serverLink
	end  int // in slab; it begins where the one before ends
}

// outboxMax bounds what one drain may put into the outbox, in bytes.
const outboxMax = 256 << 10

func newRendezvous(s *shard, servers []wire.Server, seed [32]byte) *rendezvous {
	return &rendezvous{
		shard: s,
		client: reach.New(reach.Config{
			Self:    s.node.id,
			Servers: servers,
			Known:   func(peer PeerID) bool { return len(s.peers[peer]) > 0 },
			Direct: func(peer PeerID) bool {
				return slices.ContainsFunc(s.peers[peer], func(c *Conn) bool { return c.path.Kind == Direct })
			},
			Accepts:   s.node.accepts,
			Busy:      s.busy,
			RelayOnly: s.node.cfg.RelayOnly,
			Search:    s.node.cfg.Search,
		}, seed),
		side: make(map[uint32]*sideSocket),
		buf:  make([]byte, datagramBufferLen+wire.RelayHeaderLen),
	}
}

func (r *rendezvous) deadline() session.Time { return r.client.Deadline() }

// link returns the record of a server by its number.
func (r *rendezvous) link(i int) *serverLink {
	for len(r.links) <= i {
		r.links = append(r.links, &serverLink{number: len(r.links)})
	}
	return r.links[i]
}

// followUp makes the changes that draining made due: it hands over what servers
// sent, sends what is for relays, and acts for the client.
func (r *rendezvous) followUp(now session.Time) bool {
	made := false
	for _, l := range r.links {
		if l.readable {
			l.readable = r.read(now, l)
			made = true
		}
	}
	if len(r.outbox.items) > 0 {
		r.flush(now)
		made = true
	}
	for a, ok := r.client.Next(); ok; a, ok = r.client.Next() {
		r.act(now, a)
		made = true
	}
	if r.left || len(r.side) > 0 && r.reapAt <= now {
		r.left = false
		r.reapSides(now)
	}
	if r.serverBack {
		r.serverBack = false
		made = r.retryTroubled(now) || made
	}
	return r.tune(now) || made
}

// read takes up to batchMax messages of a server and reports whether there may
// be more.
func (r *rendezvous) read(now session.Time, l *serverLink) bool {
	for range batchMax {
		if l.sess == nil {
			return false
		}
		if n, ok := r.next(now, l, wire.ChannelControl); ok {
			r.client.HandleControl(now, l.number, r.buf[:n])
			continue
		}
		n, ok := r.next(now, l, wire.ChannelRelay)
		if !ok {
			return false
		}
		if link, datagram, ok := r.client.HandleRelay(now, l.number, r.buf[:n]); ok {
			r.shard.core.HandleDatagram(now, session.Path{Link: link}, wire.NotECT, datagram)
		}
	}
	return true
}

// next takes a message into r.buf. One that is too long is no message of the
// protocol, and is left where it does no harm: it uses up the server's credit.
func (r *rendezvous) next(now session.Time, l *serverLink, channel uint16) (n int, ok bool) {
	n, _, ok, err := l.sess.RecvInto(now, channel, r.buf)
	return n, ok && err == nil
}

// relay takes a datagram that goes over a relay link.
func (r *rendezvous) relay(d session.Datagram) {
	number, peer, ok := r.client.Target(d.Path.Link)
	if !ok || !r.link(number).up {
		r.dropped++
		return
	}
	segments(d.Data, d.Segment, func(b []byte) error {
		if !r.outbox.add(r.links[number], peer, b) {
			r.dropped++
		}
		return nil
	})
}

func (o *outbox) add(l *serverLink, peer PeerID, b []byte) bool {
	if len(o.slab)+len(b) > outboxMax {
		return false
	}
	o.slab = append(wire.AppendRelay(o.slab, peer), b...)
	o.items = append(o.items, outboxItem{l, len(o.slab)})
	return true
}

func (r *rendezvous) flush(now session.Time) {
	start := 0
	for _, item := range r.outbox.items {
		m := session.Message{
			Channel: wire.ChannelRelay, Mode: wire.Unreliable,
			Data: r.outbox.slab[start:item.end], Deadline: now.Add(relayPatience),
		}
		start = item.end
		if item.link.sess == nil {
			r.dropped++
			continue
		}
		if _, err := item.link.sess.Send(now, &m); err != nil {
			r.dropped++
		}
	}
	r.outbox.slab, r.outbox.items = r.outbox.slab[:0], r.outbox.items[:0]
}

// relayPatience is how long a datagram for a relay may wait for the server to
// be reached. What it holds is sent again anyway.
const relayPatience = 300 * time.Millisecond

// retryTroubled lets the sessions that have no path try again at once, and
// reports whether there are any.
func (r *rendezvous) retryTroubled(now session.Time) (made bool) {
	for c := range r.shard.conns {
		if c.troubled {
			c.troubled, made = false, true
			c.sess.Retry(now)
		}
	}
	return made
}

// handleEvent takes an event of a session with a server. It makes no change to
// the core.
func (r *rendezvous) handleEvent(now session.Time, l *serverLink, ev session.Event) {
	if ev.Session != l.sess {
		return // one that a newer session has replaced
	}
	switch ev.Kind {
	case session.Established:
		l.up, r.retuneServers, r.serverBack = true, true, true
		l.stream.next = 0
		r.client.ServerUp(now, l.number, remoteUDP(ev.Session.Path()), ev.Session.Stats().SmoothedRTT)
	case session.PathFailed, session.Stranded:
		r.wantStream(now, l)
	case session.PathValidated:
		r.serverBack = true
	case session.PathChanged:
		r.serverBack = true
		r.client.ServerAt(now, l.number, remoteUDP(ev.Path))
		if l.stream.link != 0 && !ev.Path.IsRelay() {
			l.stream.retries = 0
			r.planUDP(l, streamIdle)
		}
	case session.Readable:
		l.readable = true
		r.client.ServerRTT(l.number, ev.Session.Stats().SmoothedRTT)
	case session.Closed:
		wasUp := l.up
		l.sess, l.up, l.readable = nil, false, false
		r.client.ServerDown(now, l.number, ev.Err)
		r.retuneAll()
		if wasUp {
			r.shard.node.tellServerLost(r.shard, l.server, ev.Err)
		}
	}
}

// probedMax bounds how many sessions with one peer probe its candidates, the
// newest first. A path that one of them finds is tried by the others; and a peer
// must not multiply what its introductions make us send by opening many.
const probedMax = 5

// act carries out a decision of the client.
func (r *rendezvous) act(now session.Time, a reach.Action) {
	switch a.Kind {
	case reach.DialServer:
		r.dialServer(now, a.Server)
	case reach.SendControl:
		if l := r.link(a.Server); l.sess != nil {
			// An error means that the session has ended or is stuck: its end
			// follows, and then the client begins again.
			l.sess.Send(now, &session.Message{Channel: wire.ChannelControl, Data: a.Data})
		}
	case reach.SendSTUN:
		r.shard.writeOn(a.Link, a.Data, 0, wire.NotECT, a.Addr)
	case reach.SendOpener:
		r.shard.sendOpener(a.Link, a.Addr)
	case reach.Guess:
		r.guess(now, a.Peer, a.Link, a.Addr)
	case reach.OpenSocket:
		r.openSide(a.Link, a.Addr.Addr())
	case reach.CloseSocket:
		r.closeSide(now, a.Link)
	case reach.OpenRelay:
		r.openRelay(now, a.Peer, session.Path{Link: a.Link})
	case reach.Probe:
		list := r.shard.peers[a.Peer]
		for _, c := range list[max(0, len(list)-probedMax):] {
			c.sess.AddPath(now, session.Path{Link: a.Link, Remote: a.Addr})
		}
	case reach.Surveyed:
		r.retuneServers = true
		r.retuneAll()
	case reach.Registered:
		r.online.wake()
		r.retuneAll()
		r.shard.node.tellRegistered(r.shard, r.link(a.Server).server)
	case reach.Introduced:
		r.shard.node.tellIntroduced(r.shard, a.ID, a.Peer)
	case reach.Failed:
		for _, d := range append([]*dial(nil), r.shard.dials[a.Peer]...) {
			d.introductionFailed(now, a.Err)
		}
	}
}

func (r *rendezvous) openRelay(now session.Time, peer PeerID, p session.Path) {
	for _, d := range r.shard.dials[peer] {
		if d.introducing {
			d.addPath(now, p)
		}
	}
	if r.shard.node.cfg.NoRelay {
		return
	}
	for _, c := range r.shard.peers[peer] {
		c.sess.AddPath(now, p)
	}
}

// dialServer opens a session with a server, after looking up its name if it has
// one.
func (r *rendezvous) dialServer(now session.Time, i int) {
	l := r.link(i)
	l.server = r.client.Server(i).Server
	l.dials++
	if ap, err := netip.ParseAddrPort(l.server.Addr); err == nil {
		r.connect(now, l, []netip.AddrPort{ap})
		return
	}
	dial, addr := l.dials, l.server.Addr
	r.shard.node.lookup(addr, func(found []netip.AddrPort, err error) {
		r.shard.drive(func(now session.Time) {
			switch {
			case l.dials != dial || r.shard.closed:
			case err != nil:
				r.client.ServerDown(now, i, err)
			default:
				r.connect(now, l, found)
			}
		})
	})
}

// serverAddrsMax bounds the addresses of one server that are tried at once.
const serverAddrsMax = 4

func (r *rendezvous) connect(now session.Time, l *serverLink, addrs []netip.AddrPort) {
	var paths []session.Path
	for _, a := range addrs[:min(len(addrs), serverAddrsMax)] {
		paths = append(paths, session.Path{Remote: dialable(a)})
	}
	l.stream.udp = paths
	if l.stream.link != 0 {
		paths = append(paths[:len(paths):len(paths)], session.Path{Link: l.stream.link})
	}
	sess, err := r.shard.core.Dial(now, session.DialOptions{
		Peer: l.server.ID, App: wire.RendezvousApp, Paths: paths, Timeout: reach.ServerDialTimeout,
	})
	if err != nil {
		r.client.ServerDown(now, l.number, err)
		return
	}
	sess.User, l.sess, l.up = l, sess, false
	if l.stream.link == 0 {
		l.stream.after(r.shard, streamDelay, func(now session.Time) {
			if !l.up {
				r.wantStream(now, l)
			}
		})
	}
}

// remoteUDP returns where a path over UDP leads; the zero AddrPort for any other.
func remoteUDP(p session.Path) netip.AddrPort {
	if p.IsRelay() {
		return netip.AddrPort{}
	}
	return p.Remote
}

// established tells the client that candidates of a peer can be probed.
func (r *rendezvous) established(now session.Time, c *Conn) { r.client.PeerUp(now, c.Peer()) }

// pathLost asks for an introduction with a peer that has stopped answering. That
// there is no server to ask is no news.
func (r *rendezvous) pathLost(c *Conn) {
	r.client.Introduce(r.shard.node.now(), c.Peer(), false)
}

// describe says where a relay link leads.
func (r *rendezvous) describe(link uint32) Path {
	p := Path{Kind: Relayed}
	if number, _, ok := r.client.Target(link); ok {
		l := r.link(number)
		p.Via = l.server.ID
		if l.sess != nil {
			p.Remote = l.sess.Path().Remote
		}
	}
	return p
}

// hangUp ends the sessions with the servers.
func (r *rendezvous) hangUp(now session.Time) {
	for _, l := range r.links {
		if sess := l.sess; sess != nil {
			l.sess, l.up = nil, false
			sess.Close(now, CodeGoodbye, goodbye)
		}
	}
}

// shut ends what runs beside the sessions.
func (r *rendezvous) shut() {
	for _, s := range r.side {
		s.close()
	}
	for _, l := range r.links {
		l.stream.stop()
	}
}

// isOnline reports whether some server can introduce peers to this node.
func (r *rendezvous) isOnline() bool {
	for i := range r.client.Servers() {
		if r.client.Server(i).State == reach.Online {
			return true
		}
	}
	return false
}

// WaitOnline waits until a rendezvous server knows the node, so that peers can
// dial it. It goes on trying until ctx ends; Status tells what stands in the way.
// Without Config.Rendezvous it fails with ErrNoRendezvous.
func (n *Node) WaitOnline(ctx context.Context) error {
	if len(n.servers) == 0 {
		return ErrNoRendezvous
	}
	s := n.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.reach.isOnline() {
		if n.isClosing() {
			return ErrClosed
		}
		if err := s.wait(ctx, &s.reach.online); err != nil {
			return err
		}
	}
	return nil
}

// lookupTimeout bounds the lookup of a server's name.
const lookupTimeout = 5 * time.Second

// lookup finds the addresses of host:port in a goroutine of its own.
func (n *Node) lookup(addr string, done func([]netip.AddrPort, error)) {
	n.running.Go(func() { done(n.resolve(addr)) })
}

func (n *Node) resolve(addr string) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(n.ctx, lookupTimeout)
	defer cancel()
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host) // at least one, or an error
	if err != nil {
		return nil, err
	}
	found := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		found = append(found, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return found, nil
}
