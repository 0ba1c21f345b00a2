package netmon

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A rig is a monitor of a pretend network, in virtual time.
type rig struct {
	t       *testing.T
	events  chan struct{}
	monitor *Monitor

	mu      sync.Mutex
	network Snapshot
	looks   int
	slept   time.Duration // how far the time of day is ahead of the timers
}

func inRig(t *testing.T, network Snapshot, test func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, events: make(chan struct{}, 1), network: network}
		r.monitor = Start(Config{Snapshot: r.snapshot, Events: r.events, Wall: r.wall})
		defer r.monitor.Close()
		test(r)
	})
}

func (r *rig) snapshot() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	return r.network
}

func (r *rig) wall() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.slept)
}

// set changes the network and lets the system say so.
func (r *rig) set(s Snapshot) {
	r.setSilently(s)
	notify(r.events)
}

func (r *rig) setSilently(s Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.network = s
}

// want waits for a change and asserts when it comes.
func (r *rig) want(what string, earliest, latest time.Duration) Change {
	r.t.Helper()
	began := time.Now()
	select {
	case c := <-r.monitor.Changes():
		if took := time.Since(began); took < earliest || took > latest {
			r.t.Errorf("%s: told after %v, want %v to %v", what, took, earliest, latest)
		}
		return c
	case <-time.After(time.Minute):
		r.t.Fatalf("%s: not told", what)
		return Change{}
	}
}

func (r *rig) wantQuiet(what string, d time.Duration) {
	r.t.Helper()
	select {
	case c := <-r.monitor.Changes():
		r.t.Errorf("%s: told of %+v", what, c)
	case <-time.After(d):
	}
}

// sleep lets the machine sleep, which takes none of its own time.
func (r *rig) sleep(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slept += d
}

func ethernet(addrs ...string) Interface {
	i := Interface{Index: 2, Name: "eth0"}
	for _, a := range addrs {
		i.Addrs = append(i.Addrs, netip.MustParsePrefix(a))
	}
	return i
}

var (
	nowhere = Snapshot{}
	wifi    = Snapshot{
		Interfaces: []Interface{ethernet("192.168.1.7/24")},
		Source4:    netip.MustParseAddr("192.168.1.7"),
	}
	lte = Snapshot{
		Interfaces: []Interface{{Index: 3, Name: "wwan0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.40.2.9/30")}}},
		Source4:    netip.MustParseAddr("10.40.2.9"),
	}
	wifiAndTemporary = Snapshot{
		Interfaces: []Interface{ethernet("192.168.1.7/24", "2001:db8:1::99/64")},
		Source4:    netip.MustParseAddr("192.168.1.7"),
	}
)

func TestNetworkThatAppearsIsToldAtOnce(t *testing.T) {
	inRig(t, nowhere, func(r *rig) {
		r.set(lte)
		c := r.want("first address", 0, 20*time.Millisecond)
		if c.Kind != Moved || c.Before.Up() || !c.After.Up() || !c.SourceMoved() || c.Minor() {
			t.Errorf("got %+v", c)
		}
	})
}

func TestLossIsToldOnceItIsQuiet(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.set(nowhere)
		c := r.want("loss", 250*time.Millisecond, 270*time.Millisecond)
		if c.After.Up() || !c.Before.Equal(wifi) || c.Minor() {
			t.Errorf("got %+v", c)
		}
	})
}

func TestNewNetworkDoesNotWaitForTheLossOfTheOld(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.set(nowhere)
		r.wantQuiet("loss", 100*time.Millisecond)
		r.set(lte)
		c := r.want("LTE", 0, 20*time.Millisecond)
		if !c.Before.Equal(wifi) || !c.After.Equal(lte) {
			t.Errorf("got %+v", c)
		}
		r.wantQuiet("after that", time.Minute)
	})
}

func TestNetworkThatComesBackOtherwiseIsToldAtOnce(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.set(nowhere)
		time.Sleep(100 * time.Millisecond)
		r.set(wifiAndTemporary)
		r.want("the same source and another address", 0, 20*time.Millisecond)
	})
}

func TestDefaultRouteThatMovesIsToldAtOnce(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.set(lte)
		if c := r.want("LTE", 0, 20*time.Millisecond); c.Minor() {
			t.Errorf("minor: %+v", c)
		}
	})
}

func TestAddressThatComesBackIsNoChange(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.set(nowhere)
		time.Sleep(200 * time.Millisecond)
		r.set(wifi)
		r.wantQuiet("lease renewed", time.Minute)
	})
}

