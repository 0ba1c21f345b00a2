package wiretest

import (
	"net/netip"
	"testing"
	"time"
)

var (
	serverAddr  = netip.MustParseAddrPort("198.51.100.1:3478")
	publicAlice = netip.MustParseAddr("203.0.113.1")
	publicBob   = netip.MustParseAddr("203.0.113.2")
	private     = netip.MustParseAddr("10.0.0.2") // of both, each behind its own NAT
)

const localPort = 4000

// A bench is a server on the internet and hosts that talk to it.
type bench struct {
	*Net
	now    time.Duration
	server *Host
}

func newBench() *bench {
	n := New(1)
	return &bench{Net: n, server: n.Host("server", nil, serverAddr.Addr())}
}

// run lets the network move until it is quiet, at most for d, and hands what
// arrives to got.
func (b *bench) run(d time.Duration, got func(Packet)) {
	end := b.now + d
	for at, ok := b.Next(); ok && at <= end; at, ok = b.Next() {
		b.now = at
		for _, p := range b.Deliver(at) {
			got(p)
		}
	}
	b.now = end
}

// observed returns the endpoint from which the server sees the host's socket.
func (b *bench) observed(h *Host) (from netip.AddrPort) {
	h.Send(b.now, localPort, serverAddr, []byte("binding"))
	b.run(time.Second, func(p Packet) { from = p.From })
	return from
}

// arrives reports whether a datagram reaches anybody.
func (b *bench) arrives(h *Host, port uint16, to netip.AddrPort) (yes bool) {
	h.Send(b.now, port, to, []byte("x"))
	b.run(time.Second, func(Packet) { yes = true })
	return yes
}

// punch lets two hosts send probes to each other's observed endpoint, answer
// those that arrive to where they came from, and reports whether an answer
// arrived: a round trip was made on one path.
func (b *bench) punch(alice, bob *Host) (ok bool) {
	toBob, toAlice := b.observed(bob), b.observed(alice)
	for range 3 {
		alice.Send(b.now, localPort, toBob, []byte("probe"))
		bob.Send(b.now, localPort, toAlice, []byte("probe"))
		b.run(time.Second, func(p Packet) {
			if string(p.Data) == "answer" {
				ok = true
				return
			}
			p.Host.Send(p.At, localPort, p.From, []byte("answer"))
		})
	}
	return ok
}

func TestWhichNATPairsCanBePunched(t *testing.T) {
	// Both sides probe the endpoint that a server saw and answer the source of
	// what they get; ports are random, so none can be predicted. Columns as rows.
	want := []string{
		// mapping        EI   AD   APD
		// filtering      EAP  EAP  EAP    E = EI, A = AD, P = APD
		/* EI   EI  */ "+++ +++ +++",
		/* EI   AD  */ "+++ +++ +++",
		/* EI   APD */ "+++ --- ---",
		/* AD   EI  */ "++- ++- ++-",
		/* AD   AD  */ "++- +-- +--",
		/* AD   APD */ "++- --- ---",
		/* APD  EI  */ "++- ++- ++-",
		/* APD  AD  */ "++- +-- +--",
		/* APD  APD */ "++- --- ---",
	}
	kind := func(i int) NATConfig {
		return NATConfig{Mapping: Behavior(i / 3), Filtering: Behavior(i % 3), Ports: RandomPort}
	}
	for i, row := range want {
		for j := range want {
			b := newBench()
			alice := b.Host("alice", b.NAT("nat-a", nil, kind(i), publicAlice), private)
			bob := b.Host("bob", b.NAT("nat-b", nil, kind(j), publicBob), private)
			for _, h := range []*Host{alice, bob} {
				h.SetLink(Link{Delay: 10 * time.Millisecond})
			}
			if got := b.punch(alice, bob); got != (row[j+j/3] == '+') {
				t.Errorf("%+v with %+v: punched %v\n%v", kind(i), kind(j), got, b.Ladder())
			}
		}
	}
}

