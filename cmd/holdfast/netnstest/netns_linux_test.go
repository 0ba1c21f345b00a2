package netnstest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

var (
	routerAddr = netip.MustParseAddr("203.0.113.1")
	movedAddr  = netip.MustParseAddr("203.0.113.9")
	firstAddr  = netip.MustParseAddr("198.51.100.1")
	secondAddr = netip.MustParseAddr("198.51.100.2")
)

const (
	oneWay   = 10 * time.Millisecond // from the middle
	tooLong  = 200 * time.Millisecond
	anyPort  = 5000
	nextPort = 5001
)

// A lab is a socket behind a router, and three on the Internet.
type lab struct {
	t        *testing.T
	router   *Router
	inside   *net.UDPConn
	first    *net.UDPConn // the same address as next
	next     *net.UDPConn
	second   *net.UDPConn // another address
	internet *Internet
}

func newLab(t *testing.T, nat NAT) *lab {
	l := &lab{t: t, internet: New("lab")}
	t.Cleanup(func() {
		if err := l.internet.Close(); err != nil {
			t.Error(err)
		}
	})
	one := must(l.internet.PublicHost("one", firstAddr, oneWay))
	two := must(l.internet.PublicHost("two", secondAddr, oneWay))
	l.router = must(l.internet.Router("r", nat, routerAddr, oneWay))
	host := must(l.internet.Host("h", l.router))
	l.inside = must(host.ListenUDP(Port))
	l.first, l.next, l.second = must(one.ListenUDP(anyPort)), must(one.ListenUDP(nextPort)), must(two.ListenUDP(anyPort))
	return l
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// mapped sends from the inside to the address and returns where it seems to
// come from.
func (l *lab) mapped(to *net.UDPConn, addr netip.Addr, port uint16) netip.AddrPort {
	l.t.Helper()
	must(l.inside.WriteToUDPAddrPort([]byte("out"), netip.AddrPortFrom(addr, port)))
	from, ok := receive(to)
	if !ok {
		l.t.Fatalf("nothing arrived at %v", to.LocalAddr())
	}
	return from
}

// passes reports whether a packet from the socket to the mapping comes in.
func (l *lab) passes(from *net.UDPConn, to netip.AddrPort) bool {
	must(from.WriteToUDPAddrPort([]byte("in"), to))
	_, ok := receive(l.inside)
	return ok
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

func TestRouterMapsAndFiltersAsItsNameSays(t *testing.T) {
	Require(t)
	for _, tt := range []struct {
		nat                NAT
		sameMapping        bool // for all destinations
		samePort, sameAddr bool // what else may answer, besides the very socket
		anybody            bool
	}{
		{EndpointIndependentFiltering, true, true, true, true},
		{AddressDependentFiltering, true, true, true, false},
		{AddressAndPortDependentFiltering, true, true, false, false},
		{AddressAndPortDependentMapping, false, true, false, false},
	} {
		t.Run(tt.nat.String(), func(t *testing.T) {
			l := newLab(t, tt.nat)
			m := l.mapped(l.first, firstAddr, anyPort)
			if m.Addr() != routerAddr {
				t.Errorf("mapped to %v, want the router's address %v", m, routerAddr)
			}
			if got := l.passes(l.first, m); got != tt.samePort {
				t.Errorf("answer from the address and port sent to passes: %v, want %v", got, tt.samePort)
			}
			if got := l.passes(l.next, m); got != tt.sameAddr {
				t.Errorf("packet from another port of the address passes: %v, want %v", got, tt.sameAddr)
			}
			if got := l.passes(l.second, m); got != tt.anybody {
				t.Errorf("packet from another address passes: %v, want %v", got, tt.anybody)
			}
			if got := l.mapped(l.second, secondAddr, anyPort) == m; got != tt.sameMapping {
				t.Errorf("another address sees the same mapping: %v, want %v", got, tt.sameMapping)
			}
			if got := l.mapped(l.next, firstAddr, nextPort) == m; got != tt.sameMapping {
				t.Errorf("another port sees the same mapping: %v, want %v", got, tt.sameMapping)
			}
		})
	}
}

func TestRouterForgetsMappingsWhenRebound(t *testing.T) {
	Require(t)
	for _, nat := range []NAT{EndpointIndependentFiltering, AddressDependentFiltering, AddressAndPortDependentFiltering, AddressAndPortDependentMapping} {
		t.Run(nat.String(), func(t *testing.T) {
			l := newLab(t, nat)
			old := l.mapped(l.first, firstAddr, anyPort)
			if err := l.router.Rebind(); err != nil {
				t.Fatal(err)
			}
			if l.passes(l.first, old) {
				t.Error("the old mapping still works")
			}
			m := l.mapped(l.first, firstAddr, anyPort)
			if m == old || m.Addr() != routerAddr {
				t.Errorf("mapped to %v, was %v: want another port", m, old)
			}
			if !l.passes(l.first, m) {
				t.Error("the new mapping does not work")
			}
			if err := l.router.Renumber(movedAddr); err != nil {
				t.Fatal(err)
			}
			if m = l.mapped(l.first, firstAddr, anyPort); m.Addr() != movedAddr {
				t.Errorf("mapped to %v, want the new address %v", m, movedAddr)
			}
			if !l.passes(l.first, m) {
				t.Error("the mapping on the new address does not work")
			}
		})
	}
}

func TestRouterForgetsWhomItLetIn(t *testing.T) {
	Require(t)
	l := newLab(t, AddressDependentFiltering)
	m := l.mapped(l.first, firstAddr, anyPort)
	kept := l.mapped(l.second, secondAddr, anyPort)
	if err := l.router.Forget(firstAddr); err != nil {
		t.Fatal(err)
	}
	if l.passes(l.first, m) {
		t.Error("a packet from the forgotten address passes")
	}
	if !l.passes(l.second, kept) {
		t.Error("the flow with the other address was forgotten as well")
	}
}

func TestPacketsTakeTheDelayOfBothUplinks(t *testing.T) {
	Require(t)
	l := newLab(t, EndpointIndependentFiltering)
	l.mapped(l.first, firstAddr, anyPort) // the first packet resolves neighbours on the way
	begin := time.Now()
	l.mapped(l.first, firstAddr, anyPort)
	if d := time.Since(begin); d < 2*oneWay || d > 2*oneWay+15*time.Millisecond {
		t.Errorf("one way took %v, want %v or little more", d, 2*oneWay)
	}
}
