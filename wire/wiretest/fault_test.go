package wiretest

import (
	"net/netip"
	"testing"
	"time"
)

func TestLowTTLOpensTheOwnNATAndDiesBetween(t *testing.T) {
	cfg := NATConfig{Filtering: AddressAndPortDependent}
	for _, c := range []struct {
		ttl              int
		opened, received bool
	}{
		{1, false, false}, // dies in alice's NAT, before it maps
		{2, true, false},
		{4, true, false},
		{9, true, false}, // the last router of the internet
		{10, true, false},
		{11, true, true}, // 1 NAT, 8 hops, 1 NAT, and one left
	} {
		b := newBench()
		alice := b.Host("alice", b.NAT("nat-a", nil, cfg, publicAlice), private)
		open := b.NAT("nat-b", nil, NATConfig{}, publicBob)
		bob := b.Host("bob", open, private)
		toAlice, toBob := b.observed(alice), b.observed(bob)
		received := false
		alice.SendTTL(b.now, netip.AddrPortFrom(private, localPort), toBob, c.ttl, []byte("x"))
		b.run(time.Second, func(Packet) { received = true })
		if received != c.received || b.arrives(bob, localPort, toAlice) != c.opened {
			t.Errorf("TTL %d: received %v, want %v\n%v", c.ttl, received, c.received, b.Ladder())
		}
	}
}

func TestHopsOfTheInternetAreConfigurable(t *testing.T) {
	for _, c := range []struct{ hops, least int }{{0, 9}, {20, 21}, {-1, 1}} {
		for ttl := c.least - 1; ttl <= c.least; ttl++ {
			b := newBench()
			b.Hops = c.hops
			alice, arrived := b.Host("alice", nil, publicAlice), false
			alice.SendTTL(b.now, netip.AddrPortFrom(publicAlice, localPort), serverAddr, ttl, nil)
			b.run(time.Second, func(Packet) { arrived = true })
			if want := ttl >= c.least && ttl > 0; arrived != want && ttl > 0 {
				t.Errorf("%d hops, TTL %d: arrived %v", c.hops, ttl, arrived)
			}
		}
	}
}

func TestBlockedUDPPassesNeitherWayAndStreamsPass(t *testing.T) {
	b := newBench()
	alice, nat := b.behind(NATConfig{BlockUDP: true})
	neighbour := b.Host("neighbour", nat, netip.MustParseAddr("10.0.0.3"))
	if b.arrives(alice, localPort, serverAddr) || b.arrives(b.server, 1, netip.AddrPortFrom(publicAlice, localPort)) {
		t.Error("a datagram passed")
	}
	if !b.arrives(alice, localPort, netip.AddrPortFrom(neighbour.Addrs()[0], localPort)) {
		t.Error("a datagram inside was blocked")
	}
	if c, ok := b.Course(alice, serverAddr.Addr()); !ok || !c.Open(b.now) || c.Source != publicAlice {
		t.Errorf("no way for a stream: %+v", c)
	}
}

func TestICMPErrorComesBackThroughTheSendersNATs(t *testing.T) {
	for _, icmp := range []bool{false, true} {
		b := newBench()
		cfg := NATConfig{Filtering: AddressAndPortDependent, Ports: RandomPort}
		carrier := b.NAT("carrier", nil, cfg, publicAlice)
		alice := b.Host("alice", b.NAT("home", carrier, cfg, netip.MustParseAddr("100.64.0.7")), private)
		cfg.ICMP = icmp
		inner := b.NAT("inner", b.NAT("outer", nil, NATConfig{}, publicBob), cfg, netip.MustParseAddr("100.64.0.9"))
		bob := b.Host("bob", inner, private)
		toBob := b.observed(bob)
		var got []Packet
		alice.Send(b.now, localPort, toBob, []byte("x"))
		b.run(time.Second, func(p Packet) { got = append(got, p) })
		if !icmp {
			if len(got) != 0 {
				t.Errorf("a silent NAT answered: %+v", got)
			}
			continue
		}
		if len(got) != 1 || !got[0].Refused || got[0].Host != alice || got[0].From != toBob || got[0].To.Port() != localPort {
			t.Errorf("got %+v\n%v", got, b.Ladder())
		}
	}
}

func TestNeighboursBehindOneCarrierNeedHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		b := newBench()
		home := NATConfig{Filtering: AddressAndPortDependent}
		carrier := b.NAT("carrier", nil, NATConfig{
			Filtering: AddressAndPortDependent, Ports: BlockPort, Hairpin: hairpin,
		}, publicAlice)
		alice := b.Host("alice", b.NAT("home-a", carrier, home, netip.MustParseAddr("100.64.0.7")), private)
		bob := b.Host("bob", b.NAT("home-b", carrier, home, netip.MustParseAddr("100.64.0.8")), private)
		if got := b.punch(alice, bob); got != hairpin {
			t.Errorf("hairpin %v: punched %v\n%v", hairpin, got, b.Ladder())
		}
	}
}

