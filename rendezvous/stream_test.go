package rendezvous_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// withStreams starts the server anew, at ip and on a stack, so that it takes TCP too.
func (l *lab) withStreams(ip netip.Addr) {
	l.t.Helper()
	l.Do(func(*wiretest.Net) { l.host.Move(nil, ip) })
	if err := l.server.Close(); err != nil {
		l.t.Fatal(err)
	}
	s, err := rendezvous.Listen(&rendezvous.Config{Key: l.key, Stack: l.Stack(l.host), Addr: ":3478"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.server = s
	l.t.Cleanup(func() { s.Close() })
	at := wire.Server{ID: s.ID(), Addr: netip.AddrPortFrom(ip, 3478).String()}
	l.servers = []string{at.String()}
}

// stacked adds a node with a stack of its own.
func (l *lab) stacked(h *wiretest.Host) *node.Node {
	l.t.Helper()
	l.Do(func(*wiretest.Net) { h.SetLink(wiretest.Link{Delay: oneWay}) })
	n, err := node.Listen(&node.Config{Stack: l.Stack(h), Rendezvous: l.servers})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { n.Close() })
	return n
}

// blocked adds a node behind 203.0.113.n, through which no UDP passes.
func (l *lab) blocked(n byte, name string) *node.Node {
	nat := l.NAT("office of "+name, nil, wiretest.NATConfig{BlockUDP: true}, netip.AddrFrom4([4]byte{203, 0, 113, n}))
	return l.stacked(l.Host(name, nat, netip.AddrFrom4([4]byte{10, 0, n, 2})))
}

func TestNodeWithoutUDPIsMetOverTheRelay(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.withStreams(serverIP)
		a := l.blocked(1, "a")
		b := l.stacked(l.Host("b", nil, netip.MustParseAddr("203.0.113.2")))
		for _, n := range []*node.Node{a, b} {
			if err := n.WaitOnline(l.within(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		st := a.Status()
		if s := st.Servers[0]; s.State != node.ServerRegistered || s.Observed.IsValid() || len(st.Reflexive) != 0 {
			t.Errorf("the node without UDP is told where it is: %+v, reflexive %v", s, st.Reflexive)
		}
		if s := b.Status().Servers[0]; !s.Observed.IsValid() {
			t.Errorf("the node with UDP is not: %+v", s)
		}
		ab, ba := l.connect(a, b)
		l.exchange(ab, ba)
		time.Sleep(10 * time.Second)
		l.exchange(ba, ab)
		if ab.Path().Kind != node.Relayed || ba.Path().Kind != node.Relayed {
			t.Errorf("paths %v and %v", ab.Path(), ba.Path())
		}
		for _, p := range ba.Paths() {
			if p.Kind == node.Direct {
				t.Errorf("b was sent to %v", p)
			}
		}
		if cause := b.Explain(a.ID()).Cause; cause != node.CauseNoUDP {
			t.Errorf("the cause is %v, want %v", cause, node.CauseNoUDP)
		}
	})
}

// Sessions over WebSockets count towards the limits of their network like all
// others.
func TestNetworkOfWebSocketsIsLimited(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.withStreams(serverIP)
		office := l.NAT("office", nil, wiretest.NATConfig{BlockUDP: true}, netip.MustParseAddr("203.0.113.1"))
		const nodes, limit = 70, 64
		for n := range nodes {
			l.stacked(l.Host(fmt.Sprint("desk ", n), office, netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 2)})))
		}
		time.Sleep(time.Minute)
		if st := l.server.Stats(); st.Registered != limit {
			t.Errorf("%d of %d nodes are registered, want %d", st.Registered, nodes, limit)
		}
		other := l.blocked(2, "other office")
		if err := other.WaitOnline(l.within(20 * time.Second)); err != nil {
			t.Errorf("another network has no room: %v", err)
		}
	})
}

// A node whose UDP stops working goes on over a WebSocket, and is not taken to be
// where its TCP comes from.
func TestNodeThatLosesUDPIsNotSeenAtItsTCPAddress(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.withStreams(netip.MustParseAddr("20.9.9.9")) // addresses that could be anybody's
		host := l.Host("a", nil, netip.MustParseAddr("20.0.0.1"))
		a := l.stacked(host)
		l.online(a)
		before := a.Status().Servers[0].Observed
		l.Do(func(*wiretest.Net) {
			host.Up.Drop = func(time.Duration, []byte) bool { return true }
			host.Down.Drop = func(time.Duration, []byte) bool { return true }
		})
		var seen []netip.AddrPort
		online := false
		for range 3000 {
			time.Sleep(20 * time.Millisecond)
			st := a.Status()
			s := st.Servers[0]
			online = online || s.State == node.ServerRegistered && !s.Observed.IsValid()
			for _, at := range append(st.Reflexive, s.Observed) {
				if at.IsValid() && at != before && !slices.Contains(seen, at) {
					seen = append(seen, at)
				}
			}
		}
		if !online || len(seen) != 0 {
			t.Errorf("online over a WebSocket: %v; seen at %v", online, seen)
		}
	})
}
