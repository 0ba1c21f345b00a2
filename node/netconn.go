package node

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// An Addr is the net.Addr of a NetConn: who, not where.
type Addr struct{ ID PeerID }

// Network returns "holdfast".
func (Addr) Network() string { return "holdfast" }

// String returns the peer ID.
func (a Addr) String() string { return a.ID.String() }

// NetConn returns a stream of bytes over a channel, for code that wants a
// net.Conn. The peer uses the same channel in the same way. Closing it closes
// the session, after delivering what was written; a session closed by the peer
// reads as io.EOF.
func (c *Conn) NetConn(channel uint16) net.Conn {
	return &netConn{ch: c.Channel(channel, nil)}
}

// streamPiece is how much of a Write goes into one message: large enough to cost
// little, small enough that a reader gets its first bytes early.
const streamPiece = 32 << 10

type netConn struct {
	ch       *Channel
	readBy   netDeadline
	writeBy  netDeadline
	reading  sync.Mutex
	leftover []byte // of the message that was last received
	writing  sync.Mutex
}

func (c *netConn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err := c.readBy.Err(); err != nil {
		return 0, c.failed("read", err)
	}
	for len(c.leftover) == 0 && len(b) > 0 {
		m, err := c.ch.Recv(&c.readBy)
		if err != nil {
			return 0, c.failed("read", err)
		}
		c.leftover = m.Data
	}
	n := copy(b, c.leftover)
	c.leftover = c.leftover[n:]
	return n, nil
}

func (c *netConn) Write(b []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.writeBy.Err(); err != nil {
		return 0, c.failed("write", err)
	}
	for n < len(b) {
		piece := b[n:min(n+streamPiece, len(b))]
		if err := c.ch.Send(&c.writeBy, piece); err != nil {
			return n, c.failed("write", err)
		}
		n += len(piece)
	}
	return n, nil
}

// failed gives an error the form that users of net.Conn expect.
func (c *netConn) failed(op string, err error) error {
	var closed *CloseError
	if op == "read" && errors.As(err, &closed) && closed.Remote && isGoodbye(err) {
		return io.EOF
	}
	return &net.OpError{Op: op, Net: Addr{}.Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func (c *netConn) Close() error         { return c.ch.conn.Close() }
func (c *netConn) LocalAddr() net.Addr  { return Addr{c.ch.conn.shard.node.id} }
func (c *netConn) RemoteAddr() net.Addr { return Addr{c.ch.conn.Peer()} }

func (c *netConn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

func (c *netConn) SetReadDeadline(t time.Time) error  { c.readBy.set(t); return nil }
func (c *netConn) SetWriteDeadline(t time.Time) error { c.writeBy.set(t); return nil }

// A netDeadline is a deadline that can be moved while a call waits for it, in
// the form of a context. The zero value never comes.
type netDeadline struct {
	mu    sync.Mutex
	timer *time.Timer
	ended chan struct{} // closed when the deadline has come; nil until one waits or is set
}

var _ context.Context = (*netDeadline)(nil)

func (d *netDeadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.ended == nil || isClosed(d.ended) {
		d.ended = make(chan struct{})
	}
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		close(d.ended)
	default:
		d.start(left)
	}
}

// start lets the deadline come after left, unless it is set again before.
func (d *netDeadline) start(left time.Duration) {
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer {
			close(d.ended)
		}
	})
	d.timer = timer
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Done implements context.Context. A deadline moved later does not change the
// channel, so that a call that waits follows it.
func (d *netDeadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended == nil {
		d.ended = make(chan struct{})
	}
	return d.ended
}

// Err implements context.Context.
func (d *netDeadline) Err() error {
	if isClosed(d.Done()) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Deadline implements context.Context. It tells nothing: the deadline may move.
func (*netDeadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (*netDeadline) Value(any) any { return nil }

// NetListener returns a listener whose connections are the streams on a channel
// of the sessions that peers open. It takes every session: do not call Accept
// beside it. Closing it leaves the node open.
func (n *Node) NetListener(channel uint16) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	return &netListener{node: n, channel: channel, ctx: ctx, cancel: cancel}
}

type netListener struct {
	node    *Node
	channel uint16
	ctx     context.Context
	cancel  context.CancelFunc
}

func (l *netListener) Accept() (net.Conn, error) {
	c, err := l.node.Accept(l.ctx)
	if l.ctx.Err() != nil {
		err = ErrClosed
	}
	if err != nil {
		if c != nil {
			c.CloseWith(CodeBusy, "not listening any more")
		}
		return nil, &net.OpError{Op: "accept", Net: Addr{}.Network(), Addr: l.Addr(), Err: err}
	}
	return c.NetConn(l.channel), nil
}

func (l *netListener) Close() error   { l.cancel(); return nil }
func (l *netListener) Addr() net.Addr { return Addr{l.node.id} }