func TestIPv6PassesBesideACarrierNAT(t *testing.T) {
	// One box translates IPv4 only, so IPv6 goes through two filters.
	b := newBench()
	strict := NATConfig{Filtering: AddressAndPortDependent, Mapping: AddressAndPortDependent, Ports: RandomPort}
	carrier := b.NAT("carrier", nil, strict, publicAlice)
	public6, other6 := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:1::1")
	alice := b.Host("alice", b.NAT("home", carrier, strict, netip.MustParseAddr("100.64.0.7")), private, public6)
	bob := b.Host("bob", b.Firewall("wall", nil), other6)
	toAlice, toBob := netip.AddrPortFrom(public6, localPort), netip.AddrPortFrom(other6, localPort)
	if b.arrives(bob, localPort, toAlice) {
		t.Fatal("the filters let a stranger in")
	}
	if !b.arrives(alice, localPort, toBob) || !b.arrives(bob, localPort, toAlice) {
		t.Errorf("IPv6 was not punched\n%v", b.Ladder())
	}
}

func TestBlockedPairReachesEverybodyElse(t *testing.T) {
	b := newBench()
	alice, _ := b.behind(NATConfig{})
	bob := b.Host("bob", nil, publicBob)
	toAlice, toBob := b.observed(alice), netip.AddrPortFrom(publicBob, localPort)
	b.Block(publicBob, publicAlice)
	if b.arrives(alice, localPort, toBob) || b.arrives(bob, localPort, toAlice) {
		t.Error("a blocked pair exchanged datagrams")
	}
	if c, _ := b.Course(alice, publicBob); c.Open(b.now) {
		t.Error("a stream passes between a blocked pair")
	}
	if !b.arrives(alice, localPort, serverAddr) || !b.arrives(bob, localPort, serverAddr) {
		t.Error("the server is cut off too")
	}
	b.Unblock(publicAlice, publicBob)
	if !b.arrives(alice, localPort, toBob) || !b.arrives(bob, localPort, toAlice) {
		t.Error("the pair is still blocked")
	}
}

func TestUnpluggedHostNeitherSendsNorReceives(t *testing.T) {
	b := newBench()
	alice, _ := b.behind(NATConfig{})
	toAlice := b.observed(alice)
	alice.Unplug()
	if b.arrives(alice, localPort, serverAddr) || b.arrives(b.server, serverAddr.Port(), toAlice) {
		t.Error("a datagram passed an unplugged link")
	}
	alice.Plug()
	if !b.arrives(b.server, serverAddr.Port(), toAlice) {
		t.Error("the link is still down")
	}
}

func TestRebootingNATComesBackWithAnotherAddress(t *testing.T) {
	b := newBench()
	alice, nat := b.behind(NATConfig{})
	before := b.observed(alice)
	way, _ := b.Course(alice, serverAddr.Addr())
	nat.Reboot(b.now, 30*time.Second, publicBob)
	if b.arrives(alice, localPort, serverAddr) {
		t.Error("a rebooting NAT passed a datagram")
	}
	b.wait(30 * time.Second)
	if got := b.observed(alice); got.Addr() != publicBob {
		t.Errorf("back with %v, want %v", got, publicBob)
	}
	if b.arrives(b.server, serverAddr.Port(), before) {
		t.Error("the former address still leads inside")
	}
	if !way.Severed() || way.Open(b.now) {
		t.Error("a stream outlived its NAT")
	}
}

func TestMulticastStaysInItsSegment(t *testing.T) {
	group := netip.MustParseAddrPort("239.1.2.3:5353")
	b := newBench()
	alice, nat := b.behind(NATConfig{})
	b.Host("inside", nat, netip.MustParseAddr("10.0.0.3"))
	b.Host("speaks IPv6 only", nat, netip.MustParseAddr("fd00::3"))
	guest := b.Host("guest", nat, netip.MustParseAddr("10.0.0.4"))
	guest.Join("guests")
	b.Host("next door", b.NAT("other", nil, NATConfig{}, publicBob), private)
	b.Host("elsewhere", nil, netip.MustParseAddr("198.51.100.4"))
	b.Host("rack 1", nil, netip.MustParseAddr("198.51.100.2")).Join("rack")
	rack := b.Host("rack 2", nil, netip.MustParseAddr("198.51.100.3"))
	rack.Join("rack")
	for sender, want := range map[*Host]string{alice: "inside", rack: "rack 1", guest: "", b.server: ""} {
		var got string
		sender.Send(b.now, localPort, group, []byte("who is there"))
		b.run(time.Second, func(p Packet) { got += p.Host.Name })
		if got != want {
			t.Errorf("the multicast of %s reached %q, want %q", sender.Name, got, want)
		}
	}
}

func TestStreamsGoOutThroughNATsOnly(t *testing.T) {
	b := newBench()
	alice, nat := b.behind(NATConfig{})
	neighbour := b.Host("neighbour", nat, netip.MustParseAddr("10.0.0.3"))
	nat.SetLink(Link{Delay: 20 * time.Millisecond, Rate: 1000})
	alice.SetLink(Link{Delay: 5 * time.Millisecond})
	c, ok := b.Course(alice, serverAddr.Addr())
	if !ok || c.To != b.server || c.Source != publicAlice || c.There() != (Wire{Delay: 25 * time.Millisecond, Rate: 1000}) {
		t.Errorf("to the server: %+v", c)
	}
	if c, ok := b.Course(alice, neighbour.Addrs()[0]); !ok || c.Source != private || c.There().Delay != 5*time.Millisecond {
		t.Errorf("to the neighbour: %+v", c)
	}
	if _, ok := b.Course(b.server, publicAlice); ok {
		t.Error("a stream came in through a NAT")
	}
	if _, ok := b.Course(alice, publicAlice); ok {
		t.Error("a stream turned in the NAT")
	}
}
