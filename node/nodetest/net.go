package nodetest

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A Net is a pretend network on the clock of the test.
type Net struct {
	mu        sync.Mutex
	net       *wiretest.Net
	began     time.Time
	timer     *time.Timer
	rng       *rand.Rand // of ephemeral ports and what befalls streams
	sockets   map[portKey][]*PacketConn
	listeners map[portKey]*Listener
	streams   map[*stream]bool
	stacks    map[*wiretest.Host]*Stack
}

type portKey struct {
	host *wiretest.Host
	port uint16
}

// New returns an empty network in which chance is decided by the seed.
func New(seed uint64) *Net {
	n := &Net{
		net:       wiretest.New(seed),
		began:     time.Now(),
		rng:       rand.New(rand.NewPCG(seed, 0)),
		sockets:   make(map[portKey][]*PacketConn),
		listeners: make(map[portKey]*Listener),
		streams:   make(map[*stream]bool),
		stacks:    make(map[*wiretest.Host]*Stack),
	}
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
// be touched otherwise once datagrams fly or streams exist. Inside f nothing of
// this package may be called.
func (n *Net) Do(f func(net *wiretest.Net)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.net)
	n.settle()
	n.arm()
}

// Now returns the time of the network, which the methods of hosts and NATs take
// that need one.
func (n *Net) Now() time.Duration { return time.Since(n.began) }

// Ladder returns the last datagrams and what became of each, for a test that
// failed.
func (n *Net) Ladder() (text string) {
	n.Do(func(net *wiretest.Net) { text = net.Ladder().String() })
	return text
}

// settle tells stacks and streams what has changed.
func (n *Net) settle() {
	for _, s := range n.stacks {
		s.notice()
	}
	for s := range n.streams {
		s.notice()
	}
}

// arm sets the timer to when something moves next, which is never now: a timer of a
// bubble that is due as it is set runs at once beside the bubble's others, which the
// race detector does not survive (golang/go#78156).
func (n *Net) arm() {
	if at, ok := n.net.Next(); ok {
		n.timer.Reset(max(at-n.Now(), 1))
	}
}

// advance hands what has arrived to the sockets.
func (n *Net) advance() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.net.Deliver(n.Now()) {
		for _, c := range n.sockets[portKey{p.Host, p.To.Port()}] {
			if c.wants(p.To.Addr()) {
				c.push(p)
			}
		}
	}
	n.arm()
}

// wait lets go of the network until one of three things happens: wake is closed,
// late is closed, or the time at has come.
func (n *Net) wait(wake, late <-chan struct{}, at time.Duration) {
	left := at - n.Now()
	if left <= 0 {
		return
	}
	n.mu.Unlock()
	defer n.mu.Lock()
	var due <-chan time.Time
	if at != never {
		timer := time.NewTimer(left)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-wake:
	case <-late:
	case <-due:
	}
}
