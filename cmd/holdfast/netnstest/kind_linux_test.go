package netnstest

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// What each kind is, as packets show it.
var classes = []struct {
	kind         Kind
	translated   bool
	sameMapping  bool      // for all destinations
	sameAddr     bool      // another port of an address sent to may answer
	anybody      bool      // may send
	ports        [2]uint16 // external, if not any
	step         uint16    // from each mapping to the next; 0: any
	poisonable   bool      // an unsolicited packet that is first costs the port
	blocked      bool      // UDP
	routersToNet int       // that lower the time to live before the Internet does
}{
	{kind: Public, sameMapping: true, sameAddr: true, anybody: true},
	{kind: FullCone, translated: true, sameMapping: true, sameAddr: true, anybody: true, routersToNet: 1},
	{kind: AddrRestricted, translated: true, sameMapping: true, sameAddr: true, routersToNet: 1},
	{kind: PortRestricted, translated: true, sameMapping: true, routersToNet: 1},
	{kind: Linux, translated: true, sameMapping: true, poisonable: true, routersToNet: 1},
	{kind: SequentialPorts, translated: true, step: 1, routersToNet: 1},
	{kind: PortBlock, translated: true, ports: [2]uint16{blockFirst, blockLast}, routersToNet: 1},
	{kind: RandomPorts, translated: true, routersToNet: 1},
	{kind: CGNFullCone, translated: true, sameMapping: true, ports: [2]uint16{poolFirst, poolLast}, routersToNet: 2},
	{kind: CGNAddrRestricted, translated: true, sameMapping: true, ports: [2]uint16{poolFirst, poolLast}, routersToNet: 2},
	{kind: CGNPortRestricted, translated: true, sameMapping: true, ports: [2]uint16{poolFirst, poolLast}, routersToNet: 2},
	{kind: Firewall, sameMapping: true, routersToNet: 1},
	{kind: IPv6Firewall, sameMapping: true, routersToNet: 1},
	{kind: UDPBlocked, blocked: true},
	{kind: Hairpin, translated: true, sameMapping: true, routersToNet: 1},
}

func TestRouterOfEachKindDoesWhatPacketsShow(t *testing.T) {
	Require(t)
	if len(classes) != len(Kinds)+1 {
		t.Errorf("%d kinds are classified, want all %d and Hairpin", len(classes), len(Kinds))
	}
	for _, c := range classes {
		t.Run(c.kind.Name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			l := newLab(t, c.kind)
			t.Logf("set up in %v", time.Since(begin))
			l.tcp()
			if c.blocked {
				if _, ok := l.reaches(l.first); ok {
					t.Error("UDP passes")
				}
				return
			}
			m := l.mapped(l.first)
			if m.Addr() != l.host.Addr() {
				t.Errorf("seen from %v, want the public address %v", m, l.host.Addr())
			}
			if got := m.Port() != Port; got != (c.translated && c.kind != Linux) {
				t.Errorf("port %d is translated: %v", m.Port(), got)
			}
			if !l.passes(l.first, m) {
				t.Error("an answer does not pass")
			}
			if got := l.passes(l.next, m); got != c.sameAddr {
				t.Errorf("packet from another port of the address passes: %v, want %v", got, c.sameAddr)
			}
			if got := l.passes(l.second, m); got != c.anybody {
				t.Errorf("packet from another address passes: %v, want %v", got, c.anybody)
			}
			// The next port has knocked before it is sent to.
			if n, want := l.mapped(l.next), c.sameMapping && !c.poisonable; (n == m) != want {
				t.Errorf("%v and then %v for one that had knocked: the same: %v, want %v", m, n, n == m, want)
			}
			l.ports(c.ports, c.step, c.sameMapping)
			l.timeToLive(c.routersToNet)
		})
	}
}

// ports checks the external ports that new destinations get.
func (l *lab) ports(within [2]uint16, step uint16, same bool) {
	l.t.Helper()
	var last netip.AddrPort
	distinct := false
	for i := range 5 {
		c := must(l.one.ListenUDPAddr(netip.AddrPortFrom(local(l.first).Addr(), uint16(6000+i))))
		m := l.mapped(c)
		c.Close()
		if within[1] != 0 && (m.Port() < within[0] || m.Port() > within[1]) {
			l.t.Errorf("port %d, want one of %v", m.Port(), within)
		}
		if i > 0 && step != 0 && m.Port()-last.Port() != step {
			l.t.Errorf("port %d follows %d, want steps of %d", m.Port(), last.Port(), step)
		}
		distinct = distinct || i > 0 && m != last
		last = m
	}
	if distinct == same {
		l.t.Errorf("new destinations see different mappings: %v, want %v", distinct, !same)
	}
}

// timeToLive checks that a packet with a low one opens every NAT on its way out
// but dies on the Internet, and where exactly.
func (l *lab) timeToLive(routers int) {
	l.t.Helper()
	c := must(l.one.ListenUDPAddr(netip.AddrPortFrom(local(l.first).Addr(), 6100)))
	defer c.Close()
	for _, tt := range []struct {
		ttl     int
		arrives bool
	}{{4, false}, {routers + hops, false}, {routers + hops + 1, true}} {
		l.setTTL(tt.ttl)
		if _, got := l.reaches(c); got != tt.arrives {
			l.t.Errorf("a packet with time to live %d arrives: %v, want %v", tt.ttl, got, tt.arrives)
		}
	}
	l.setTTL(64)
}

