package nodetest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// dialTries is how often DialTCP tries to reach the other side, after 1, 2, 4 ...
// seconds each.
const dialTries = 5

// DialTCP opens a stream. It takes a round trip, or half a minute if nothing
// comes back.
func (s *Stack) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	again := time.Second
	for range dialTries {
		c, answered, err := s.try(ctx, to)
		if answered {
			return c, err
		}
		if err := sleep(ctx, again); err != nil {
			return nil, dialError(to, err)
		}
		again *= 2
	}
	return nil, dialError(to, os.NewSyscallError("connect", syscall.ETIMEDOUT))
}

// try makes one attempt. It is not answered if something is lost on the way.
func (s *Stack) try(ctx context.Context, to netip.AddrPort) (c net.Conn, answered bool, err error) {
	course, open, err := s.course(to.Addr())
	if err != nil {
		return nil, true, dialError(to, err)
	}
	if !open {
		return nil, false, nil
	}
	if err := sleep(ctx, course.There().Delay); err != nil {
		return nil, true, dialError(to, err)
	}
	st, fate := s.meet(course, to.Port())
	if fate == lost {
		return nil, false, nil
	}
	if err := sleep(ctx, course.Back().Delay); err != nil {
		if st != nil {
			st.dialled.Close()
		}
		return nil, true, dialError(to, err)
	}
	if fate == refused {
		return nil, true, dialError(to, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return st.dialled, true, nil
}

func (s *Stack) course(to netip.Addr) (c *wiretest.Course, open bool, err error) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := s.host.Addr(to); !ok || !s.host.Plugged() {
		return nil, false, os.NewSyscallError("connect", syscall.ENETUNREACH)
	}
	c, ok := n.net.Course(s.host, to)
	return c, ok && c.Open(n.Now()), nil
}

type meeting int

const (
	accepted meeting = iota
	refused          // nobody listens
	lost
)

// meet hands a new stream to who listens at the end of its course.
func (s *Stack) meet(course *wiretest.Course, port uint16) (*stream, meeting) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if !course.Open(n.Now()) {
		return nil, lost
	}
	l := n.listeners[portKey{course.To, port}]
	if l == nil {
		return nil, refused
	}
	if len(l.backlog) >= backlogMax {
		return nil, lost
	}
	st := n.newStream(course, port)
	l.backlog = append(l.backlog, st.accepted)
	l.wake = broadcast(l.wake)
	return st, accepted
}

func dialError(to netip.AddrPort, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A Listener takes the streams that come to a port of a host.
type Listener struct {
	net     *Net
	key     portKey
	backlog []*Conn
	closed  bool
	wake    chan struct{}
}

// backlogMax is how many streams wait to be accepted; more must try again.
const backlogMax = 128

// ListenTCP waits for streams to a port of all addresses of the host. Port 0
// stands for a free one. The listener is a *Listener.
func (s *Stack) ListenTCP(port uint16) (net.Listener, error) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := func(port uint16) bool { return n.listeners[portKey{s.host, port}] != nil }
	if port == 0 {
		port, _ = s.ephemeral(taken)
	}
	l := &Listener{net: n, key: portKey{s.host, port}, wake: make(chan struct{})}
	if port == 0 || taken(port) {
		return nil, l.opError("listen", os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	n.listeners[l.key] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for {
		if l.closed {
			return nil, l.opError("accept", net.ErrClosed)
		}
		if len(l.backlog) > 0 {
			c := l.backlog[0]
			l.backlog = l.backlog[1:]
			return c, nil
		}
		l.net.wait(l.wake, nil, never)
	}
}

// Close implements net.Listener. It closes the streams that wait for Accept.
func (l *Listener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return l.opError("close", net.ErrClosed)
	}
	l.closed = true
	delete(l.net.listeners, l.key)
	for _, c := range l.backlog {
		c.close()
	}
	l.backlog = nil
	l.wake = broadcast(l.wake)
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Unspecified(), l.key.port))
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}

// broadcast wakes all who wait and returns what to wait for from then on.
func broadcast(wake chan struct{}) chan struct{} {
	close(wake)
	return make(chan struct{})
}
