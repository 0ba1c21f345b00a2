package node

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/node/wslink"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Streams are links over a WebSocket, between nodes and servers whose datagrams
// do not get through. To a session they are like relays: something that carries
// its datagrams, at a price.
//
//	session --- path over UDP ------------------x         blocked
//	        \-- path over link 0x40000001 --- wslink --- TCP 3478, or TLS 443
type streams struct {
	mu     sync.Mutex
	last   uint32
	byLink map[uint32]*wslink.Conn
}

// linkStream marks the links that are streams.
const linkStream = reach.LinkEnd

func isStream(link uint32) bool { return link&linkStream != 0 && link < session.LinkSocket }

func (t *streams) add(c *wslink.Conn) (link uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byLink == nil {
		t.byLink = make(map[uint32]*wslink.Conn)
	}
	t.last = (t.last + 1) % linkStream
	link = linkStream | t.last
	t.byLink[link] = c
	return link
}

func (t *streams) get(link uint32) *wslink.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byLink[link]
}

func (t *streams) remove(link uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byLink, link)
}

func (t *streams) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.byLink {
		c.Close()
	}
}

// AttachStream lets sessions use a WebSocket that a server has taken, and blocks
// until it ends.
func (n *Node) AttachStream(c *wslink.Conn) {
	link := n.streams.add(c)
	if n.isClosing() {
		c.Close() // whoever closes the node may not have seen it
	}
	n.serveStream(link, c)
}

// serveStream hands the datagrams of a stream to the shards they are for, until
// it ends.
func (n *Node) serveStream(link uint32, c *wslink.Conn) {
	from := session.Path{Link: link}
	c.Serve(func(b []byte) {
		s := n.shards[n.shardOf(b)]
		s.drive(func(now session.Time) {
			if !s.closed {
				s.core.HandleDatagram(now, from, wire.NotECT, b)
			}
		})
	})
	n.streams.remove(link)
	for _, s := range n.shards {
		s.drive(func(now session.Time) { s.streamEnded(now, link) })
	}
}

// streamEnded takes a link from the sessions that used it.
func (s *shard) streamEnded(now session.Time, link uint32) {
	for c := range s.streamed[link] {
		c.sess.DropLink(now, link)
	}
	delete(s.streamed, link)
	if s.reach != nil {
		s.reach.streamEnded(now, link)
	}
}

// noteStream remembers that a session's data takes a stream.
func (s *shard) noteStream(c *Conn, p session.Path) {
	if !isStream(p.Link) {
		return
	}
	if s.streamed[p.Link] == nil {
		s.streamed[p.Link] = make(map[*Conn]struct{})
	}
	s.streamed[p.Link][c] = struct{}{}
}

// describeStream says where a stream leads.
func (s *shard) describeStream(link uint32) Path {
	p := Path{Kind: Streamed}
	if c := s.node.streams.get(link); c != nil {
		p.Remote = c.RemoteAddr()
	}
	return p
}

// sendStream sends datagrams over a stream. What finds no room is lost, as on any
// path.
func (s *shard) sendStream(d session.Datagram) {
	c := s.node.streams.get(d.Path.Link)
	segments(d.Data, d.Segment, func(b []byte) error {
		if c == nil || !c.Send(b) {
			s.streamDropped++
		}
		return nil
	})
}

// Times of a server link's stream.
const (
	streamDelay = 600 * time.Millisecond // for which a server is asked over UDP alone
	streamDial  = 5 * time.Second
	streamPause = 2 * time.Second  // between attempts
	streamIdle  = 20 * time.Second // after UDP has come back
)

// udpRetries is when UDP is tried again by a session with a server that had to do
// without. A network that blocks it is left sooner or later; and whoever uses the
// stream, which has carried so many datagrams since UDP was last tried, would be
// better off without.
var udpRetries = []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second}

const (
	udpRetryInUse = 2 * time.Second
	streamInUse   = 20
)

// A serverStream is a server link's stream, if it has or wants one.
type serverStream struct {
	link    uint32 // 0: there is none
	dialing bool
	next    session.Time // when another attempt may begin
	udp     []session.Path
	retries int
	carried uint64      // datagrams, when UDP was last tried
	timer   *time.Timer // for whatever comes next
}

// wantStream opens a stream to a server that does not answer over UDP. The shard
// is locked.
func (r *rendezvous) wantStream(now session.Time, l *serverLink) {
	t := &l.stream
	if t.link != 0 || t.dialing || t.next > now || l.sess == nil {
		return
	}
	t.dialing, t.next = true, now.Add(streamPause)
	addr := l.server.Addr
	n := r.shard.node
	n.running.Go(func() {
		c, err := n.dialStream(addr)
		r.shard.drive(func(now session.Time) { r.streamOpen(now, l, c, err) })
	})
}

