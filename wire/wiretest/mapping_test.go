package wiretest

import (
	"net/netip"
	"testing"
	"time"
)

// sees sends a datagram to any port of the server and returns from where it came.
func (b *bench) sees(h *Host, local, remote uint16) (from netip.AddrPort) {
	h.Send(b.now, local, netip.AddrPortFrom(serverAddr.Addr(), remote), []byte("x"))
	b.run(time.Second, func(p Packet) { from = p.From })
	return from
}

// wait lets d pass since the last datagram was sent, which took a second.
func (b *bench) wait(d time.Duration) { b.now += d - time.Second }

func TestSequentialPortsGoByTheirStep(t *testing.T) {
	for _, step := range []int{2, -3} {
		b := newBench()
		alice, _ := b.behind(NATConfig{Mapping: AddressAndPortDependent, Ports: SequentialPort, PortStep: step})
		first, second := b.sees(alice, localPort, 1).Port(), b.sees(alice, localPort, 2).Port()
		if int(second)-int(first) != step {
			t.Errorf("step %d took %d to %d", step, first, second)
		}
	}
}

func TestSequentialPortsWrapAboveTheWellKnown(t *testing.T) {
	for _, c := range []struct {
		step       int
		last, next uint16
	}{{10, 65530, 1028}, {-3, 1025, 65534}} {
		b := newBench()
		alice, nat := b.behind(NATConfig{Mapping: AddressAndPortDependent, Ports: SequentialPort, PortStep: c.step})
		nat.nextPort = c.last
		if got := b.sees(alice, localPort, 1).Port(); got != c.next {
			t.Errorf("%d follows %d by step %d, want %d", got, c.last, c.step, c.next)
		}
	}
}

func TestEachInsideHostHasItsBlockOfPorts(t *testing.T) {
	const size = 8
	b := newBench()
	alice, nat := b.behind(NATConfig{Mapping: AddressAndPortDependent, Ports: BlockPort, PortBlock: size})
	carol := b.Host("carol", nat, netip.MustParseAddr("10.0.0.3"))
	owner := make(map[uint16]*Host)
	for _, h := range []*Host{alice, carol} {
		seen := make(map[uint16]bool)
		first := b.sees(h, localPort, 1).Port()
		for remote := uint16(2); remote <= size; remote++ {
			seen[b.sees(h, localPort, remote).Port()] = true
		}
		seen[first] = true
		if len(seen) != size {
			t.Fatalf("%s got %d ports from a block of %d", h.Name, len(seen), size)
		}
		for port := range seen {
			block := (port - firstPort) / size
			if block != (first-firstPort)/size {
				t.Errorf("port %d of %s is not in the block of %d", port, h.Name, first)
			}
			if other := owner[block]; other != nil && other != h {
				t.Errorf("%s and %s share a block", other.Name, h.Name)
			}
			owner[block] = h
		}
		if extra := b.sees(h, localPort, size+1); extra.IsValid() {
			t.Errorf("%s got %v beyond its block", h.Name, extra)
		}
	}
}

func TestHostsBeyondTheLastBlockGetNothing(t *testing.T) {
	b := newBench()
	const blocks = 4
	first, nat := b.behind(NATConfig{Ports: BlockPort, PortBlock: (1<<16 - firstPort) / blocks})
	seen, addr := map[uint16]bool{}, first.Addrs()[0]
	for i := range blocks + 1 {
		h := first
		if i > 0 {
			addr = addr.Next()
			h = b.Host("another", nat, addr)
		}
		got := b.observed(h)
		if got.IsValid() != (i < blocks) {
			t.Fatalf("host %d is seen from %v", i, got)
		}
		if got.IsValid() {
			seen[(got.Port()-firstPort)/((1<<16-firstPort)/blocks)] = true
		}
	}
	if len(seen) != blocks {
		t.Errorf("%d hosts shared %d blocks", blocks, len(seen))
	}
}

