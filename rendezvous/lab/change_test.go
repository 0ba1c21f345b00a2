package lab

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// shorter is d, or a part of it under the race detector: that fails now and then
// in a bubble with very many timers (golang/go#78156).
func shorter(d time.Duration) time.Duration {
	if raceDetector {
		return d / 5
	}
	return d
}

func eventually(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

func direct(conns ...*node.Conn) bool {
	for _, c := range conns {
		if c.Path().Kind != node.Direct {
			return false
		}
	}
	return true
}

// strict is the NAT of a home that gives out ports at random.
var strict = wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort}

// A carrier's NAT drops each mapping a minute after it was made, used or not.
func TestCarrierThatDropsMappingsEveryMinute(t *testing.T) {
	for _, mapping := range []wiretest.Behavior{wiretest.EndpointIndependent, wiretest.AddressAndPortDependent} {
		t.Run(mapping.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *World) {
				carrier := wiretest.NATConfig{
					Mapping: mapping, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort, MaxAge: time.Minute,
				}
				a := w.addBehind(t, carrier)
				b := w.add(t, PortRestricted, nil)
				ab, ba := call(t, a.Node, b.Node)
				time.Sleep(5 * time.Second)
				k := talks(t, ab, ba, 50*time.Millisecond)
				time.Sleep(time.Second)
				gap(k)
				time.Sleep(shorter(10 * time.Minute))
				if g := gap(k); g > 500*time.Millisecond {
					t.Errorf("silent for %v", g)
				} else {
					t.Logf("longest silence %v", g)
				}
				finish(t, k)
			})
		})
	}
}

// The whole of UDP is blocked for the one, and comes back.
func TestUDPIsBlockedAndComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a, _, ab, ba, k := talking(t, w, strict)
		for _, block := range []time.Duration{5 * time.Second, 5 * time.Second, shorter(200 * time.Second)} {
			w.blockUDP(a, true)
			time.Sleep(block)
			if g := gap(k); g > time.Second {
				t.Errorf("blocked: silent for %v", g)
			}
			if direct(ab) || direct(ba) {
				t.Errorf("paths %v and %v without UDP", ab.Path(), ba.Path())
			}
			w.blockUDP(a, false)
			if !eventually(3*time.Second, func() bool { return direct(ab, ba) }) {
				t.Errorf("paths %v and %v, 3 s after UDP is back", ab.Path(), ba.Path())
			}
			if g := gap(k); g > 300*time.Millisecond {
				t.Errorf("unblocked: silent for %v", g)
			}
		}
		finish(t, k)
	})
}

// UDP comes back for a moment. A stream that is in use again by then is not closed
// because it was not needed meanwhile.
func TestStreamStaysWhileUDPComesAndGoes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a, _, ab, ba, k := talking(t, w, strict)
		onUDP := func() bool { return a.Node.Status().Servers[0].Observed.IsValid() }
		for range 3 {
			w.blockUDP(a, true)
			time.Sleep(5 * time.Second)
			w.blockUDP(a, false)
			if !eventually(4*time.Second, func() bool { return onUDP() && direct(ab, ba) }) {
				t.Fatalf("paths %v and %v after UDP is back", ab.Path(), ba.Path())
			}
			w.blockUDP(a, true)
			time.Sleep(3 * time.Second)
			gap(k)
			time.Sleep(30 * time.Second)
			if g := gap(k); g > 100*time.Millisecond {
				t.Errorf("the stream was silent for %v", g)
			}
			w.blockUDP(a, false)
			if !eventually(4*time.Second, func() bool { return direct(ab, ba) }) {
				t.Errorf("paths %v and %v after UDP is back", ab.Path(), ba.Path())
			}
		}
		finish(t, k)
	})
}

