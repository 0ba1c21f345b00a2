package reach

import (
	"net/netip"
	"testing"
	"time"
)

// lives makes a box forget the mapping of a side socket that nothing has used for
// so long: a knock on it is not heard.
func (b *box) lives(r *rig, d time.Duration) {
	asked := make(map[uint32]time.Duration)
	begun := r.now
	b.lost = func(_ int, a Action) bool {
		req, _ := ParseProbe(a.Data)
		now := r.now.Sub(begun)
		if req.ResponsePort != 0 {
			return now-asked[uint32(req.ResponsePort-publicSelf.Port())] >= d
		}
		asked[a.Link&0xff] = now
		return false
	}
}

func measured(t *testing.T, lifetime, wait time.Duration) (*rig, *box) {
	r, b := newSurveyRig(t, atHome), &box{}
	b.lives(r, lifetime)
	b.through(r, wait)
	return r, b
}

func TestLifetimeIsMeasuredInSteps(t *testing.T) {
	for lifetime, want := range map[time.Duration]Lifetime{
		10 * time.Second:  {Below: 20 * time.Second, Done: true},
		30 * time.Second:  {AtLeast: 20 * time.Second, Below: 35 * time.Second, Done: true},
		120 * time.Second: {AtLeast: 65 * time.Second, Below: 125 * time.Second, Done: true},
		time.Hour:         {AtLeast: 185 * time.Second, Done: true},
	} {
		r, b := measured(t, lifetime, 4*time.Minute)
		if got := r.c.Findings().Lifetime; got != want {
			t.Errorf("a lifetime of %v was found to be %+v, want %+v", lifetime, got, want)
		}
		wantSocketsClosed(t, r)
		if len(r.c.tests) != 0 || b.requests > 60 {
			t.Errorf("%d tests left, %d requests", len(r.c.tests), b.requests)
		}
	}
}

func TestKeepAliveFollowsTheLifetime(t *testing.T) {
	if got := newRig(t, 1).c.KeepAlive(); got != keepAliveDefault {
		t.Errorf("keepalive %v in an unknown network, want %v", got, keepAliveDefault)
	}
	for lifetime, want := range map[time.Duration]time.Duration{
		10 * time.Second:  keepAliveMin,
		30 * time.Second:  12 * time.Second,
		40 * time.Second:  21 * time.Second,
		100 * time.Second: 39 * time.Second,
		time.Hour:         keepAliveMax,
	} {
		r, _ := measured(t, lifetime, 4*time.Minute)
		if got := r.c.KeepAlive(); got != want || lifetime < time.Minute && lifetime > keepAliveMin && got >= lifetime {
			t.Errorf("keepalive %v for a lifetime of %v, want %v", got, lifetime, want)
		}
	}
}

func TestKeepAliveStaysWithinItsBounds(t *testing.T) {
	r, _ := measured(t, time.Hour, 4*time.Second)
	for _, l := range []Lifetime{
		{AtLeast: time.Millisecond}, {AtLeast: 1000 * time.Hour}, {Below: time.Nanosecond}, {Below: time.Hour}, {AtLeast: 1, Below: 2},
	} {
		r.c.setLifetime(r.c.network(), l)
		if got := r.c.KeepAlive(); got < keepAliveMin || got > keepAliveMax {
			t.Errorf("keepalive %v for %+v", got, l)
		}
	}
}

// A network that drops packets can make a mapping look dead after a shorter
// silence than one that was alive. Then the cautious reading counts.
func TestContradictoryLifetimesAreRead(t *testing.T) {
	r, _ := measured(t, time.Hour, 70*time.Second)
	test := func(after time.Duration) *lifetimeTest {
		return &lifetimeTest{survey: r.c.survey, net: r.c.network(), after: after}
	}
	if l := r.c.Findings().Lifetime; l != (Lifetime{AtLeast: 65 * time.Second}) {
		t.Fatalf("lifetime %+v", l)
	}
	r.c.lifetimeSeen(test(20*time.Second), false)
	r.c.lifetimeSeen(test(125*time.Second), true)
	if l := r.c.Findings().Lifetime; l != (Lifetime{Below: 20 * time.Second}) || r.c.KeepAlive() != keepAliveMin {
		t.Errorf("lifetime %+v, keepalive %v", l, r.c.KeepAlive())
	}
}