// behind returns a host behind a NAT of its own, and the NAT.
func (b *bench) behind(cfg NATConfig) (*Host, *NAT) {
	nat := b.NAT("nat", nil, cfg, publicAlice)
	return b.Host("alice", nat, private), nat
}

func TestMappingLivesAsLongAsDatagramsGoOut(t *testing.T) {
	b := newBench()
	alice, _ := b.behind(NATConfig{Lifetime: 30 * time.Second, Ports: RandomPort})
	first := b.observed(alice)
	for range 3 {
		b.now += 28 * time.Second
		if again := b.observed(alice); again != first {
			t.Fatalf("mapping changed from %v to %v while it was refreshed", first, again)
		}
	}
	b.now += 20 * time.Second
	if !b.arrives(b.server, serverAddr.Port(), first) {
		t.Error("a live mapping refused a datagram")
	}
	b.now += 10 * time.Second
	if b.arrives(b.server, serverAddr.Port(), first) {
		t.Error("a datagram from outside refreshed the mapping")
	}
	if again := b.observed(alice); again == first {
		t.Error("an expired mapping was used again")
	}
}

func TestPortAllocation(t *testing.T) {
	other := netip.MustParseAddrPort("198.51.100.1:3479")
	for _, c := range []struct {
		ports PortAllocation
		ok    func(first, second uint16) bool
	}{
		{PreservePort, func(first, second uint16) bool { return first == localPort && second != localPort }},
		{SequentialPort, func(first, second uint16) bool { return second == first+1 }},
		{RandomPort, func(first, second uint16) bool { return first != second && first != localPort }},
	} {
		b := newBench()
		alice, _ := b.behind(NATConfig{Mapping: AddressAndPortDependent, Ports: c.ports})
		var ports []uint16
		for _, to := range []netip.AddrPort{serverAddr, other} {
			alice.Send(b.now, localPort, to, nil)
			b.run(time.Second, func(p Packet) { ports = append(ports, p.From.Port()) })
		}
		if len(ports) != 2 || !c.ok(ports[0], ports[1]) {
			t.Errorf("allocation %d gave the ports %v", c.ports, ports)
		}
	}
}

func TestRebindGivesNewPortAndForgetsOld(t *testing.T) {
	for _, ports := range []PortAllocation{PreservePort, SequentialPort, RandomPort} {
		b := newBench()
		alice, nat := b.behind(NATConfig{Ports: ports})
		first := b.observed(alice)
		nat.Rebind()
		if b.arrives(b.server, serverAddr.Port(), first) {
			t.Error("the forgotten port still leads inside")
		}
		second := b.observed(alice)
		if second.Port() == first.Port() || second.Addr() != first.Addr() {
			t.Errorf("rebind took %v to %v", first, second)
		}
		if !b.arrives(b.server, serverAddr.Port(), second) {
			t.Error("the new port does not lead inside")
		}
	}
}

func TestRenumberGivesNewAddress(t *testing.T) {
	b := newBench()
	alice, nat := b.behind(NATConfig{})
	first := b.observed(alice)
	nat.Renumber(publicBob)
	if b.arrives(b.server, serverAddr.Port(), first) {
		t.Error("the former address still leads inside")
	}
	if second := b.observed(alice); second.Addr() != publicBob {
		t.Errorf("renumbered to %v, seen from %v", publicBob, second)
	}
}

func TestHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		b := newBench()
		alice, nat := b.behind(NATConfig{Hairpin: hairpin})
		neighbour := b.Host("neighbour", nat, netip.MustParseAddr("10.0.0.3"))
		to := b.observed(neighbour)
		if got := b.arrives(alice, localPort, to); got != hairpin {
			t.Errorf("with hairpin %v, arrived %v", hairpin, got)
		}
		if !b.arrives(alice, localPort, netip.AddrPortFrom(neighbour.Addrs()[0], localPort)) {
			t.Error("hosts of one network do not reach each other directly")
		}
	}
}

