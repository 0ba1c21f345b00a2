package rendezvous_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seedFlag = flag.Uint64("seed", 1, "decides what the pretend network does")

// A lab is a pretend network with one rendezvous server on it.
type lab struct {
	*nodetest.Net
	t      *testing.T
	key    node.Key
	host   *wiretest.Host // of the server
	server *rendezvous.Server

	servers []string     // of the nodes to come; if nil, server
	noRelay bool         // the nodes to come may not use the relay
	handler node.Handler // of the nodes to come
}

var serverIP = netip.MustParseAddr("203.0.113.250")

const oneWay = 15 * time.Millisecond // between a host and the internet

// inLab runs a test on a pretend network in virtual time. When it fails, it
// prints the datagrams that flew last.
func inLab(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{Net: nodetest.New(*seedFlag), t: t}
		defer func() {
			if t.Failed() {
				t.Logf("replay: go test ./rendezvous -run '%s' -seed %d\n%s", t.Name(), *seedFlag, l.Ladder())
			}
		}()
		var err error
		if l.key, err = node.NewKey(); err != nil {
			t.Fatal(err)
		}
		l.host = l.Host("server", nil, serverIP)
		l.startServer()
		f(t, l)
	})
}

func (l *lab) startServer() {
	l.t.Helper()
	s, err := rendezvous.Listen(&rendezvous.Config{Key: l.key, PacketConn: l.Listen(l.host, 3478)})
	if err != nil {
		l.t.Fatal(err)
	}
	l.server = s
	l.t.Cleanup(func() { s.Close() })
}

// public adds a node with an address of its own, 203.0.113.n.
func (l *lab) public(n byte) *node.Node {
	return l.node(l.Host(fmt.Sprint("node", n), nil, netip.AddrFrom4([4]byte{203, 0, 113, n})))
}

// behind adds a node behind a NAT at 203.0.113.n.
func (l *lab) behind(n byte, cfg wiretest.NATConfig) (*node.Node, *wiretest.NAT) {
	nat := l.NAT(fmt.Sprint("nat", n), nil, cfg, netip.AddrFrom4([4]byte{203, 0, 113, n}))
	return l.node(l.Host(fmt.Sprint("node", n), nat, netip.AddrFrom4([4]byte{10, 0, n, 2}))), nat
}

func (l *lab) node(h *wiretest.Host) *node.Node {
	l.t.Helper()
	l.Do(func(*wiretest.Net) { h.SetLink(wiretest.Link{Delay: oneWay}) })
	servers := l.servers
	if servers == nil {
		servers = []string{l.server.Server().String()}
	}
	n, err := node.Listen(&node.Config{PacketConn: l.Listen(h, 4000), Rendezvous: servers, NoRelay: l.noRelay, Handler: l.handler})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { n.Close() })
	return n
}

func (l *lab) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), d)
	l.t.Cleanup(cancel)
	return ctx
}

func (l *lab) online(nodes ...*node.Node) {
	l.t.Helper()
	for _, n := range nodes {
		if err := n.WaitOnline(l.within(5 * time.Second)); err != nil {
			l.t.Fatalf("not online: %v", err)
		}
	}
}

// connect opens a session through the server and returns both ends.
func (l *lab) connect(a, b *node.Node) (ab, ba *node.Conn) {
	l.t.Helper()
	l.online(a, b)
	ab, err := a.Dial(l.within(5*time.Second), b.ID())
	if err != nil {
		l.t.Fatal(err)
	}
	ba, err = b.Accept(l.within(5 * time.Second))
	if err != nil {
		l.t.Fatal(err)
	}
	return ab, ba
}

// exchange sends a message each way.
func (l *lab) exchange(ab, ba *node.Conn) {
	l.t.Helper()
	for _, way := range [][2]*node.Conn{{ab, ba}, {ba, ab}} {
		if err := way[0].Send(l.within(5*time.Second), []byte("hello")); err != nil {
			l.t.Fatal(err)
		}
		m, err := way[1].Recv(l.within(5 * time.Second))
		if err != nil || string(m.Data) != "hello" {
			l.t.Fatalf("received %q, %v", m.Data, err)
		}
	}
}

func eventually(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

func bothDirect(ab, ba *node.Conn) bool {
	return ab.Path().Kind == node.Direct && ba.Path().Kind == node.Direct
}

func TestNodesMeetThroughTheServer(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.public(1), l.public(2)
		l.online(a, b)
		begun := time.Now()
		ab, ba := l.connect(a, b)
		if took := time.Since(begun); took > 2*4*oneWay+10*time.Millisecond {
			t.Errorf("the session opened after %v, want two round trips over the server", took)
		}
		l.exchange(ab, ba)
		if !eventually(time.Second, func() bool { return bothDirect(ab, ba) }) {
			t.Errorf("paths %v and %v", ab.Path(), ba.Path())
		}
		l.exchange(ab, ba)
		if st := l.server.Stats(); st.Registered != 2 || st.Introductions != 1 {
			t.Errorf("server counts %+v", st)
		}
	})
}

func TestDialOfAnAbsentPeerFailsAtOnce(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a := l.public(1)
		l.online(a)
		time.Sleep(time.Minute) // the server is past the time in which peers may just be about to return
		key, err := node.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		_, err = a.Dial(t.Context(), key.ID())
		if took := time.Since(begun); err == nil || took > 200*time.Millisecond {
			t.Errorf("error %v after %v", err, took)
		}
	})
}