// A node whose session with the server is back on UDP, which is tried again 5 s
// after the block began, is told its address at once: until then its peers take it
// for one without UDP.
func TestNodeLearnsItsAddressAsSoonAsUDPIsBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a, b := w.add(t, PortRestricted, nil), w.add(t, PortRestricted, nil)
		ab, ba := call(t, a.Node, b.Node)
		k := talks(t, ab, ba, 5*time.Millisecond)
		seen := func() bool { return a.Node.Status().Servers[0].Observed.IsValid() }
		for range 3 {
			time.Sleep(time.Second)
			w.blockUDP(a, true)
			time.Sleep(4 * time.Second)
			if seen() {
				t.Error("the server has told an address of a node without UDP")
			}
			w.blockUDP(a, false)
			if !eventually(3500*time.Millisecond, seen) {
				t.Error("3.5 s after UDP is back the node does not know its address")
			}
		}
		finish(t, k)
	})
}

// blockUDP lets no datagram to or from a host pass.
func (w *World) blockUDP(p Place, blocked bool) {
	w.Net.Do(func(*wiretest.Net) {
		var drop func(time.Duration, []byte) bool
		if blocked {
			drop = func(time.Duration, []byte) bool { return true }
		}
		p.Host.Up.Drop, p.Host.Down.Drop = drop, drop
	})
}

// A host sleeps for ten minutes: nothing it does reaches anybody. It is reachable
// again soon after it wakes, under its old registration or a new one.
func TestHostThatWakesIsReachableAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a, b := w.add(t, PortRestricted, nil), w.add(t, PortRestricted, nil)
		w.Net.Do(func(*wiretest.Net) { a.Host.Unplug() })
		time.Sleep(10 * time.Minute)
		w.Net.Do(func(*wiretest.Net) {
			a.Router.Rebind() // no NAT has waited for it
			a.Host.Plug()
		})
		begun := time.Now()
		var c *node.Conn
		ok := eventually(2*time.Second, func() bool {
			var err error
			c, err = b.Node.Dial(t.Context(), a.Node.ID())
			return err == nil
		})
		if !ok {
			t.Fatalf("not reachable after %v", time.Since(begun))
		}
		t.Logf("reachable after %v", time.Since(begun))
		if err := c.Send(t.Context(), []byte("good morning")); err != nil {
			t.Error(err)
		}
	})
}

// Both sides lose their mappings in the same round trip, move to other networks at
// once, and do so while the server restarts.
func TestBothSidesHardToReachAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a, b, ab, ba, k := talking(t, w, strict)
		next := byte(100)
		renumber := func() {
			w.Net.Do(func(*wiretest.Net) {
				for _, p := range []Place{a, b} {
					next++
					p.Router.Renumber(netip.AddrFrom4([4]byte{203, 0, 113, next}))
				}
			})
		}
		for _, c := range []struct {
			name  string
			do    func()
			limit time.Duration
		}{
			{"both rebind", func() {
				w.Net.Do(func(*wiretest.Net) { a.Router.Rebind() })
				time.Sleep(20 * time.Millisecond)
				w.Net.Do(func(*wiretest.Net) { b.Router.Rebind() })
			}, time.Second},
			{"both get new addresses", renumber, time.Second},
			{"both, and the server restarts", func() {
				renumber()
				w.Server.Close()
				time.Sleep(time.Second)
				if err := w.StartServer(); err != nil {
					t.Fatal(err)
				}
			}, 6 * time.Second},
		} {
			c.do()
			time.Sleep(c.limit + 5*time.Second)
			if g := gap(k); g > c.limit {
				t.Errorf("%s: silent for %v, want at most %v", c.name, g, c.limit)
			} else {
				t.Logf("%s: silent for %v", c.name, g)
			}
			if !eventually(3*time.Second, func() bool { return direct(ab, ba) }) {
				t.Errorf("%s: paths %v and %v", c.name, ab.Path(), ba.Path())
			}
		}
		finish(t, k)
	})
}

