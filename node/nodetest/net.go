// Package nodetest lets nodes run on a pretend network: hosts behind NATs whose
// sockets are [net.PacketConn]s, for [github.com/seed-67dce94e/holdfast/node.Config].
// The network is a wiretest.Net that moves with time.Now. Inside a bubble of
// testing/synctest that is virtual time: a test of an hour takes no longer than
// its computation, and nothing is left to chance but what the seed decides.
//
//	synctest.Test(t, func(t *testing.T) {
//		net := nodetest.New(1)
//		alice := net.Host("alice", nil, netip.MustParseAddr("192.0.2.1"))
//		n, err := node.Listen(&node.Config{PacketConn: net.Listen(alice, 4000)})
//		...
//	})
package nodetest

import (
	"net/netip"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A Net is a pretend network on the clock of the test.
type Net struct {
	mu    sync.Mutex
	net   *wiretest.Net
	began time.Time
	timer *time.Timer
	conns map[socketKey]*PacketConn
}

type socketKey struct {
	host *wiretest.Host
	port uint16
}

// New returns an empty network in which chance is decided by the seed.
func New(seed uint64) *Net {
	n := &Net{net: wiretest.New(seed), began: time.Now(), conns: make(map[socketKey]*PacketConn)}
	n.timer = time.AfterFunc(time.Hour, n.advance)
	n.timer.Stop()
	return n
}

// Host adds a host, as [wiretest.Net.Host] does.
func (n *Net) Host(name string, behind *wiretest.NAT, addrs ...netip.Addr) (h *wiretest.Host) {
	n.Do(func(net *wiretest.Net) { h = net.Host(name, behind, addrs...) })
	return h
}

// NAT adds a NAT, as [wiretest.Net.NAT] does.
func (n *Net) NAT(name string, behind *wiretest.NAT, cfg wiretest.NATConfig, external netip.Addr) (b *wiretest.NAT) {
	n.Do(func(net *wiretest.Net) { b = net.NAT(name, behind, cfg, external) })
	return b
}

// Do gives access to the network, and to all its hosts and NATs, which must not
// be touched otherwise once datagrams fly.
func (n *Net) Do(f func(net *wiretest.Net)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.net)
	n.arm()
}

// Ladder returns the last datagrams and what became of each, for a test that
// failed.
func (n *Net) Ladder() (text string) {
	n.Do(func(net *wiretest.Net) { text = net.Ladder().String() })
	return text
}

func (n *Net) now() time.Duration { return time.Since(n.began) }

// arm sets the timer to when something moves next.
func (n *Net) arm() {
	if at, ok := n.net.Next(); ok {
		n.timer.Reset(at - n.now())
	}
}

// advance hands what has arrived to the sockets.
func (n *Net) advance() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.net.Deliver(n.now()) {
		if c := n.conns[socketKey{p.Host, p.To.Port()}]; c != nil {
			c.push(p)
		}
	}
	n.arm()
}
