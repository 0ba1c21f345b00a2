package reach

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// NATs of each hardness.
var (
	unknownNAT    = wire.NAT{}
	openNAT       = wire.NAT{Mapping: wire.EndpointIndependent, Filtering: wire.AddressDependent}
	easyNAT       = wire.NAT{Mapping: wire.EndpointIndependent, Filtering: wire.AddressAndPortDependent}
	sequentialNAT = wire.NAT{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsSequential, Base: 20000, Step: 1}
	descendingNAT = wire.NAT{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsSequential, Base: 1030, Step: -2}
	blockNAT      = wire.NAT{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsBlock, Low: 30000, High: 30511}
	randomNAT     = wire.NAT{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsRandom}
	searchingNAT  = withFlags(randomNAT, wire.NATSearch)
)

func withFlags(n wire.NAT, f wire.NATFlags) wire.NAT {
	n.Flags |= f
	return n
}

func allNATs() (list []wire.NAT) {
	for _, n := range []wire.NAT{unknownNAT, openNAT, easyNAT, sequentialNAT, descendingNAT, blockNAT, randomNAT} {
		for f := range wire.NATFlags(16) {
			list = append(list, withFlags(n, f))
		}
	}
	return list
}

func TestBothSidesFindTheSameTechnique(t *testing.T) {
	for _, a := range allNATs() {
		for _, b := range allNATs() {
			for round := range 4 {
				x, y := techniqueFor(&a, &b, round), techniqueFor(&b, &a, round)
				if x != y {
					t.Fatalf("round %d: %v for %+v and %+v, %v the other way round", round, x, a, b, y)
				}
				silent := (a.Flags|b.Flags)&(wire.NATNoUDP|wire.NATRelayOnly) != 0
				if silent && x != TechniqueNone {
					t.Fatalf("%v for %+v and %+v", x, a, b)
				}
				if x == TechniqueSearch && !(a.Has(wire.NATSearch) && b.Has(wire.NATSearch)) {
					t.Fatalf("a search for %+v and %+v", a, b)
				}
			}
		}
	}
}

// A planned side is one end of a round with its plan.
type planned struct {
	side
	plan   plan
	opened []uint32
}

func planPair(a, b wire.NAT, round int) (pa, pb *planned) {
	sideOf := func(nat wire.NAT, initiator bool) *planned {
		p := &planned{}
		p.side = side{nat: nat, link: session.LinkSocket | 1, initiator: initiator, chance: rand.New(rand.NewPCG(1, 2))}
		p.opens = func() uint32 {
			p.opened = append(p.opened, session.LinkSocket|uint32(2+len(p.opened)))
			return p.opened[len(p.opened)-1]
		}
		return p
	}
	pa, pb = sideOf(a, true), sideOf(b, false)
	pa.plan = planFor(&pa.side, &b, publicBob, round)
	pb.plan = planFor(&pb.side, &a, publicSelf, round)
	return pa, pb
}

func portsOf(shots []shot) (ports []uint16) {
	for _, s := range shots {
		ports = append(ports, s.to.Port())
	}
	return ports
}

func linksOf(shots []shot) (links []uint32) {
	for _, s := range shots {
		links = append(links, s.link)
	}
	return slices.Compact(links)
}

func TestPredictionAimsAtWhatTheOtherOpens(t *testing.T) {
	for _, counts := range []wire.NAT{sequentialNAT, descendingNAT} {
		hard, finder := planPair(counts, easyNAT, 0)
		if got := hard.plan.openers; len(got) != 1 || got[0] != (shot{hard.link, publicBob}) {
			t.Errorf("the side that counts opens %v, want one flow from its new socket", got)
		}
		ports := portsOf(finder.plan.guesses)
		if len(ports) == 0 || ports[0] != uint16(int(counts.Base)+int(counts.Step)) {
			t.Errorf("guesses %v do not begin with the port after %d", ports, counts.Base)
		}
		if l := linksOf(finder.plan.guesses); !slices.Equal(l, []uint32{finder.link}) {
			t.Errorf("guesses come from the sockets %x, but the other was told of the new one", l)
		}
	}
}

func TestPredictionOnBothSidesPairsTheRows(t *testing.T) {
	for round := range 3 {
		a, b := planPair(sequentialNAT, descendingNAT, round)
		for name, p := range map[string]*planned{"one": a, "other": b} {
			if !slices.Equal(p.plan.openers, p.plan.guesses) || len(p.plan.guesses) == 0 {
				t.Errorf("the %s side opens %v and guesses %v", name, p.plan.openers, p.plan.guesses)
			}
			if l := linksOf(p.plan.guesses); !slices.Equal(l, []uint32{p.link}) {
				t.Errorf("the %s side guesses from the sockets %x", name, l)
			}
		}
		// Only one side shifts its row, else the two would miss each other again.
		if first := a.plan.guesses[0].to.Port(); first != 1028 {
			t.Errorf("round %d: the one who asked begins at %d", round, first)
		}
		if first, want := b.plan.guesses[0].to.Port(), uint16(20001+round); first != want {
			t.Errorf("round %d: the other begins at %d, want %d", round, first, want)
		}
	}
}