func TestLossesInARowWaitASecondAtMost(t *testing.T) {
	many := wifi
	for i := range 40 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i), 1})
		many.Interfaces = append(many.Interfaces, Interface{Index: 10 + i, Name: "vpn", Addrs: []netip.Prefix{netip.PrefixFrom(a, 24)}})
	}
	inRig(t, many, func(r *rig) {
		first := time.Now()
		var going sync.WaitGroup
		defer going.Wait()
		going.Go(func() {
			for i := range 40 {
				s := many
				s.Interfaces = s.Interfaces[:40-i]
				r.set(s)
				time.Sleep(100 * time.Millisecond)
			}
		})
		c := <-r.monitor.Changes()
		if took := time.Since(first); took < 900*time.Millisecond || took > time.Second {
			t.Errorf("told after %v, want about 1s", took)
		}
		if !c.Minor() {
			t.Errorf("not minor: %+v", c)
		}
		for len(c.After.Interfaces) > 1 {
			c = <-r.monitor.Changes()
		}
	})
}

func TestEventsWithoutAChangeAreIgnored(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		for range 1000 {
			r.set(wifi)
			time.Sleep(time.Millisecond)
		}
		r.wantQuiet("nothing changed", time.Minute)
		if r.looks > 42 {
			t.Errorf("%d looks in 1 s of events, want 20 and then 20 a second", r.looks)
		}
		r.setSilently(lte)
		for range 20 {
			notify(r.events)
			time.Sleep(time.Millisecond)
		}
		r.want("change among many events", 0, 0)
	})
}

func TestTemporaryAddressIsMinor(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.set(wifiAndTemporary)
		if c := r.want("temporary address", 0, 270*time.Millisecond); !c.Minor() {
			t.Errorf("not minor: %+v", c)
		}
	})
}

func TestFlappingRouteIsNotAlwaysToldAtOnce(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		told := 0
		end := time.After(10 * time.Second)
		flap := time.NewTicker(30 * time.Millisecond)
		defer flap.Stop()
		for i := 0; ; {
			select {
			case <-flap.C:
				r.set([]Snapshot{lte, wifi}[i%2])
				i++
				continue
			case <-r.monitor.Changes():
				told++
				continue
			case <-end:
			}
			break
		}
		if told < 10 || told > 40 {
			t.Errorf("told %d times in 10 s", told)
		}
	})
}

func TestSleepIsTold(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.wantQuiet("awake", time.Minute)
		r.sleep(time.Hour)
		c := r.want("woke", 0, 5*time.Second)
		if c.Kind != Woke || c.Minor() || c.Slept < time.Hour-5*time.Second || c.Slept > time.Hour+5*time.Second {
			t.Errorf("got %+v", c)
		}
		r.wantQuiet("awake again", time.Minute)
	})
}

func TestSleepIsToldAtTheFirstEvent(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.wantQuiet("awake", time.Second)
		r.sleep(time.Hour)
		r.set(lte)
		c := r.want("woke elsewhere", 0, 20*time.Millisecond)
		if c.Kind != Woke || !c.SourceMoved() {
			t.Errorf("got %+v", c)
		}
		r.wantQuiet("after that", time.Minute)
	})
}

func TestClockThatIsSetBackIsNoSleep(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.mu.Lock()
		r.slept -= time.Hour
		r.mu.Unlock()
		r.wantQuiet("set back", time.Minute)
	})
}

func TestChangesNotReceivedBecomeOne(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		for _, s := range []Snapshot{lte, nowhere, wifiAndTemporary, nowhere, lte} {
			r.set(s)
			time.Sleep(2 * time.Second)
		}
		c := r.want("all", 0, 0)
		if !c.Before.Equal(wifi) || !c.After.Equal(lte) {
			t.Errorf("got %+v", c)
		}
		r.set(wifi)
		time.Sleep(2 * time.Second)
		r.set(lte)
		time.Sleep(2 * time.Second)
		r.wantQuiet("there and back", time.Minute)
	})
}

func TestNetworkIsPolledWithoutEvents(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		close(r.events)
		r.wantQuiet("the end of events", time.Minute)
		r.setSilently(lte)
		r.want("polled", 0, 10*time.Second+20*time.Millisecond)
	})
}

func TestCloseEndsTheChanges(t *testing.T) {
	inRig(t, wifi, func(r *rig) {
		r.set(nowhere)
		began := time.Now()
		r.monitor.Close()
		r.monitor.Close()
		if _, ok := <-r.monitor.Changes(); ok || time.Since(began) > 0 {
			t.Errorf("channel open: %v, after %v", ok, time.Since(began))
		}
	})
}
