package lab

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A talk is numbered messages one way, and what came of them.
type talk struct {
	t       *testing.T
	from    *node.Conn
	every   time.Duration
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	sent    uint64
	next    uint64 // expected
	last    time.Time
	longest time.Duration // between two messages received
}

// talks lets the two ends of a session talk to each other.
func talks(t *testing.T, ab, ba *node.Conn, every time.Duration) []*talk {
	var both []*talk
	for _, way := range [][2]*node.Conn{{ab, ba}, {ba, ab}} {
		k := &talk{t: t, from: way[0], every: every, stop: make(chan struct{}), last: time.Now()}
		k.running.Go(k.send)
		k.running.Go(func() { k.receive(way[1]) })
		both = append(both, k)
	}
	return both
}

func (k *talk) send() {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-tick.C:
		case <-k.stop:
			k.mu.Lock()
			k.sent = n
			k.mu.Unlock()
			return
		}
		if err := k.from.Send(k.t.Context(), binary.BigEndian.AppendUint64(nil, n)); err != nil {
			k.t.Errorf("message %d: %v", n, err)
			return
		}
	}
}

func (k *talk) receive(to *node.Conn) {
	for m, err := range to.Messages(k.t.Context()) {
		if err != nil {
			return // the session is closed at the end
		}
		k.mu.Lock()
		if n := binary.BigEndian.Uint64(m.Data); n != k.next {
			k.t.Errorf("message %d arrived in place of %d", n, k.next)
		}
		k.next++
		k.longest = max(k.longest, time.Since(k.last))
		k.last = time.Now()
		k.mu.Unlock()
	}
}

// gap returns the longest silence of all since the last call.
func gap(talks []*talk) (longest time.Duration) {
	for _, k := range talks {
		k.mu.Lock()
		longest = max(longest, k.longest, time.Since(k.last))
		k.longest = 0
		k.mu.Unlock()
	}
	return longest
}

// finish ends the talks and checks that everything has arrived, once.
func finish(t *testing.T, talks []*talk) {
	t.Helper()
	for _, k := range talks {
		close(k.stop)
	}
	time.Sleep(5 * time.Second)
	for _, k := range talks {
		k.mu.Lock()
		if k.next != k.sent {
			t.Errorf("%d of %d messages arrived", k.next, k.sent)
		}
		k.mu.Unlock()
	}
}

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

// A carrier's NAT drops each mapping a minute after it was made, used or not.
func TestCarrierThatDropsMappingsEveryMinute(t *testing.T) {
	for _, mapping := range []wiretest.Behavior{wiretest.EndpointIndependent, wiretest.AddressAndPortDependent} {
		t.Run(mapping.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *World) {
				carrier := wiretest.NATConfig{
					Mapping: mapping, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort, MaxAge: time.Minute,
				}
				a, err := w.AddBehind(carrier, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Node.WaitOnline(t.Context()); err != nil {
					t.Fatal(err)
				}
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
		a, b := w.add(t, PortRestricted, nil), w.add(t, PortRestricted, nil)
		ab, ba := call(t, a.Node, b.Node)
		if !eventually(time.Second, func() bool { return direct(ab, ba) }) {
			t.Fatalf("paths %v and %v", ab.Path(), ba.Path())
		}
		k := talks(t, ab, ba, 5*time.Millisecond)
		time.Sleep(time.Second)
		gap(k)
		for range 3 {
			w.blockUDP(a, true)
			time.Sleep(5 * time.Second)
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
		a, b := w.add(t, PortRestricted, nil), w.add(t, PortRestricted, nil)
		ab, ba := call(t, a.Node, b.Node)
		if !eventually(time.Second, func() bool { return direct(ab, ba) }) {
			t.Fatalf("paths %v and %v", ab.Path(), ba.Path())
		}
		k := talks(t, ab, ba, 5*time.Millisecond)
		time.Sleep(time.Second)
		gap(k)
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