func TestSearchGoesThroughWhereTheOtherOpens(t *testing.T) {
	for _, c := range []struct {
		hard, easy         wire.NAT
		technique          Technique
		sockets, guesses   int
		lowest, highest    uint16
		coveredAtLeastHalf bool
	}{
		{blockNAT, easyNAT, TechniqueBlock, blockSockets, blockGuesses, 30000, 30511, true},
		{searchingNAT, withFlags(easyNAT, wire.NATSearch), TechniqueSearch, searchSockets, searchGuesses - 20, firstUserPort, 65535, false},
	} {
		hard, finder := planPair(c.hard, c.easy, 0)
		if hard.plan.technique != c.technique || len(hard.opened) != c.sockets || len(hard.plan.openers) != c.sockets || hard.plan.guesses != nil {
			t.Errorf("%v: the hard side: %v, %d sockets, %d openers, %d guesses", c.technique,
				hard.plan.technique, len(hard.opened), len(hard.plan.openers), len(hard.plan.guesses))
		}
		for k, s := range hard.plan.openers {
			if s != (shot{hard.opened[k], publicBob}) {
				t.Fatalf("%v: opener %d goes from %x to %v", c.technique, k, s.link, s.to)
			}
		}
		ports := portsOf(finder.plan.guesses)
		slices.Sort(ports)
		if len(ports) < c.guesses || len(slices.Compact(slices.Clone(ports))) != len(ports) {
			t.Errorf("%v: %d guesses, some twice", c.technique, len(ports))
		}
		if ports[0] < c.lowest || ports[len(ports)-1] > c.highest || len(finder.opened) != 0 {
			t.Errorf("%v: guesses from %d to %d, %d sockets", c.technique, ports[0], ports[len(ports)-1], len(finder.opened))
		}
		if hard.plan.volley() < finder.plan.volley() {
			t.Errorf("%v: the hard side gives up before the other is through", c.technique)
		}
	}
}

// volley returns how long a side stays in a round.
func (p *plan) volley() int64 { v := volley{plan: *p}; return int64(v.duration()) }

func TestGridCrossesARowWithABlock(t *testing.T) {
	row, field := planPair(sequentialNAT, blockNAT, 0)
	if len(row.opened) != gridRow || len(row.plan.openers) != gridRow {
		t.Fatalf("%d sockets, %d openers, want %d", len(row.opened), len(row.plan.openers), gridRow)
	}
	aim := row.plan.openers[0].to
	if aim.Addr() != publicBob.Addr() || aim.Port() < 30000+128 || aim.Port() > 30511-127 {
		t.Errorf("the row aims at %v, want the middle of the block", aim)
	}
	for k, s := range row.plan.openers {
		if s != (shot{row.opened[k], aim}) {
			t.Fatalf("flow %d of the row: %v", k, s)
		}
	}
	if len(field.opened) != gridSockets {
		t.Fatalf("%d sockets, want %d", len(field.opened), gridSockets)
	}
	for _, link := range field.opened {
		for k := range gridRow {
			want := shot{link, netip.AddrPortFrom(publicSelf.Addr(), uint16(20001+k))}
			if !slices.Contains(field.plan.guesses, want) {
				t.Fatalf("no guess %v", want)
			}
		}
	}
}

// A round costs no more than the largest technique, whatever the peer says of
// its NAT, and never shoots at a port that belongs to a service.
func TestPlansAreBounded(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 4))
	check := func(mine, theirs wire.NAT) {
		for round := range 256 {
			if round > 3 && round < 254 {
				continue
			}
			_, b := planPair(theirs, mine, round)
			if n := len(b.plan.openers) + len(b.plan.guesses)*b.plan.passes; n > searchGuesses {
				t.Fatalf("%d datagrams for %+v", n, theirs)
			}
			if len(b.opened) > searchSockets {
				t.Fatalf("%d sockets for %+v", len(b.opened), theirs)
			}
			for _, s := range append(b.plan.openers, b.plan.guesses...) {
				if s.to.Addr() != publicSelf.Addr() {
					t.Fatalf("a shot at %v", s.to)
				}
				if p := s.to.Port(); s.to != publicSelf && (p < firstUserPort || slices.Contains(forbiddenPorts, p)) {
					t.Fatalf("a shot at port %d for %+v", p, theirs)
				}
			}
		}
	}
	edges := []uint16{1, 2, 53, 1023, 1024, 1025, 1899, 5352, 11210, 32768, 65534, 65535}
	steps := []int16{1, -1, 2, 128, 256, -256, 1024, 32767, -32768}
	for _, mine := range []wire.NAT{easyNAT, withFlags(easyNAT, wire.NATSearch), sequentialNAT, blockNAT, searchingNAT} {
		for _, low := range edges {
			for _, step := range steps {
				check(mine, wire.NAT{Mapping: wire.AddressAndPortDependent, Ports: wire.PortsSequential, Base: low, Step: step})
			}
			for _, high := range append(edges, low+1+uint16(chance.IntN(100))) {
				if low < high {
					check(mine, wire.NAT{Mapping: wire.AddressAndPortDependent, Ports: wire.PortsBlock, Low: low, High: high})
				}
			}
		}
		check(mine, searchingNAT)
	}
}

func TestPortsWrapAround(t *testing.T) {
	for _, c := range []struct {
		base uint16
		step int16
		want []uint16
	}{
		{65534, 1, []uint16{65535, 1024, 1025}},
		{1026, -1, []uint16{1025, 1024, 65535}},
		{65000, 500, []uint16{65500, 1488, 1988}},
	} {
		if got := following(&wire.NAT{Base: c.base, Step: c.step}, 3); !slices.Equal(got, c.want) {
			t.Errorf("after %d by %d: %v, want %v", c.base, c.step, got, c.want)
		}
	}
}