// streamOpen gives a stream to the session with its server.
func (r *rendezvous) streamOpen(now session.Time, l *serverLink, c *wslink.Conn, err error) {
	t := &l.stream
	t.dialing = false
	if err != nil {
		return // the next failure of a path asks for another attempt
	}
	if l.sess == nil || r.shard.closed {
		c.Close()
		return
	}
	t.retries, t.carried = 0, 0
	t.link = r.shard.node.streams.add(c)
	link, n := t.link, r.shard.node
	n.running.Go(func() { n.serveStream(link, c) })
	l.sess.AddPath(now, session.Path{Link: link})
	r.planUDP(l, udpRetries[0])
}

func (r *rendezvous) streamEnded(now session.Time, link uint32) {
	for _, l := range r.links {
		if l.stream.link == link {
			l.stream.link = 0
			if l.sess != nil {
				l.sess.DropLink(now, link)
			}
		}
	}
}

// backOff returns how long to wait before UDP is tried again: longer each time,
// unless the stream is in use.
func (t *serverStream) backOff(s wslink.Stats) time.Duration {
	carried := s.Sent + s.Received
	used := carried - t.carried
	t.carried = carried
	if used >= streamInUse {
		t.retries = 0
		return udpRetryInUse
	}
	t.retries = min(t.retries+1, len(udpRetries)-1)
	return udpRetries[t.retries]
}

// planUDP looks at a session with a server after a while: if UDP carries it, its
// stream is closed, or else UDP is tried again, more and more rarely.
func (r *rendezvous) planUDP(l *serverLink, wait time.Duration) {
	t := &l.stream
	t.after(r.shard, wait, func(now session.Time) {
		if t.link == 0 || l.sess == nil {
			return
		}
		if !l.sess.Path().IsRelay() {
			r.dropStream(l)
			return
		}
		r.tryUDP(now, l)
		if c := r.shard.node.streams.get(t.link); c != nil {
			r.planUDP(l, t.backOff(c.Stats()))
		}
	})
}

// tryUDP lets the session with a server ask for it over UDP again, at once: if it
// has to do without, or if it has not been answered yet.
func (r *rendezvous) tryUDP(now session.Time, l *serverLink) {
	if l.sess == nil || l.up && !isStream(l.sess.Path().Link) {
		return
	}
	for _, p := range l.stream.udp {
		l.sess.AddPath(now, p)
	}
}

// dropStream closes a stream that is no longer needed.
func (r *rendezvous) dropStream(l *serverLink) {
	if c := r.shard.node.streams.get(l.stream.link); c != nil {
		c.Close()
	}
}

// after does something with the shard locked, unless something else was planned
// since.
func (t *serverStream) after(s *shard, d time.Duration, do func(now session.Time)) {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer = time.AfterFunc(d, func() {
		s.drive(func(now session.Time) {
			if !s.closed {
				do(now)
			}
		})
	})
}

func (t *serverStream) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

var errOnlyPacketConn = errors.New("node: Config.PacketConn is all the network there is")

// streamURLs lists where a server may take WebSockets: on the TCP port of the same
// number, and, if it has a name and so may have a certificate, on 443.
func streamURLs(addr string) []string {
	urls := []string{"ws://" + addr}
	if host, _, err := net.SplitHostPort(addr); err == nil {
		if _, err := netip.ParseAddr(host); err != nil {
			urls = append(urls, "wss://"+host)
		}
	}
	return urls
}

// dialStream opens a WebSocket to a server. The first that opens is used.
func (n *Node) dialStream(addr string) (*wslink.Conn, error) {
	if n.cfg.PacketConn != nil {
		return nil, errOnlyPacketConn
	}
	ctx, cancel := context.WithTimeout(n.ctx, streamDial)
	defer cancel()
	urls := streamURLs(addr)
	type result struct {
		conn *wslink.Conn
		err  error
	}
	results := make(chan result, len(urls))
	for _, u := range urls {
		n.running.Go(func() {
			c, err := wslink.Dial(ctx, u, n.streamConfig())
			results <- result{c, err}
		})
	}
	first := <-results
	for range urls[1:] {
		if first.err == nil {
			cancel() // the others come too late
		}
		switch r := <-results; {
		case r.err == nil && first.err == nil:
			r.conn.Close()
		case r.err == nil:
			first = r
		}
	}
	return first.conn, first.err
}

// streamConfig makes streams begin in the node's stack, if it has one.
func (n *Node) streamConfig() *wslink.DialConfig {
	stack := n.cfg.Stack
	if stack == nil {
		return nil
	}
	return &wslink.DialConfig{
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(addr)
			if err != nil {
				return nil, err
			}
			return stack.DialTCP(ctx, to)
		},
	}
}
