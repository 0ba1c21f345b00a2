package nodetest_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

var (
	serverAddr  = netip.MustParseAddr("198.51.100.1")
	server6     = netip.MustParseAddr("2001:db8:1::1")
	publicAlice = netip.MustParseAddr("203.0.113.1")
	publicBob   = netip.MustParseAddr("203.0.113.2")
	private     = netip.MustParseAddr("10.0.0.2")
	private6    = netip.MustParseAddr("2001:db8::2")
)

// A lab is alice behind a NAT, and a server, 10 ms from her.
type lab struct {
	*nodetest.Net
	t             *testing.T
	home          *wiretest.NAT
	alice, server *wiretest.Host
	a, s          *nodetest.Stack
}

func bubble(t *testing.T, cfg wiretest.NATConfig, f func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{Net: nodetest.New(1), t: t}
		l.home = l.NAT("home", nil, cfg, publicAlice)
		l.alice = l.Host("alice", l.home, private, private6)
		l.server = l.Host("server", nil, serverAddr, server6)
		l.do(func() { l.alice.SetLink(wiretest.Link{Delay: 10 * time.Millisecond}) })
		l.a, l.s = l.Stack(l.alice), l.Stack(l.server)
		f(t, l)
		if t.Failed() {
			t.Log(l.Ladder())
		}
	})
}

func (l *lab) do(f func()) { l.Do(func(*wiretest.Net) { f() }) }

func (l *lab) listen(s *nodetest.Stack, addr string) *nodetest.PacketConn {
	l.t.Helper()
	c, err := s.ListenUDP(netip.MustParseAddrPort(addr))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c.(*nodetest.PacketConn)
}

// wantRead reads one datagram within a second.
func wantRead(t *testing.T, c net.PacketConn, want string) (from netip.AddrPort) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 100)
	n, addr, err := c.ReadFrom(buf)
	if err != nil || string(buf[:n]) != want {
		t.Errorf("read %q, %v, want %q", buf[:n], err, want)
		return from
	}
	return addr.(*net.UDPAddr).AddrPort()
}

func wantNothing(t *testing.T, c net.PacketConn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Second))
	if n, from, err := c.ReadFrom(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes from %v, %v, want a timeout", n, from, err)
	}
}

func write(t *testing.T, c *nodetest.PacketConn, what, to string) {
	t.Helper()
	if _, err := c.WriteTo([]byte(what), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
		t.Error(err)
	}
}

func TestSocketsOfBothFamiliesShareAPort(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		s4, s6 := l.listen(l.s, "0.0.0.0:3478"), l.listen(l.s, "[::]:3478")
		a4, a6 := l.listen(l.a, "0.0.0.0:0"), l.listen(l.a, "[::]:0")
		write(t, a4, "four", "198.51.100.1:3478")
		write(t, a6, "six", "[2001:db8:1::1]:3478")
		if from := wantRead(t, s4, "four"); from.Addr() != publicAlice {
			t.Errorf("IPv4 came from %v", from)
		}
		if from := wantRead(t, s6, "six"); from.Addr() != private6 {
			t.Errorf("IPv6 came from %v", from)
		}
		if local := a4.LocalAddr().String(); a4.AddrPort().Port() < 49152 || !a4.AddrPort().Addr().IsUnspecified() {
			t.Errorf("bound to %s", local)
		}
		if _, err := a4.WriteTo(nil, net.UDPAddrFromAddrPort(s6.AddrPort())); err == nil {
			t.Error("an IPv4 socket sent to IPv6")
		}
	})
}

func TestPortIsTakenOnce(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		first := l.listen(l.a, "0.0.0.0:4000")
		l.listen(l.a, "[::]:4000")
		for _, addr := range []string{"0.0.0.0:4000", "10.0.0.2:4000", "[2001:db8::2]:4000"} {
			if _, err := l.a.ListenUDP(netip.MustParseAddrPort(addr)); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s: %v, want that it is in use", addr, err)
			}
		}
		if _, err := l.a.ListenUDP(netip.MustParseAddrPort("192.0.2.9:1")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("the address of nobody: %v", err)
		}
		first.Close()
		l.listen(l.a, "10.0.0.2:4000")
	})
}

func TestSocketBoundToOneOfTwoAddresses(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		second := netip.MustParseAddr("198.51.100.2")
		var h *wiretest.Host
		l.Do(func(n *wiretest.Net) { h = n.Host("two", nil, netip.MustParseAddr("198.51.100.3"), second) })
		one, two := l.listen(l.Stack(h), "198.51.100.3:7"), l.listen(l.Stack(h), "198.51.100.2:7")
		a := l.listen(l.a, "0.0.0.0:4000")
		write(t, a, "hello", "198.51.100.2:7")
		to := wantRead(t, two, "hello")
		wantNothing(t, one)
		write(t, two, "answer", to.String())
		if from := wantRead(t, a, "answer"); from.Addr() != second {
			t.Errorf("answered from %v", from)
		}
	})
}