func TestLifetimeOfANetworkIsRemembered(t *testing.T) {
	r, _ := measured(t, time.Hour, 4*time.Minute)
	r.c.Moved(r.now)
	r.drain()
	r.out = nil
	r.tellProbes()
	b := box{}
	b.through(r, 4*time.Second)
	if l := r.c.Findings().Lifetime; !l.Done || l.AtLeast != 185*time.Second {
		t.Errorf("back in the network its lifetime is %+v", l)
	}
	if n := r.count(OpenSocket); n != 1 {
		t.Errorf("%d sockets, want the survey's alone", n)
	}
	r.c.Moved(r.now)
	r.c.SetHosts(r.now, []Host{{Addr: addr("192.168.7.5:4000"), OnLink: netip.MustParsePrefix("192.168.7.0/24")}})
	r.tellProbes()
	b.through(r, 4*time.Second)
	if l := r.c.Findings().Lifetime; l != (Lifetime{}) {
		t.Errorf("in another network the lifetime is %+v", l)
	}
	if n := r.count(OpenSocket); n != 1+len(lifetimeSteps) {
		t.Errorf("%d sockets, want those of a new measurement", n)
	}
}

func TestRememberedNetworksAreBounded(t *testing.T) {
	r := newRig(t, 1)
	for n := range 10 * networksKept {
		r.c.setLifetime(network{public: addrOf(n/256, n%256).Addr()}, Lifetime{Done: true})
	}
	if n := len(r.c.lifetimes); n > networksKept || n == 0 {
		t.Errorf("%d networks", n)
	}
}

func TestMeasurementsAreBounded(t *testing.T) {
	r, _ := measured(t, time.Hour, 4*time.Second)
	for range 100 {
		r.c.MeasureLifetime(r.now, time.Second, 2*time.Second, 3*time.Second)
		r.drain()
	}
	if n := len(r.c.tests); n > testsMax {
		t.Errorf("%d mappings are left alone", n)
	}
	if n := r.count(OpenSocket); n > 1+testsMax {
		t.Errorf("%d sockets", n)
	}
}

func TestMeasurementStopsWhenTheNetworkChanges(t *testing.T) {
	for _, stop := range []time.Duration{2 * time.Second, 10 * time.Second, 20*time.Second + 900*time.Millisecond, time.Minute} {
		r, b := newSurveyRig(t, atHome), &box{}
		if stop > 20*time.Second {
			b.delay = func(int) time.Duration { return 150 * time.Millisecond } // it is in the middle of a knock
		}
		b.through(r, stop)
		r.c.Moved(r.now)
		r.drain()
		wantSocketsClosed(t, r)
		requests, lifetime := b.requests, r.c.lifetimes
		b.through(r, 4*time.Minute)
		if b.requests > requests+30 || len(r.c.tests) != 0 { // some STUN goes on
			t.Errorf("%d requests after the move", b.requests-requests)
		}
		for _, l := range lifetime {
			if l.Done {
				t.Errorf("stopped after %v: %+v", stop, l)
			}
		}
	}
}

// The mapping to be left alone was not made: nothing is measured, nothing leaks.
func TestMappingThatWasNotMadeIsNotMeasured(t *testing.T) {
	r, b := newSurveyRig(t, atHome), &box{}
	b.lost = func(n int, a Action) bool { return a.Link > 1 && r.c.Findings().Done }
	b.through(r, 4*time.Minute)
	if l := r.c.Findings().Lifetime; l.AtLeast != 0 || l.Below != 0 {
		t.Errorf("lifetime %+v", l)
	}
	if len(r.c.tests) != 0 {
		t.Errorf("%d tests left", len(r.c.tests))
	}
	wantSocketsClosed(t, r)
}
