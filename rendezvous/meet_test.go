package rendezvous

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestBothPeersProbeAtTheSameMoment(t *testing.T) {
	for _, owds := range [][2]time.Duration{{0, 0}, {30, 30}, {5, 120}, {120, 5}, {300, 300}} {
		for _, fresh := range []bool{true, false} {
			w := newWorld(t, owds[0]*time.Millisecond, owds[1]*time.Millisecond)
			w.run(3 * time.Second)
			a, b := w.nodes[0], w.nodes[1]
			if !fresh {
				a.knows(b.id)
				b.knows(a.id)
			}
			start := w.now
			a.introduce(b, fresh)
			w.run(5 * time.Second)
			if len(a.probes) != 1 || len(b.probes) != 1 {
				t.Fatalf("delays %v, fresh %v: %d and %d probes, want 1 each", owds, fresh, len(a.probes), len(b.probes))
			}
			pa, pb := a.probes[0], b.probes[0]
			if pa.peer != b.id || pa.addr != b.addr || pb.peer != a.id || pb.addr != a.addr {
				t.Errorf("delays %v: probes %+v and %+v", owds, pa, pb)
			}
			if pa.at.Sub(pb.at).Abs() > time.Millisecond {
				t.Errorf("delays %v, fresh %v: probing starts %v apart", owds, fresh, pa.at.Sub(pb.at).Abs())
			}
			rtts := 3 * (a.owd + b.owd) // over the server, back, and there once more
			if took := pa.at.Sub(start); took > rtts+startMargin {
				t.Errorf("delays %v, fresh %v: probing starts after %v, want at most %v", owds, fresh, took, rtts+startMargin)
			}
		}
	}
}

func TestOneSidedIntroductionLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, 20*time.Millisecond, 20*time.Millisecond)
	w.run(time.Second)
	a, b := w.nodes[0], w.nodes[1]
	b.mute = true // its INVITE is lost
	a.introduce(b, true)
	w.run(10 * time.Second)
	b.mute = false
	if len(a.probes) != 0 || len(b.probes) != 0 {
		t.Errorf("%d and %d probes, want none: no order came", len(a.probes), len(b.probes))
	}
	n := len(a.probes)
	w.run(time.Minute)
	if len(a.probes) != n {
		t.Error("it probes on")
	}
	a.introduce(b, false)
	w.run(time.Second)
	if len(b.probes) != 1 {
		t.Errorf("a second introduction led to %d probes of the other side, want 1", len(b.probes))
	}
}

func TestPeersThatBothMovedFindEachOther(t *testing.T) {
	w := newWorld(t, 30*time.Millisecond, 30*time.Millisecond)
	w.run(time.Second)
	a, b := w.nodes[0], w.nodes[1]
	a.knows(b.id)
	b.knows(a.id)
	a.addr, b.addr = netip.MustParseAddrPort("20.7.0.1:1111"), netip.MustParseAddrPort("20.8.0.1:2222")
	moved := w.now
	a.introduce(b, false)
	b.introduce(a, false)
	w.run(time.Second)
	has := func(n *simNode, addr netip.AddrPort) bool {
		return slices.ContainsFunc(n.probes, func(p simProbe) bool {
			return p.addr == addr && p.at.Sub(moved) < 250*time.Millisecond
		})
	}
	if !has(a, b.addr) || !has(b, a.addr) {
		t.Errorf("probes %+v and %+v", a.probes, b.probes)
	}
}

func TestNodesRegisterAgainWithinFiveSecondsOfTheServersReturn(t *testing.T) {
	for _, outage := range []time.Duration{0, 100 * time.Millisecond, time.Second, 4 * time.Second, 20 * time.Second, 3 * time.Minute} {
		var owds []time.Duration
		for n := range 40 {
			owds = append(owds, time.Duration(n)*5*time.Millisecond)
		}
		w := newWorld(t, owds...)
		w.run(10 * time.Second)
		w.up = false
		w.run(outage)
		w.startServer()
		back := w.now
		w.run(20 * time.Second)
		var waits []time.Duration
		for _, n := range w.nodes {
			if len(n.online) != 2 {
				t.Fatalf("outage of %v: registered %d times, want 2", outage, len(n.online))
			}
			waits = append(waits, n.online[1].Sub(back))
		}
		if slowest := slices.Max(waits); slowest > 5*time.Second {
			t.Errorf("outage of %v: the slowest node needed %v", outage, slowest)
		}
		slices.Sort(waits)
		if spread := waits[36] - waits[4]; outage > 0 && spread < 100*time.Millisecond {
			t.Errorf("outage of %v: all nodes came back within %v", outage, spread)
		}
	}
}

func TestTwoNodesWithOneKeyDoNotTakeTurns(t *testing.T) {
	w := newWorld(t, 10*time.Millisecond)
	w.addPeer(w.nodes[0].id, 1, 10*time.Millisecond)
	w.run(10 * time.Minute)
	if flips := w.hub.stats.Replaced; flips > 24 {
		t.Errorf("%d turns in 10 minutes", flips)
	}
}

func TestDialOfAnAbsentPeerFailsSoon(t *testing.T) {
	w := newWorld(t, 50*time.Millisecond)
	w.run(time.Minute)
	if _, err := w.nodes[0].Introduce(w.now, peer(77), true); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.run(150 * time.Millisecond)
	if len(w.nodes[0].failures) != 1 {
		t.Errorf("failures %v, want one after a round trip", w.nodes[0].failures)
	}
}

// Nodes come, go, move and meet at random for a minute. In the end all that are
// left can still be introduced, and neither side holds on to anything.
func TestWorldStaysInOrder(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			for n := range 12 {
				w.addNode(n, time.Duration(rng.IntN(200))*time.Millisecond)
			}
			for range 300 {
				a, b := w.nodes[rng.IntN(12)], w.nodes[rng.IntN(12)]
				switch rng.IntN(6) {
				case 0:
					a.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, 1, byte(rng.IntN(256)), 1}), 4000)
					a.Moved(w.now)
				case 1:
					if w.up = !w.up; w.up {
						w.startServer()
					}
				default:
					if a != b {
						a.Introduce(w.now, b.id, a.known[b.id] == 0)
					}
				}
				w.settle()
				w.run(time.Duration(rng.IntN(400)) * time.Millisecond)
			}
			if !w.up {
				w.startServer()
			}
			w.run(2 * time.Minute)
			if n := len(w.hub.registry.byPeer); n != 12 {
				t.Errorf("%d nodes registered, want 12", n)
			}
			for k, a := range w.nodes {
				b := w.nodes[(k+1)%12]
				before := len(b.probes)
				a.introduce(b, a.known[b.id] == 0)
				w.run(5 * time.Second)
				if len(b.probes) == before {
					t.Errorf("node %d could not be introduced to the next", k)
				}
			}
		})
	}
}
