package rendezvous_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

func TestNodesBehindOneNATMeetInside(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		home := l.NAT("home", nil, wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}, netip.MustParseAddr("203.0.113.1"))
		a := l.node(l.Host("desk", home, netip.MustParseAddr("192.168.1.2")))
		b := l.node(l.Host("sofa", home, netip.MustParseAddr("192.168.1.3")))
		ab, ba := l.connect(a, b)
		if !eventually(time.Second, func() bool { return bothDirect(ab, ba) }) {
			t.Fatalf("paths %v and %v", ab.Path(), ba.Path())
		}
		if got := ab.Path().Remote.String(); got != "192.168.1.3:4000" {
			t.Errorf("the path leads over %s", got)
		}
	})
}

func TestNodesMeetOverIPv6(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.Do(func(*wiretest.Net) { l.host.Move(nil, netip.MustParseAddr("2001:db8::250")) })
		if err := l.server.Close(); err != nil {
			t.Fatal(err)
		}
		l.startServer()
		// A firewall is all that stands before an IPv6 host.
		box := wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}
		var nodes []*node.Node
		for _, a := range []string{"2001:db8:1::1", "2001:db8:2::1"} {
			nodes = append(nodes, l.node(l.Host(a, l.NAT("firewall of "+a, nil, box, netip.Addr{}), netip.MustParseAddr(a))))
		}
		ab, ba := l.connect(nodes[0], nodes[1])
		l.exchange(ab, ba)
		if !eventually(time.Second, func() bool { return bothDirect(ab, ba) }) {
			t.Errorf("paths %v and %v", ab.Path(), ba.Path())
		}
	})
}

func TestSecondServerStandsIn(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		other := l.Host("other server", nil, netip.MustParseAddr("203.0.113.251"))
		second, err := rendezvous.Listen(&rendezvous.Config{PacketConn: l.Listen(other, 3478)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { second.Close() })
		l.servers = []string{l.server.Server().String(), second.Server().String()}
		a, b := l.public(1), l.public(2)
		if !eventually(time.Second, func() bool { return second.Stats().Registered == 2 && l.server.Stats().Registered == 2 }) {
			t.Fatalf("registered: %+v and %+v", l.server.Stats(), second.Stats())
		}
		l.Do(func(*wiretest.Net) { l.host.Down.Blackhole = true })
		begun := time.Now()
		ab, ba := l.connect(a, b)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("connected after %v", took)
		}
		l.exchange(ab, ba)
		l.Do(func(*wiretest.Net) { l.host.Down.Blackhole = false })
	})
}

func TestTicketBringsItsServers(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		b := l.public(2)
		l.online(b)
		text := b.Ticket().String()
		l.servers = []string{}
		a := l.public(1)
		ticket, err := wire.ParseTicket(text)
		if err != nil {
			t.Fatal(err)
		}
		ab, err := a.DialTicket(l.within(5*time.Second), ticket)
		if err != nil {
			t.Fatal(err)
		}
		ba, err := b.Accept(l.within(5 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		l.exchange(ab, ba)
	})
}

func TestRelayedSessionBecomesDirectWhenItCan(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		hard := wiretest.NATConfig{
			Mapping: wiretest.AddressAndPortDependent, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort,
		}
		phone := l.Host("phone", l.NAT("carrier", nil, hard, netip.MustParseAddr("203.0.113.1")), netip.MustParseAddr("10.0.1.2"))
		a := l.node(phone)
		b, _ := l.behind(2, hard)
		ab, ba := l.connect(a, b)
		time.Sleep(5 * time.Second)
		if ab.Path().Kind != node.Relayed {
			t.Fatalf("path %v", ab.Path())
		}
		l.Do(func(*wiretest.Net) { phone.Move(nil, netip.MustParseAddr("203.0.113.3")) })
		if !eventually(3*time.Minute, func() bool { return bothDirect(ab, ba) }) {
			t.Errorf("paths %v and %v", ab.Path(), ba.Path())
		}
		l.exchange(ab, ba)
	})
}

