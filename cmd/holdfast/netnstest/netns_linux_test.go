package netnstest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

var (
	routerAddr  = netip.MustParseAddr("203.0.113.1")
	movedAddr   = netip.MustParseAddr("203.0.113.9")
	firstAddr   = netip.MustParseAddr("198.51.100.1")
	spareAddr   = netip.MustParseAddr("198.51.100.3") // also of the first host
	secondAddr  = netip.MustParseAddr("198.51.100.2")
	routerAddr6 = netip.MustParseAddr("2001:db8:1::1")
	movedAddr6  = netip.MustParseAddr("2001:db8:1::9")
	firstAddr6  = netip.MustParseAddr("2001:db8:2::1")
	secondAddr6 = netip.MustParseAddr("2001:db8:2::2")
)

const (
	oneWay   = 5 * time.Millisecond // from the middle
	tooLong  = 150 * time.Millisecond
	anyPort  = 5000
	nextPort = 5001
)

// A lab is a socket on a host of some kind, and three on the Internet.
type lab struct {
	t        *testing.T
	internet *Internet
	host     *Host
	router   *Router
	one      *Host
	inside   *net.UDPConn
	first    *net.UDPConn // the same address as next
	next     *net.UDPConn
	second   *net.UDPConn // another address
	moved    netip.Addr   // another public address for the router
}

func newLab(t *testing.T, kind Kind) *lab {
	l := &lab{t: t, internet: newInternet(t), moved: movedAddr}
	l.one = must(l.internet.PublicHost("one", oneWay, firstAddr, spareAddr, firstAddr6))
	two := must(l.internet.PublicHost("two", oneWay, secondAddr, secondAddr6))
	addr, first, second := routerAddr, firstAddr, secondAddr
	if kind.IPv6 {
		addr, first, second, l.moved = routerAddr6, firstAddr6, secondAddr6, movedAddr6
	}
	l.host = must(l.internet.HostOf(kind, "h", addr, oneWay))
	l.router = l.host.Router()
	l.inside = must(l.host.ListenUDP(Port))
	l.first = must(l.one.ListenUDPAddr(netip.AddrPortFrom(first, anyPort)))
	l.next = must(l.one.ListenUDPAddr(netip.AddrPortFrom(first, nextPort)))
	l.second = must(two.ListenUDPAddr(netip.AddrPortFrom(second, anyPort)))
	return l
}

func newInternet(t *testing.T) *Internet {
	in := New("lab")
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func local(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// mapped sends from the inside to the socket and returns where it seems to come
// from.
func (l *lab) mapped(to *net.UDPConn) netip.AddrPort {
	l.t.Helper()
	from, ok := l.reaches(to)
	if !ok {
		l.t.Fatalf("nothing arrived at %v", to.LocalAddr())
	}
	return from
}

func (l *lab) reaches(to *net.UDPConn) (netip.AddrPort, bool) {
	send(l.inside, local(to))
	return receive(to)
}

// passes reports whether a packet from the socket to the mapping comes in.
func (l *lab) passes(from *net.UDPConn, to netip.AddrPort) bool {
	send(from, to)
	_, ok := receive(l.inside)
	return ok
}

// send loses the packet if an ICMP message about an earlier one, or an interface
// that is down, says so.
func send(c *net.UDPConn, to netip.AddrPort) {
	_, err := c.WriteToUDPAddrPort([]byte("hello"), to)
	var refused syscall.Errno
	if err != nil && !errors.As(err, &refused) {
		panic(err)
	}
}

func receive(c *net.UDPConn) (netip.AddrPort, bool) {
	var b [64]byte
	c.SetReadDeadline(time.Now().Add(tooLong))
	_, from, err := c.ReadFromUDPAddrPort(b[:])
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		panic(err)
	}
	return from, err == nil
}
