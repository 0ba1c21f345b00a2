package wiretest

import (
	"net/netip"
	"testing"
	"time"
)

// A poisoned host is one behind a Linux NAT with open input, that has asked the
// server for its endpoint and then got an unsolicited datagram from a peer.
type poisoned struct {
	*bench
	alice, peer *Host
	toAlice     netip.AddrPort
	toPeer      netip.AddrPort
}

func newPoisoned(cfg NATConfig) *poisoned {
	p := &poisoned{bench: newBench()}
	p.alice, _ = p.behind(cfg)
	p.peer = p.Host("peer", nil, publicBob)
	p.toPeer = netip.AddrPortFrom(publicBob, localPort)
	p.toAlice = p.observed(p.alice)
	p.server.Send(p.now, serverAddr.Port(), p.toAlice, []byte("response"))
	p.peer.Send(p.now, localPort, p.toAlice, []byte("early"))
	p.run(time.Second, func(Packet) {})
	return p
}

// seenBy sends a datagram to a peer and returns from where it came.
func (p *poisoned) seenBy(to netip.AddrPort) (from netip.AddrPort) {
	p.alice.Send(p.now, localPort, to, []byte("x"))
	p.run(time.Second, func(got Packet) { from = got.From })
	return from
}

func TestPoisonedNATMovesAllNewFlows(t *testing.T) {
	// As measured on Linux: the reply to the early datagram uses another port,
	// every new destination the same one, the flow to the server its own.
	p := newPoisoned(LinuxNAT(true))
	remapped := p.seenBy(p.toPeer)
	if remapped == p.toAlice {
		t.Fatal("the reply kept the port that the early datagram has claimed")
	}
	for port := uint16(1); port <= 3; port++ {
		if got := p.sees(p.alice, localPort, port); got != remapped {
			t.Errorf("a new destination saw %v, want %v", got, remapped)
		}
	}
	if got := p.observed(p.alice); got != p.toAlice {
		t.Errorf("the old flow moved to %v", got)
	}
}

func TestClosedInputIsNotPoisoned(t *testing.T) {
	p := newPoisoned(LinuxNAT(false))
	if got := p.seenBy(p.toPeer); got != p.toAlice {
		t.Errorf("the reply moved to %v", got)
	}
}

func TestRefusedDatagramsKeepTheirClaim(t *testing.T) {
	for _, again := range []bool{false, true} {
		p := newPoisoned(LinuxNAT(true))
		p.wait(20 * time.Second)
		if again && p.arrives(p.peer, localPort, p.toAlice) {
			t.Fatal("the claimed port led inside")
		}
		p.wait(20 * time.Second)
		if got := p.seenBy(p.toPeer) != p.toAlice; got != again {
			t.Errorf("another datagram %v, after 40 s the port is still claimed: %v", again, got)
		}
	}
}

// When the remapped flow is over, the kernel finds the old one again.
func TestNewFlowsReturnToTheOldPortWhenTheRemappedIsGone(t *testing.T) {
	p := newPoisoned(LinuxNAT(true))
	remapped := p.seenBy(p.toPeer)
	for range 2 {
		p.wait(20 * time.Second)
		p.observed(p.alice)
	}
	if got := p.sees(p.alice, localPort, 1); got != p.toAlice {
		t.Errorf("a new flow uses %v, want the live %v and not the expired %v", got, p.toAlice, remapped)
	}
}

func TestClaimedNewMappingFallsBackToAnOlder(t *testing.T) {
	p := newPoisoned(LinuxNAT(true))
	remapped := p.seenBy(p.toPeer)
	other := p.Host("other", nil, netip.MustParseAddr("203.0.113.3"))
	if p.arrives(other, localPort, remapped) {
		t.Fatal("the NAT let a stranger in")
	}
	if got := p.seenBy(netip.AddrPortFrom(other.Addrs()[0], localPort)); got != p.toAlice {
		t.Errorf("seen from %v, want the older %v, since the newer %v is claimed", got, p.toAlice, remapped)
	}
}

func TestClaimOutlivesAnOpenFilter(t *testing.T) {
	cfg := LinuxNAT(true)
	cfg.Filtering = AddressDependent
	p := newPoisoned(cfg)
	p.alice.Send(p.now, localPort, netip.AddrPortFrom(publicBob, 1), []byte("to another port"))
	p.run(time.Second, func(Packet) {})
	if p.arrives(p.peer, localPort, p.toAlice) {
		t.Error("a claimed pair of endpoints led inside")
	}
	if !p.arrives(p.peer, localPort+1, p.toAlice) {
		t.Error("the filter is not open for the address")
	}
}

func TestNothingToClaimBehindAFirewall(t *testing.T) {
	b := newBench()
	public, remote := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:1::1")
	server := b.Host("server6", nil, remote)
	wall := b.NAT("wall", nil, LinuxNAT(true), netip.Addr{})
	alice := b.Host("alice", wall, public)
	if b.arrives(server, 1, netip.AddrPortFrom(public, localPort)) {
		t.Fatal("the firewall let a stranger in")
	}
	if !b.arrives(alice, localPort, netip.AddrPortFrom(remote, 1)) || !b.arrives(server, 1, netip.AddrPortFrom(public, localPort)) {
		t.Error("a forwarded datagram claimed the address of an inside host")
	}
}

// Two hosts behind Linux NATs, 30 ms apart, send every 20 ms for a second; the
// second one starts late. First they send datagrams that die between the NATs.
func TestLateStartPoisonsUnlessLowTTLGoesFirst(t *testing.T) {
	const oneWay, every = 30 * time.Millisecond, 20 * time.Millisecond
	for _, c := range []struct {
		late, low time.Duration // how late; for how long the TTL is low
		openA     bool          // the input of the NAT of the early side
		openB     bool          // and of the late side
		want      bool
	}{
		{0, 0, true, true, true},
		{20 * time.Millisecond, 0, true, true, true},
		{40 * time.Millisecond, 0, true, true, false},
		{500 * time.Millisecond, 0, true, true, false},
		{40 * time.Millisecond, 0, true, false, true},
		{40 * time.Millisecond, 0, false, true, false},
		{190 * time.Millisecond, 200 * time.Millisecond, true, true, true},
		{260 * time.Millisecond, 200 * time.Millisecond, true, true, false},
	} {
		b := newBench()
		natA := b.NAT("nat-a", nil, LinuxNAT(c.openA), publicAlice)
		natZ := b.NAT("nat-z", nil, LinuxNAT(c.openB), publicBob)
		a, z := b.Host("a", natA, private), b.Host("z", natZ, private)
		toA, toZ := b.observed(a), b.observed(z)
		natA.SetLink(Link{Delay: oneWay / 2})
		natZ.SetLink(Link{Delay: oneWay / 2})
		got, start := false, b.now
		for b.now < start+time.Second {
			since := b.now - start
			a.SendTTL(b.now, netip.AddrPortFrom(private, localPort), toZ, ttl(since < c.low), []byte("probe"))
			if since >= c.late {
				z.SendTTL(b.now, netip.AddrPortFrom(private, localPort), toA, ttl(since-c.late < c.low), []byte("probe"))
			}
			b.run(every, func(Packet) { got = true })
		}
		if got != c.want {
			t.Errorf("%+v: punched %v\n%v", c, got, b.Ladder())
		}
	}
}

func ttl(low bool) int {
	if low {
		return 4
	}
	return DefaultTTL
}