// A client with a valid key says things that make no sense, and much of it.
func TestHostileClientIsContained(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.public(1), l.public(2)
		l.online(a, b)
		host := l.Host("hostile", nil, netip.MustParseAddr("203.0.113.66"))
		h, err := node.Listen(&node.Config{App: wire.RendezvousApp, PacketConn: l.Listen(host, 4000)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		c, err := h.DialAddr(l.within(5*time.Second), l.server.ID(), l.server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		messages := [][]byte{
			{0}, {0xff}, make([]byte, 2000), (&wire.Register{}).Append(nil),
			(&wire.Introduce{Peer: a.ID()}).Append(nil), (&wire.Punch{Peer: a.ID()}).Append(nil),
			append(wire.AppendRelay(nil, a.ID()), make([]byte, 1000)...), wire.AppendRelay(nil, b.ID()),
		}
		for n := range 5000 {
			m := node.Message{Channel: uint16(n % 3), Mode: node.Delivery(n / 3 % 4), Data: messages[n%len(messages)]}
			if c.TrySend(m) != nil {
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(5 * time.Second)
		st := l.server.Stats()
		if st.Introductions > 5 || st.Malformed == 0 || st.Limited == 0 {
			t.Errorf("server counts %+v", st)
		}
		ab, ba := l.connect(a, b)
		l.exchange(ab, ba)
		c.Close()
	})
}

// Somebody on the way stops a node's INTRODUCE and sends it on from the address
// of a victim. To the server the node has moved there. It must not send others
// there before the node has proved it, which it cannot.
func TestForgedSourceDrawsNoProbes(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		host := l.Host("node 1", nil, netip.MustParseAddr("203.0.113.1"))
		a, b := l.node(host), l.public(2)
		l.online(a, b)
		time.Sleep(time.Second) // nothing else is under way
		victim := l.Listen(l.Host("victim", nil, netip.MustParseAddr("203.0.113.99")), 5555)
		t.Cleanup(func() { victim.Close() })

		var stopped [][]byte
		l.Do(func(*wiretest.Net) {
			host.Up.Drop = func(_ time.Duration, data []byte) bool {
				stopped = append(stopped, slices.Clone(data))
				return true
			}
		})
		go a.Dial(l.within(3*time.Second), b.ID())
		time.Sleep(time.Millisecond)
		sent := 0
		l.Do(func(*wiretest.Net) { host.Up.Drop = nil })
		for _, data := range stopped {
			sent += len(data)
			if _, err := victim.WriteTo(data, net.UDPAddrFromAddrPort(l.server.Addr())); err != nil {
				t.Fatal(err)
			}
		}
		if sent == 0 {
			t.Fatal("nothing was stopped")
		}
		received := make(map[string]int)
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := victim.ReadFrom(buf)
				if err != nil {
					return
				}
				received[from.String()] += n
			}
		}()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		server := l.server.Addr().String()
		if len(received) > 1 || received[server] == 0 || received[server] > 3*sent {
			t.Errorf("the victim received %v, want something from the server, at most %d bytes", received, 3*sent)
		}
	})
}

// On a machine with many cores the server has several sockets on one port; the
// two ends of a relay may then be on different ones.
func TestServerWithSeveralSockets(t *testing.T) {
	s, err := rendezvous.Listen(&rendezvous.Config{Addr: "127.0.0.1:0", Shards: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var nodes []*node.Node
	for range 6 {
		n, err := node.Listen(&node.Config{Addr: "127.0.0.1:0", Rendezvous: []string{s.Server().String()}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if err := n.WaitOnline(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	for k, n := range nodes {
		c, err := n.Dial(t.Context(), nodes[(k+1)%len(nodes)].ID())
		if err != nil {
			t.Fatalf("node %d: %v", k, err)
		}
		if err := c.Send(t.Context(), []byte("hello")); err != nil {
			t.Fatalf("node %d: %v", k, err)
		}
	}
	for k, n := range nodes {
		c, err := n.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m, err := c.Recv(t.Context()); err != nil || string(m.Data) != "hello" {
			t.Errorf("node %d received %q, %v", k, m.Data, err)
		}
	}
}

func TestServerThatClosesIsLeftInPeace(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.public(1), l.public(2)
		l.online(a, b)
		if err := l.server.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		l.startServer()
		if !eventually(5*time.Second, func() bool { return l.server.Stats().Registered == 2 }) {
			t.Errorf("5 s after the server's return: %+v", l.server.Stats())
		}
		ab, ba := l.connect(a, b)
		l.exchange(ab, ba)
	})
}
