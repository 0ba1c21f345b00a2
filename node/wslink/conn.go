package wslink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
)

// Implementation.
const (
	pingInterval   = 20 * time.Second // below the idle timeouts of proxies, commonly 30 to 60 s
	pongTimeout    = 10 * time.Second
	writeTimeout   = 5 * time.Second  // for one message
	messageTimeout = 10 * time.Second // from the first byte of a message that is read to the last
	silenceTimeout = 60 * time.Second // three pings or pongs missing
)

// controlRate is how often a peer may send pings and pongs: each costs us a timer
// and perhaps an answer, and costs the peer six bytes.
var controlRate = limit.Rate{PerSecond: 1, Burst: 16}

// ErrClosed ends a connection that this side closed. It matches net.ErrClosed.
var ErrClosed = fmt.Errorf("wslink: %w", net.ErrClosed)

var (
	errStalled  = errors.New("wslink: the connection takes no data")
	errSilent   = errors.New("wslink: nothing came from the peer for too long")
	errControls = errors.New("wslink: the peer sends too many pings")
	errText     = errors.New("wslink: the peer sent a text message")
)

// A Conn is a link over one WebSocket. Its methods may be called by several
// goroutines.
type Conn struct {
	remote netip.AddrPort
	ws     *websocket.Conn
	raw    net.Conn // what ws runs over, without TLS
	queue  queue

	stalled *time.Timer // runs while a message is being written

	// The reader's.
	late     *time.Timer // runs while something is being waited for
	inside   bool        // a message
	controls limit.Bucket
	began    time.Time // when the time of controls began

	received atomic.Uint64

	running sync.WaitGroup // the writer and the pinger
	ended   chan struct{}
	end     sync.Once
	err     error // why it ended; set before ended is closed
}

// Stats counts what passed over a link.
type Stats struct {
	Sent     uint64 `json:"sent"`     // datagrams handed to TCP
	Messages uint64 `json:"messages"` // in which they were sent
	Dropped  uint64 `json:"dropped"`  // datagrams that Send refused, or that waited when the link ended
	Received uint64 `json:"received"` // datagrams
}

// newConn returns a Conn to be started. Its methods heardPing and heardPong are
// for the WebSocket that it will be started with.
func newConn() *Conn {
	return &Conn{
		queue: queue{ready: make(chan struct{}, 1)},
		began: time.Now(),
		ended: make(chan struct{}),
	}
}

func (c *Conn) start(ws *websocket.Conn, over net.Conn, remote netip.AddrPort) {
	c.ws, c.raw, c.remote = ws, belowTLS(over), remote
	tune(c.raw)
	c.stalled = time.AfterFunc(writeTimeout, func() { c.fail(errStalled) })
	c.stalled.Stop()
	c.late = time.AfterFunc(silenceTimeout, func() { c.fail(errSilent) })
	c.running.Go(c.write)
}

// Send queues a copy of a datagram, and reports whether it did. It never blocks:
// it drops what there is no room for, what is empty or longer than DatagramMax,
// and everything once the link has ended.
func (c *Conn) Send(datagram []byte) bool { return c.queue.put(datagram) }

// write sends what is queued until the link ends. It is what ends the WebSocket.
func (c *Conn) write() {
	defer c.ws.CloseNow()
	defer c.queue.close()
	for {
		select {
		case <-c.queue.ready:
		case <-c.ended:
			return
		}
		for m := c.queue.next(); m != nil; m = c.queue.next() {
			// A context that can end would cost allocations, a timer does not.
			c.stalled.Reset(writeTimeout)
			err := c.ws.Write(context.Background(), websocket.MessageBinary, m.bytes())
			c.stalled.Stop()
			c.queue.done(m, err == nil)
			if err != nil {
				c.fail(fmt.Errorf("wslink: %w", err))
				return
			}
		}
	}
}

// Serve calls handle for each datagram that arrives, one after the other, and
// returns why the link ended: ErrClosed if by Close. It must be called once,
// soon after the link is there, since it also answers pings and hears the pongs.
// A datagram is valid until handle returns. While handle blocks, nothing is
// read: the peer's datagrams stand in TCP, and a pong that comes then is late.
func (c *Conn) Serve(handle func(datagram []byte)) error {
	for {
		if err := c.serveMessage(handle); err != nil {
			c.fail(err)
			c.late.Stop()
			c.running.Wait()
			return c.err
		}
	}
}

func (c *Conn) serveMessage(handle func(datagram []byte)) error {
	c.late.Reset(silenceTimeout)
	kind, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return fmt.Errorf("wslink: %w", err)
	}
	if kind != websocket.MessageBinary {
		return errText
	}
	m := newMessage()
	defer m.free()
	if err := c.readMessage(r, m); err != nil {
		return err
	}
	n, err := check(m.bytes())
	if err != nil {
		return err
	}
	c.received.Add(uint64(n))
	for d, rest := []byte(nil), m.bytes(); len(rest) > 0 && !c.hasEnded(); {
		d, rest = cut(rest)
		handle(d)
	}
	return nil
}

func (c *Conn) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// readMessage reads to the end of a message, or one byte beyond the longest.
func (c *Conn) readMessage(r io.Reader, m *message) error {
	c.late.Reset(messageTimeout)
	c.inside = true
	defer func() { c.inside = false }()
	for m.n < len(m.buf) {
		n, err := r.Read(m.buf[m.n:])
		m.n += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("wslink: %w", err)
		}
	}
	c.late.Stop() // handle takes the time it takes
	return nil
}

// heardPing and heardPong are called by the library inside of a read, which a
// call of Close would wait for.
func (c *Conn) heardPing(context.Context, []byte) (answer bool) { return c.heardControl() }

func (c *Conn) heardPong(context.Context, []byte) { c.heardControl() }

func (c *Conn) heardControl() bool {
	if !c.controls.Take(clock.Time(time.Since(c.began)), controlRate, 1) {
		c.fail(errControls)
		return false
	}
	if !c.inside { // pings do not give a message more time
		c.late.Reset(silenceTimeout)
	}
	return true
}

// ping keeps the connection known to proxies, and notices that it is dead.
func (c *Conn) ping() {
	next := time.NewTicker(pingInterval)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-c.ended:
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), pongTimeout)
		err := c.ws.Ping(ctx)
		cancel()
		if err != nil {
			c.fail(fmt.Errorf("wslink: %w", err))
		}
	}
}

// RemoteAddr returns where the TCP connection leads, which for a client may be a
// proxy. It is the zero AddrPort if the connection is not over TCP.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.remote }

// Stats returns what has passed so far.
func (c *Conn) Stats() Stats {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return Stats{
		Sent:     c.queue.sent,
		Messages: c.queue.messages,
		Dropped:  c.queue.dropped,
		Received: c.received.Load(),
	}
}

// Close ends the link at once: what is queued is dropped, and Serve returns when
// handle does. It always returns nil.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.running.Wait()
	return nil
}

// fail ends the link, and does not wait for anything.
func (c *Conn) fail(why error) {
	c.end.Do(func() {
		c.err = why
		close(c.ended)
		c.late.Stop()
		// What TLS or the WebSocket has still to say would wait for a peer that
		// may not listen.
		c.raw.Close()
	})
}

func belowTLS(c net.Conn) net.Conn {
	for {
		t, ok := c.(*tls.Conn)
		if !ok {
			return c
		}
		c = t.NetConn() // a proxy reached over TLS makes it two
	}
}

// addrPortOf returns a TCP address without IPv4-mapped IPv6 and zones.
func addrPortOf(s string) netip.AddrPort {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