func (l *lab) setTTL(n int) {
	if local(l.inside).Addr().Is4() {
		l.must(ipv4.NewConn(l.inside).SetTTL(n))
	} else {
		l.must(ipv6.NewConn(l.inside).SetHopLimit(n))
	}
}

// tcp checks that a TCP connection to the first host works.
func (l *lab) tcp() {
	l.t.Helper()
	at := netip.AddrPortFrom(local(l.first).Addr(), 443)
	listener := must(l.one.ListenTCP(at))
	defer listener.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := l.host.DialTCP(ctx, at)
	if err != nil {
		l.t.Errorf("TCP: %v", err)
		return
	}
	defer c.Close()
	accepted := must(listener.AcceptTCP())
	defer accepted.Close()
	if from := accepted.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); from != l.host.Addr() {
		l.t.Errorf("TCP is seen from %v, want %v", from, l.host.Addr())
	}
	go accepted.Write(make([]byte, 64<<10))
	b := make([]byte, 64<<10)
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		if err != nil {
			l.t.Errorf("TCP: %v after %d bytes", err, n)
			return
		}
		n += m
	}
}

func TestPacketsWithLowTimeToLiveOpenTheNATs(t *testing.T) {
	Require(t)
	for _, kind := range []Kind{AddrRestricted, PortRestricted, Linux, CGNPortRestricted, Firewall, IPv6Firewall} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, kind)
			m := l.mapped(l.first)
			l.setTTL(4)
			if _, ok := l.reaches(l.second); ok {
				t.Fatal("the packet arrived")
			}
			if !l.passes(l.second, m) {
				t.Error("the NAT is not open to whom the packet was for")
			}
		})
	}
}

func TestPacketsTravelAsManyHopsAsTold(t *testing.T) {
	Require(t)
	l := newLab(t, FullCone)
	l.internet.SetHops(2)
	l.setTTL(4)
	l.mapped(l.first)
	l.setTTL(3)
	if _, ok := l.reaches(l.first); ok {
		t.Error("a packet arrived with no time to live")
	}
}

func TestPacketsReachEveryAddressOfAPublicHost(t *testing.T) {
	Require(t)
	l := newLab(t, FullCone)
	spare := must(l.one.ListenUDPAddr(netip.AddrPortFrom(spareAddr, anyPort)))
	m := l.mapped(spare)
	send(spare, m)
	var b [64]byte
	l.must(l.inside.SetReadDeadline(time.Now().Add(tooLong)))
	if _, from, err := l.inside.ReadFromUDPAddrPort(b[:]); err != nil || from.Addr() != spareAddr {
		t.Errorf("answer from %v, %v; want it from %v", from, err, spareAddr)
	}
}

// A packet that comes before the first one out takes the port from conntrack of a
// router that accepts it (see Linux); a router that drops it is immune.
func TestRouterIsPoisonedByPrematurePackets(t *testing.T) {
	Require(t)
	for _, tt := range []struct {
		kind     Kind
		poisoned bool
	}{{Linux, true}, {PortRestricted, false}, {CGNPortRestricted, false}, {AddrRestricted, false}} {
		t.Run(tt.kind.Name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, tt.kind)
			m := l.mapped(l.first)
			if l.passes(l.second, m) {
				t.Fatal("an unsolicited packet passes")
			}
			n := l.mapped(l.second)
			if got := n != m; got != tt.poisoned {
				t.Errorf("%v became %v: poisoned: %v, want %v", m, n, got, tt.poisoned)
			}
			if got := l.passes(l.second, m); got == tt.poisoned {
				t.Errorf("the peer gets through: %v, want %v", got, !tt.poisoned)
			}
		})
	}
}

func TestRouterHairpinsIfItsKindSaysSo(t *testing.T) {
	Require(t)
	for _, tt := range []struct {
		kind    Kind
		hairpin bool
	}{{PortRestricted, false}, {Hairpin, true}} {
		t.Run(tt.kind.Name, func(t *testing.T) {
			l := newLab(t, tt.kind)
			other := must(must(l.internet.Host("other", l.router)).ListenUDP(Port))
			defer other.Close()
			mine := l.mapped(l.first)
			send(other, local(l.first))
			theirs, ok := receive(l.first)
			if !ok || theirs == mine {
				t.Fatalf("the other host is seen from %v (%v), the first from %v", theirs, ok, mine)
			}
			send(l.inside, theirs)
			from, ok := receive(other)
			if ok != tt.hairpin || ok && from != mine {
				t.Errorf("reached by the public address: %v from %v, want %v from %v", ok, from, tt.hairpin, mine)
			}
			direct := netip.AddrPortFrom(l.router.local(3), Port)
			send(l.inside, direct)
			if _, ok := receive(other); !ok {
				t.Error("not reached by the local address")
			}
		})
	}
}

func TestRouterBehindACarrierHasItsSharedAddress(t *testing.T) {
	Require(t)
	l := newLab(t, CGNPortRestricted)
	shared := netip.MustParsePrefix("100.64.0.0/10")
	if got := l.router.wan; !shared.Contains(got) || l.router.Carrier() == nil {
		t.Errorf("the home router has %v, want an address of %v", got, shared)
	}
	if got := l.mapped(l.first).Addr(); got != routerAddr {
		t.Errorf("seen from %v, want %v", got, routerAddr)
	}
}