func TestNestedNATsTranslateTwice(t *testing.T) {
	b := newBench()
	carrier := b.NAT("carrier", nil, NATConfig{Filtering: AddressAndPortDependent, Ports: RandomPort}, publicAlice)
	home := b.NAT("home", carrier, NATConfig{}, netip.MustParseAddr("100.64.0.7"))
	alice := b.Host("alice", home, private)
	seen := b.observed(alice)
	if seen.Addr() != publicAlice {
		t.Fatalf("seen from %v, want %v", seen, publicAlice)
	}
	var got Packet
	b.server.Send(b.now, serverAddr.Port(), seen, []byte("answer"))
	b.run(time.Second, func(p Packet) { got = p })
	if got.Host != alice || got.To != netip.AddrPortFrom(private, localPort) {
		t.Errorf("the answer reached %v at %v", got.Host, got.To)
	}
	if b.arrives(b.server, serverAddr.Port()+1, seen) {
		t.Error("the carrier's filter let a stranger in")
	}
}

func TestFirewallLetsInOnlyAnswers(t *testing.T) {
	b := newBench()
	public := netip.MustParseAddr("2001:db8::2")
	server6 := netip.MustParseAddrPort("[2001:db8:1::1]:3478")
	server := b.Host("server6", nil, server6.Addr())
	alice := b.Host("alice", b.Firewall("firewall", nil), public)
	to := netip.AddrPortFrom(public, localPort)
	if b.arrives(server, server6.Port(), to) {
		t.Error("an unsolicited datagram passed the firewall")
	}
	if !b.arrives(alice, localPort, server6) || !b.arrives(server, server6.Port(), to) {
		t.Error("a datagram or its answer did not pass the firewall")
	}
}

func TestNATWithOneFamilyOnlyFiltersTheOther(t *testing.T) {
	b := newBench()
	public := netip.MustParseAddr("2001:db8::2")
	server6 := netip.MustParseAddrPort("[2001:db8:1::1]:3478")
	b.Host("server6", nil, server6.Addr())
	home := b.NAT("home", nil, NATConfig{Filtering: AddressAndPortDependent}, publicAlice)
	alice := b.Host("alice", home, private, public)
	var from netip.AddrPort
	alice.Send(b.now, localPort, server6, nil)
	b.run(time.Second, func(p Packet) { from = p.From })
	if from.Addr() != public {
		t.Errorf("IPv6 was seen from %v", from)
	}
	if seen := b.observed(alice); seen.Addr() != publicAlice {
		t.Errorf("IPv4 was seen from %v", seen)
	}
}

// A datagram that arrives before its target has opened its own NAT towards the
// sender spoils, on a Linux NAT, the port that the sender was told.
func TestPrematureDatagramPoisonsLinuxNAT(t *testing.T) {
	for _, poisoned := range []bool{false, true} {
		b := newBench()
		cfg := NATConfig{Filtering: AddressAndPortDependent, Poisoned: poisoned}
		alice := b.Host("alice", b.NAT("nat-a", nil, cfg, publicAlice), private)
		bob := b.Host("bob", b.NAT("nat-b", nil, cfg, publicBob), private)
		toAlice, toBob := b.observed(alice), b.observed(bob)
		if b.arrives(alice, localPort, toBob) {
			t.Fatal("bob's NAT let the first probe in")
		}
		if got := b.arrives(bob, localPort, toAlice); got == poisoned {
			t.Errorf("poisoned %v: bob's late probe arrived: %v", poisoned, got)
		}
		if got := b.observed(bob) == toBob; !got {
			t.Error("the flow to the server changed its port")
		}
	}
}

func TestHostMovesBetweenNetworks(t *testing.T) {
	b := newBench()
	alice, _ := b.behind(NATConfig{})
	first := b.observed(alice)
	alice.Move(nil, publicBob)
	if second := b.observed(alice); second != netip.AddrPortFrom(publicBob, localPort) {
		t.Errorf("moved, but seen from %v", second)
	}
	if b.arrives(b.server, serverAddr.Port(), first) {
		t.Error("the former network still leads to the host")
	}
}
