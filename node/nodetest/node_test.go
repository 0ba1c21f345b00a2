package nodetest_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A node on a socket of a stack outlives what befalls its host: the socket fails
// to send meanwhile, as that of an operating system does.
func TestNodeOnAStackOutlivesItsHostsTroubles(t *testing.T) {
	bubble(t, wiretest.LinuxNAT(true), func(t *testing.T, l *lab) {
		alice, server := l.node(l.a), l.node(l.s)
		c, err := alice.DialAddr(t.Context(), server.ID(), netip.AddrPortFrom(serverAddr, 4000))
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, trouble := range []func(){
			func() {},
			func() { l.alice.Unplug() },
			func() { l.alice.Plug() },
			func() { l.home.Reboot(l.Now(), 5*time.Second, publicBob) },
			func() { l.alice.Move(nil, netip.MustParseAddr("203.0.113.3")) },
		} {
			l.do(trouble)
			time.Sleep(10 * time.Second)
			if !l.alice.Plugged() {
				continue
			}
			if err := c.Send(t.Context(), []byte("still here")); err != nil {
				t.Fatal(err)
			}
			if m, err := s.Recv(t.Context()); err != nil || string(m.Data) != "still here" {
				t.Fatalf("%q, %v", m.Data, err)
			}
		}
	})
}

func (l *lab) node(s *nodetest.Stack) *node.Node {
	l.t.Helper()
	n, err := node.Listen(&node.Config{PacketConn: l.listen(s, "0.0.0.0:4000")})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { n.Close() })
	return n
}
