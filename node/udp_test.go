package node_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire"
)

// The tests in this file use real sockets on the loopback interface, and so the
// real clock: they wait for nothing but datagrams.

func listenUDP(t *testing.T, cfg node.Config) *node.Node {
	t.Helper()
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	n, err := node.Listen(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func connectUDP(t *testing.T, a, b *node.Node, addr netip.AddrPort) (ab, ba *node.Conn) {
	t.Helper()
	ab, err := a.DialAddr(within(t, 10*time.Second), b.ID(), addr)
	if err != nil {
		t.Fatal(err)
	}
	ba, err = b.Accept(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return ab, ba
}

// hasIPv6 reports whether the machine has an IPv6 loopback to test with.
func hasIPv6() bool {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func TestZeroConfigNodeIsReachableOverBothFamilies(t *testing.T) {
	bob, err := node.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	alice, err := node.Listen(&node.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	for _, address := range bob.Status().Addresses {
		if address.Port() != bob.LocalAddr().Port() || address.Addr().IsUnspecified() {
			t.Errorf("nobody elsewhere reaches the node at %v, whose socket is %v", address, bob.LocalAddr())
		}
	}
	for _, ip := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		local := netip.AddrPortFrom(ip, bob.LocalAddr().Port())
		if ip.Is6() && !hasIPv6() {
			continue
		}
		ab, ba := connectUDP(t, alice, bob, local) // unspecified: this machine
		send(t, ab, "over "+local.String())
		want(t, ba, "over "+local.String())
		if p := ab.Path(); p.Remote.Addr().Is4In6() || !p.Remote.Addr().IsLoopback() {
			t.Errorf("the path is %v", p)
		}
	}
}

func TestLargeMessagesCrossRealSockets(t *testing.T) {
	alice, bob := listenUDP(t, node.Config{}), listenUDP(t, node.Config{})
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	big := make([]byte, 4<<20)
	for i := range big {
		big[i] = byte(i >> 10)
	}
	for range 3 {
		if err := ab.Send(within(t, 10*time.Second), big); err != nil {
			t.Fatal(err)
		}
		want(t, ba, string(big))
	}
}

func TestSessionsSurviveRebindOfEitherSide(t *testing.T) {
	alice, bob := listenUDP(t, node.Config{}), listenUDP(t, node.Config{})
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	for i := range 20 {
		n := alice
		if i%2 == 1 {
			n = bob
		}
		before := n.LocalAddr()
		if err := n.Rebind("127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if n.LocalAddr() == before {
			t.Error("the port is the same")
		}
		send(t, ab, number(i))
		want(t, ba, number(i))
		send(t, ba, "re: "+number(i))
		want(t, ab, "re: "+number(i))
	}
}

func TestRebindToTheSamePortAndToATakenOne(t *testing.T) {
	alice, bob := listenUDP(t, node.Config{}), listenUDP(t, node.Config{})
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	own := alice.LocalAddr()
	if err := alice.Rebind(own.String()); err != nil || alice.LocalAddr() != own {
		t.Fatalf("rebinding to the own port: %v", err)
	}
	if err := alice.Rebind(bob.LocalAddr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("rebinding to a taken port: %v", err)
	}
	send(t, ab, "as before")
	want(t, ba, "as before")
}

func TestRebindDuringTraffic(t *testing.T) {
	alice, bob := listenUDP(t, node.Config{}), listenUDP(t, node.Config{})
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := alice.Rebind("127.0.0.1:0"); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range 300 {
		send(t, ab, number(i))
		want(t, ba, number(i))
	}
	close(stop)
	all.Wait()
}

func TestPortThatIsTakenIsAnError(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = node.Listen(&node.Config{Addr: taken.LocalAddr().String()})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen: %v", err)
	}
}

func TestNodeUsesASocketItIsGiven(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := listenUDP(t, node.Config{PacketConn: conn}), listenUDP(t, node.Config{})
	if alice.LocalAddr().String() != conn.LocalAddr().String() {
		t.Errorf("LocalAddr is %v, want %v", alice.LocalAddr(), conn.LocalAddr())
	}
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	send(t, ab, "hi")
	want(t, ba, "hi")
	if err := alice.Rebind(""); !errors.Is(err, node.ErrSharedSocket) {
		t.Errorf("Rebind: %v", err)
	}
}

// What a node knows of its peers' networks is kept by its first shard. Sessions of the
// others tell and ask all the same.
func TestSessionOfAnyShardIsExplained(t *testing.T) {
	peer := node.Config{}
	for peer.Key.IsZero() || peer.Key.ID()[0]%2 == 0 { // even ones are dialled by the first shard
		var err error
		if peer.Key, err = node.NewKey(); err != nil {
			t.Fatal(err)
		}
	}
	alice, bob := listenUDP(t, node.Config{Shards: 2, Search: true}), listenUDP(t, peer)
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	if cores := alice.Status().Socket.Core; cores[1].Sessions != 1 {
		t.Fatalf("the session is of the wrong shard: %+v", cores)
	}
	for c, search := range map[*node.Conn]bool{ab: false, ba: true} {
		x := c.Explain(within(t, 10*time.Second))
		if !x.Local.Known || !x.Remote.Known || x.Remote.NAT.Has(wire.NATSearch) != search {
			t.Errorf("this side: %+v, the peer: %+v; want both known, and a peer that searches: %v", x.Local, x.Remote, search)
		}
	}
}

// The kernel spreads datagrams over the sockets of a port as it likes. Each must
// find the shard of its session.
func TestShardsServeManySessionsOnOnePort(t *testing.T) {
	server := listenUDP(t, node.Config{Shards: 4})
	var all sync.WaitGroup
	for i := range 16 {
		client := listenUDP(t, node.Config{})
		all.Go(func() {
			c, err := client.DialAddr(within(t, 10*time.Second), server.ID(), server.LocalAddr())
			if err != nil {
				t.Error(err)
				return
			}
			for k := range 20 {
				send(t, c, fmt.Sprint(i, k))
			}
			want(t, c, "bye")
		})
		all.Go(func() {
			c, err := server.Accept(within(t, 10*time.Second))
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				if _, err := c.Recv(within(t, 10*time.Second)); err != nil {
					t.Error(err)
				}
			}
			send(t, c, "bye")
		})
	}
	all.Wait()
	if n := server.Status().Socket.Misrouted; n > 0 && runtime.GOOS == "linux" {
		t.Errorf("%d datagrams came to the wrong socket", n)
	}
	shards := 0
	for _, core := range server.Status().Socket.Core {
		if core.Sessions > 0 {
			shards++
		}
	}
	if shards < 2 {
		t.Errorf("only %d shard has sessions", shards)
	}
}
