package node

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/node/wslink"
	"github.com/seed-67dce94e/holdfast/session"
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

// linkStream marks the links that are streams. Relay links have smaller numbers.
const linkStream uint32 = 1 << 30

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
				s.core.HandleDatagram(now, from, b)
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
// without. A network that blocks it is left sooner or later.
var udpRetries = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// A serverStream is a server link's stream, if it has or wants one.
type serverStream struct {
	link    uint32 // 0: there is none
	dialing bool
	next    session.Time // when another attempt may begin
	udp     []session.Path
	retries int
	err     error       // of the last attempt
	timer   *time.Timer // for whatever comes next
}

// wantStream opens a stream to a server that does not answer over UDP. The shard
// is locked.
func (r *rendezvous) wantStream(now session.Time, l *serverLink) {
	t := &l.stream
	if r.shard.node.cfg.PacketConn != nil {
		return // it is all the network that the node was given
	}
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
		t.err = err
		return
	}
	if l.sess == nil || r.shard.closed {
		c.Close()
		return
	}
	t.err, t.retries = nil, 0
	t.link = r.shard.node.streams.add(c)
	link, n := t.link, r.shard.node
	n.running.Go(func() { n.serveStream(link, c) })
	l.sess.AddPath(now, session.Path{Link: link})
	r.planUDP(l)
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

// planUDP tries UDP again, more and more rarely, while the session with a server
// has to do without.
func (r *rendezvous) planUDP(l *serverLink) {
	t := &l.stream
	wait := udpRetries[min(t.retries, len(udpRetries)-1)]
	t.retries++
	t.after(r.shard, wait, func(now session.Time) {
		if t.link == 0 || l.sess == nil {
			return
		}
		if !l.sess.Path().IsRelay() {
			r.dropStream(l)
			return
		}
		r.tryUDP(now, l)
		r.planUDP(l)
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

// dialStream opens a WebSocket to a server: on the TCP port of the same number,
// and, if the server has a name and so may have a certificate, on 443. The first
// that opens is used.
func (n *Node) dialStream(addr string) (*wslink.Conn, error) {
	ctx, cancel := context.WithTimeout(n.ctx, streamDial)
	defer cancel()
	urls := []string{"ws://" + addr}
	if host, _, err := net.SplitHostPort(addr); err == nil {
		if _, err := netip.ParseAddr(host); err != nil {
			urls = append(urls, "wss://"+host)
		}
	}
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