func TestUnrepliedMappingLivesShorter(t *testing.T) {
	// With Linux' timeouts: 30 s while nothing has come in, then 120 s.
	for _, c := range []struct {
		replied bool
		silence time.Duration
		kept    bool
	}{
		{false, 29 * time.Second, true},
		{false, 31 * time.Second, false},
		{true, 119 * time.Second, true},
		{true, 121 * time.Second, false},
	} {
		b := newBench()
		cfg := LinuxNAT(false)
		cfg.Ports, cfg.InboundRefresh = RandomPort, false
		alice, _ := b.behind(cfg)
		alice.Send(b.now, localPort, serverAddr, []byte("x"))
		var first netip.AddrPort
		b.run(0, func(p Packet) { first = p.From })
		if c.replied {
			b.server.Send(b.now, serverAddr.Port(), first, []byte("y"))
			b.run(0, func(Packet) {})
		}
		b.now += c.silence
		if got := b.observed(alice) == first; got != c.kept {
			t.Errorf("replied %v, %v of silence: kept %v", c.replied, c.silence, got)
		}
	}
}

func TestInboundTrafficRefreshesWhereItMay(t *testing.T) {
	for _, refresh := range []bool{false, true} {
		b := newBench()
		alice, _ := b.behind(NATConfig{
			Filtering: AddressAndPortDependent, Ports: RandomPort, Lifetime: 30 * time.Second, InboundRefresh: refresh,
		})
		first, arrived := b.observed(alice), 0
		for range 5 {
			b.wait(20 * time.Second)
			if b.arrives(b.server, serverAddr.Port(), first) {
				arrived++
			}
		}
		if want := map[bool]int{false: 1, true: 5}[refresh]; arrived != want {
			t.Errorf("refresh %v: %d of 5 datagrams came in, want %d", refresh, arrived, want)
		}
	}
}

func TestRefusedTrafficRefreshesNothing(t *testing.T) {
	b := newBench()
	alice, _ := b.behind(NATConfig{
		Filtering: AddressAndPortDependent, Ports: RandomPort, Lifetime: 30 * time.Second, InboundRefresh: true,
	})
	first := b.observed(alice)
	b.wait(20 * time.Second)
	b.arrives(b.server, serverAddr.Port()+1, first)
	b.wait(20 * time.Second)
	if b.observed(alice) == first {
		t.Error("a stranger kept the mapping alive")
	}
}

func TestMappingEndsAtItsMaxAge(t *testing.T) {
	b := newBench()
	alice, _ := b.behind(NATConfig{Ports: RandomPort, MaxAge: time.Hour})
	began := b.now
	first := b.observed(alice)
	for b.now-began < time.Hour-time.Minute {
		b.wait(time.Minute)
		if b.observed(alice) != first {
			t.Fatalf("the mapping ended after %v", b.now-began)
		}
	}
	b.now = began + time.Hour + time.Second
	if b.arrives(b.server, serverAddr.Port(), first) {
		t.Error("a mapping led inside after its time")
	}
	if b.observed(alice) == first {
		t.Error("traffic kept a mapping alive beyond its time")
	}
}

func TestFullTableRefusesOrEvicts(t *testing.T) {
	for _, evict := range []bool{false, true} {
		b := newBench()
		alice, _ := b.behind(NATConfig{MaxMappings: 2, EvictOldest: evict, Lifetime: time.Minute})
		oldest, kept := b.sees(alice, 1, 1), b.sees(alice, 2, 1)
		third := b.sees(alice, 3, 1)
		if third.IsValid() != evict {
			t.Errorf("evict %v: a third mapping: %v", evict, third)
		}
		if b.arrives(b.server, 1, oldest) == evict {
			t.Errorf("evict %v: the oldest mapping is wrong", evict)
		}
		if !b.arrives(b.server, 1, kept) {
			t.Errorf("evict %v: the newer mapping is gone", evict)
		}
		b.wait(2 * time.Minute)
		if !b.sees(alice, 4, 1).IsValid() {
			t.Errorf("evict %v: expired mappings fill the table", evict)
		}
	}
}

func TestEvictionSparesWhatIsUsed(t *testing.T) {
	b := newBench()
	alice, _ := b.behind(NATConfig{MaxMappings: 2, EvictOldest: true})
	used, idle := b.sees(alice, 1, 1), b.sees(alice, 2, 1)
	b.sees(alice, 1, 1)
	b.sees(alice, 3, 1)
	if !b.arrives(b.server, 1, used) || b.arrives(b.server, 1, idle) {
		t.Error("the mapping in use was evicted, not the idle one")
	}
}