func TestLowTTLOpensOnlyTheOwnNAT(t *testing.T) {
	bubble(t, wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}, func(t *testing.T, l *lab) {
		a, s := l.listen(l.a, "0.0.0.0:4000"), l.listen(l.s, "0.0.0.0:3478")
		to := netip.AddrPortFrom(serverAddr, 3478)
		if n, err := a.WriteTTL([]byte("opening"), 4, to); n != 7 || err != nil {
			t.Fatal(n, err)
		}
		wantNothing(t, s)
		write(t, s, "in", "203.0.113.1:4000")
		wantRead(t, a, "in")
	})
}

func TestReadDeadlineCanBeMoved(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		c, start := l.listen(l.a, "0.0.0.0:0"), time.Now()
		c.SetReadDeadline(start.Add(time.Hour))
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(start.Add(2 * time.Second)) })
		if _, _, err := c.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { c.Close() })
		if _, _, err := c.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want that it is closed", err)
		}
	})
}

func TestRefusalIsAReadError(t *testing.T) {
	cfg := wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent, ICMP: true}
	bubble(t, cfg, func(t *testing.T, l *lab) {
		s := l.listen(l.s, "0.0.0.0:3478")
		write(t, s, "x", "203.0.113.1:4000")
		if _, _, err := s.ReadFrom(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v, want a refusal", err)
		}
	})
}

func TestMulticastReachesSocketsThatJoined(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		neighbour := l.Host("neighbour", l.home, netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("2001:db8::3"))
		third := l.Host("third", l.home, netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("2001:db8::4"))
		for _, group := range []string{"239.1.2.3", "ff02::1234"} {
			family := map[bool]string{true: "0.0.0.0", false: "[::]"}[netip.MustParseAddr(group).Is4()]
			a := l.listen(l.a, family+":0")
			member, other := l.listen(l.Stack(neighbour), family+":5000"), l.listen(l.Stack(neighbour), family+":5001")
			stranger, far := l.listen(l.Stack(third), family+":5000"), l.listen(l.s, family+":5000")
			for _, c := range []*nodetest.PacketConn{member, other, far} {
				if err := c.JoinGroup(netip.MustParseAddr(group)); err != nil {
					t.Fatal(err)
				}
			}
			write(t, a, "who is there", netip.AddrPortFrom(netip.MustParseAddr(group), 5000).String())
			if from := wantRead(t, member, "who is there"); from.Addr() != l.alice.Addrs()[0] && from.Addr() != l.alice.Addrs()[1] {
				t.Errorf("asked from %v", from)
			}
			for _, c := range []*nodetest.PacketConn{other, stranger, far} {
				wantNothing(t, c)
			}
			if err := member.JoinGroup(private); err == nil {
				t.Error("joined what is no group")
			}
		}
	})
}

func TestStackTellsOfItsAddresses(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		want := func(what string, told bool, addresses ...string) {
			t.Helper()
			select {
			case <-l.a.Changed():
				if !told {
					t.Errorf("%s: told of a change", what)
				}
			default:
				if told {
					t.Errorf("%s: told of no change", what)
				}
			}
			var got []string
			for _, p := range l.a.Addresses() {
				got = append(got, p.String())
			}
			if !slices.Equal(got, addresses) {
				t.Errorf("%s: %v, want %v", what, got, addresses)
			}
		}
		c := l.listen(l.a, "0.0.0.0:4000")
		want("at first", false, "10.0.0.2/24", "2001:db8::2/64")
		l.do(func() { l.alice.Unplug() })
		want("unplugged", true)
		if _, err := c.WriteTo(nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(serverAddr, 1))); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sent on an unplugged link: %v", err)
		}
		l.do(func() { l.alice.Plug() })
		want("plugged", true, "10.0.0.2/24", "2001:db8::2/64")
		l.do(func() { l.home.Rebind() })
		want("somebody else's change", false, "10.0.0.2/24", "2001:db8::2/64")
		l.do(func() { l.alice.Move(nil, publicBob) })
		l.a.SetPrefixLen(28, 64)
		want("moved", true, "203.0.113.2/28")
		s := l.listen(l.s, "0.0.0.0:3478")
		write(t, c, "still here", "198.51.100.1:3478")
		if from := wantRead(t, s, "still here"); from.Addr() != publicBob {
			t.Errorf("seen from %v", from)
		}
	})
}