// A node that tells nobody its addresses does not: its peer never sends there.
func TestRelayOnlyNodeIsNotFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a, b := w.add(t, Public, &node.Config{RelayOnly: true}), w.add(t, FullCone, nil)
		var got atomic.Int64
		w.Net.Do(func(net *wiretest.Net) {
			net.Tap = func(_ time.Duration, from, to netip.AddrPort, _ []byte) {
				if from.Addr() == b.Router.External() && to.Addr() == a.Host.Addrs()[0] || to.Addr() == b.Router.External() && from.Addr() == a.Host.Addrs()[0] {
					got.Add(1)
				}
			}
		})
		ab, ba := call(t, a.Node, b.Node)
		k := talks(t, ab, ba, 50*time.Millisecond)
		time.Sleep(2 * time.Minute)
		finish(t, k)
		if got.Load() > 0 || ab.Path().Kind != node.Relayed || ba.Path().Kind != node.Relayed {
			t.Errorf("%d datagrams went directly; paths %v and %v", got.Load(), ab.Path(), ba.Path())
		}
		for _, c := range []*node.Conn{ab, ba} {
			if x := c.Explain(t.Context()); x.Cause != node.CauseRelayOnly {
				t.Errorf("explained by %v", x.Cause)
			}
		}
	})
}

// Both sides filter by port, so nothing from a new mapping gets in until the
// server has introduced the two again.
func TestSessionIsIntroducedAgainAfterAMove(t *testing.T) {
	for _, test := range []struct {
		name string
		move func(a, b *wiretest.NAT)
		gap  time.Duration
	}{
		{"new port of the dialler", func(a, b *wiretest.NAT) { a.Rebind() }, time.Second},
		{"new port of the other", func(a, b *wiretest.NAT) { b.Rebind() }, time.Second},
		{"new address", func(a, b *wiretest.NAT) { a.Renumber(netip.MustParseAddr("203.0.113.77")) }, time.Second},
		{"both at once", func(a, b *wiretest.NAT) { a.Rebind(); b.Rebind() }, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *World) {
				a, b, ab, ba, k := talking(t, w, strict)
				for range 5 {
					w.Net.Do(func(*wiretest.Net) { test.move(a.Router, b.Router) })
					time.Sleep(2 * time.Second)
					if g := gap(k); g > test.gap {
						t.Errorf("silent for %v, want at most %v", g, test.gap)
					}
					if !direct(ab, ba) {
						t.Errorf("paths %v and %v", ab.Path(), ba.Path())
					}
				}
				finish(t, k)
			})
		})
	}
}

// crash ends the server's process without a word, and leaves its machine up.
func (w *World) crash(t *testing.T) {
	t.Helper()
	blackhole := func(on bool) {
		w.Net.Do(func(*wiretest.Net) { w.host.Up.Blackhole, w.host.Down.Blackhole = on, on })
	}
	blackhole(true)
	defer blackhole(false)
	if err := w.Server.Close(); err != nil {
		t.Error(err)
	}
}

func TestServerMayCrashAndReturn(t *testing.T) {
	for _, outage := range []time.Duration{0, 10 * time.Second, 70 * time.Second} {
		t.Run(outage.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *World) {
				_, _, _, _, k := talking(t, w, strict)
				w.crash(t)
				time.Sleep(outage)
				if err := w.StartServer(); err != nil {
					t.Fatal(err)
				}
				if !eventually(5*time.Second, func() bool { return w.Server.Stats().Registered == 2 }) {
					t.Errorf("5 s after the server's return: %+v", w.Server.Stats())
				}
				time.Sleep(5 * time.Second)
				if g := gap(k); g > 50*time.Millisecond {
					t.Errorf("the direct session was silent for %v", g)
				}
				finish(t, k)
			})
		})
	}
}

func TestSessionOverTheRelayLosesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a, b := w.add(t, Random, nil), w.add(t, Random, nil)
		ab, ba := call(t, a.Node, b.Node)
		k := talks(t, ab, ba, 5*time.Millisecond)
		time.Sleep(2 * time.Second)
		gap(k)
		for range 3 {
			w.Net.Do(func(*wiretest.Net) { a.Router.Rebind() })
			time.Sleep(5 * time.Second)
			if g := gap(k); g > time.Second {
				t.Errorf("silent for %v", g)
			}
		}
		if ab.Path().Kind != node.Relayed {
			t.Errorf("path %v", ab.Path())
		}
		finish(t, k)
	})
}
