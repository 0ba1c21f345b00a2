package node_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seedFlag = flag.Uint64("seed", 1, "decides what the pretend network does")

// bubble runs a test on a pretend network in virtual time. When the test fails
// it prints the datagrams that flew last.
func bubble(t *testing.T, f func(t *testing.T, net *nodetest.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := nodetest.New(*seedFlag)
		defer func() {
			if t.Failed() {
				t.Logf("replay: go test ./node -run '^%s$' -seed %d\n%s", t.Name(), *seedFlag, net.Ladder())
			}
		}()
		f(t, net)
	})
}

// A peer is a node on a host of its own.
type peer struct {
	*node.Node
	host *wiretest.Host
	conn *nodetest.PacketConn
}

func (p *peer) addr() netip.AddrPort { return p.conn.AddrPort() }

// listen starts a node on a new public host. It is closed with the test.
func listen(t *testing.T, net *nodetest.Net, name string, cfg node.Config) *peer {
	t.Helper()
	hosts := 1
	for _, c := range []byte(name) {
		hosts = (hosts*31 + int(c)) % 250
	}
	host := net.Host(name, nil, netip.AddrFrom4([4]byte{192, 0, 2, byte(hosts + 1)}))
	return listenOn(t, net, host, cfg)
}

func listenOn(t *testing.T, net *nodetest.Net, host *wiretest.Host, cfg node.Config) *peer {
	t.Helper()
	conn := net.Listen(host, 4000)
	cfg.PacketConn = conn
	return start(t, host, conn, cfg)
}

// start starts a node whose socket is conn, or is made of it.
func start(t *testing.T, host *wiretest.Host, conn *nodetest.PacketConn, cfg node.Config) *peer {
	t.Helper()
	n, err := node.Listen(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return &peer{n, host, conn}
}

// A pair is two nodes with a session between them.
type pair struct {
	net        *nodetest.Net
	alice, bob *peer
	ab, ba     *node.Conn // alice's end, bob's end
}

func newPair(t *testing.T, net *nodetest.Net, link wiretest.Link, cfg node.Config) *pair {
	t.Helper()
	p := &pair{net: net, alice: listen(t, net, "alice", cfg), bob: listen(t, net, "bob", cfg)}
	p.setLink(link)
	p.ab = dial(t, p.alice, p.bob)
	p.ba = accept(t, p.bob)
	return p
}

// setLink changes alice's wire.
func (p *pair) setLink(l wiretest.Link) {
	p.net.Do(func(*wiretest.Net) { p.alice.host.SetLink(l) })
}

func dial(t *testing.T, from, to *peer) *node.Conn {
	t.Helper()
	c, err := from.DialAddr(within(t, 10*time.Second), to.ID(), to.addr())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func accept(t *testing.T, p *peer) *node.Conn {
	t.Helper()
	c, err := p.Accept(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func send(t *testing.T, c *node.Conn, text string) {
	t.Helper()
	if err := c.Send(within(t, 10*time.Second), []byte(text)); err != nil {
		t.Fatalf("sending %q: %v", text, err)
	}
}

func want(t *testing.T, c *node.Conn, text string) {
	t.Helper()
	m, err := c.Recv(within(t, 30*time.Second))
	if err != nil || string(m.Data) != text {
		t.Fatalf("received %q, %v; want %q", m.Data, err, text)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func number(i int) string { return fmt.Sprintf("message %d", i) }
