package portmap

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	home     = Gateway{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("192.168.1.5"), netip.MustParsePrefix("192.168.1.0/24")}
	external = netip.MustParseAddrPort("203.0.113.5:40000")
)

// A script is what a scripted protocol answers.
type script struct {
	delay      time.Duration
	probeErr   error
	requestErr error
	grant      grant
	isLost     bool
	deaf       bool // blocks until the context ends, and then some
}

// A record is what a scripted protocol was asked for, and when.
type record struct {
	probes, requests, releases []time.Duration
	wishes                     []netip.AddrPort
}

// A scripted protocol answers in virtual time as the test says.
type scripted struct {
	is    string
	began time.Time

	mu sync.Mutex
	script
	record
}

// seen returns the record so far.
func (s *scripted) seen() record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// change changes the script while the client runs.
func (s *scripted) change(f func(*script)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.script)
}

func (s *scripted) name() string { return s.is }

// answer returns the script to follow, unless the client does not wait for it.
func (s *scripted) answer(ctx context.Context, list *[]time.Duration) (script, error) {
	s.mu.Lock()
	*list = append(*list, time.Since(s.began))
	now := s.script
	s.mu.Unlock()
	if now.deaf {
		<-ctx.Done()
		time.Sleep(natpmpSlice)
		return now, errSilent
	}
	if !pause(ctx, now.delay) {
		return now, errSilent
	}
	return now, nil
}

func (s *scripted) probe(ctx context.Context) error {
	now, err := s.answer(ctx, &s.probes)
	return cmp.Or(err, now.probeErr)
}

func (s *scripted) request(ctx context.Context, wish netip.AddrPort) (grant, error) {
	s.mu.Lock()
	s.wishes = append(s.wishes, wish)
	s.mu.Unlock()
	now, err := s.answer(ctx, &s.requests)
	return now.grant, cmp.Or(err, now.requestErr)
}

func (s *scripted) lost(context.Context, grant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isLost
}

func (s *scripted) release(ctx context.Context, _ grant) error {
	_, err := s.answer(ctx, &s.releases)
	return err
}

func granting(name string, lease time.Duration) *scripted {
	return &scripted{is: name, script: script{delay: 5 * time.Millisecond, grant: grant{external: external, lease: lease}}}
}

func silent(name string) *scripted {
	return &scripted{is: name, script: script{delay: 5 * time.Millisecond, probeErr: errSilent}}
}

// start runs a client of scripted protocols, and closes it at the end.
func start(t *testing.T, list ...*scripted) *Client {
	t.Helper()
	c := Start(Config{
		Port:    4000,
		Gateway: func() (Gateway, error) { return home, nil },
		protocols: func(Gateway) (all []protocol) {
			for _, s := range list {
				s.began = time.Now()
				all = append(all, s)
			}
			return all
		},
	})
	t.Cleanup(func() { c.Close() })
	return c
}

func after(d time.Duration) { time.Sleep(d); synctest.Wait() }

// virtual runs a test in virtual time. All but the time of a test that sleeps
// passes at once.
func virtual(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func wantTimes(t *testing.T, what string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	near := func(a, b time.Duration) bool { return (a - b).Abs() < time.Second }
	if !slices.EqualFunc(got, want, near) {
		t.Errorf("%s at %v, want %v", what, got, want)
	}
}

func TestThePreferredProtocolIsAsked(t *testing.T) {
	virtual(t, "the best of those that answer", func(t *testing.T) {
		pcp, natpmp, upnp := granting(PCP, time.Hour), granting(NATPMP, time.Hour), granting(UPnP, time.Hour)
		pcp.delay = 100 * time.Millisecond // but within the grace
		c := start(t, pcp, natpmp, upnp)
		after(searchDecided)
		if s := c.Status(); s.Protocol != PCP || s.External != external || s.Lease != time.Hour || s.Error != "" ||
			!slices.Equal(s.Answered, []string{PCP, NATPMP, UPnP}) {
			t.Errorf("%+v", s)
		}
		if len(natpmp.seen().requests)+len(upnp.seen().requests) > 0 {
			t.Error("others were asked for a mapping too")
		}
	})
	virtual(t, "the next, if the best refuses", func(t *testing.T) {
		pcp, natpmp := granting(PCP, time.Hour), granting(NATPMP, time.Hour)
		pcp.requestErr = pcpResult(2)
		c := start(t, pcp, natpmp)
		after(searchDecided)
		if s := c.Status(); s.Protocol != NATPMP || !slices.Equal(s.Answered, []string{PCP, NATPMP}) {
			t.Errorf("%+v", s)
		}
	})
	virtual(t, "a worse one, if the best is slow", func(t *testing.T) {
		pcp, upnp := granting(PCP, time.Hour), granting(UPnP, time.Hour)
		pcp.delay = searchGrace + 50*time.Millisecond
		c := start(t, pcp, upnp)
		after(searchDecided)
		if s := c.Status(); s.Protocol != UPnP {
			t.Errorf("%+v", s)
		}
	})
}

func TestSearchIsDecidedInTimeAndLateAnswersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		upnp := granting(UPnP, time.Hour)
		upnp.delay = 400 * time.Millisecond
		c := start(t, silent(PCP), silent(NATPMP), upnp)
		after(searchDecided - time.Millisecond)
		if c.Status().Searched {
			t.Error("decided before its time")
		}
		after(2 * time.Millisecond)
		if s := c.Status(); !s.Searched || s.Protocol != "" || s.Error == "" {
			t.Errorf("after 250 ms: %+v", s)
		}
		after(600 * time.Millisecond)
		if s := c.Status(); s.Protocol != UPnP || s.Error != "" {
			t.Errorf("after the late answer: %+v", s)
		}
	})
}

func TestSearchInVainIsRepeatedEverMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pcp := silent(PCP)
		c := start(t, pcp, silent(NATPMP))
		after(70 * time.Minute)
		wantTimes(t, "probes", pcp.seen().probes, 0, time.Minute, 6*time.Minute, 36*time.Minute, 66*time.Minute)
		if s := c.Status(); !strings.Contains(s.Error, "192.168.1.1") || len(s.Answered) > 0 {
			t.Errorf("%+v", s)
		}
		seen := len(pcp.seen().probes)
		c.Moved()
		if c.Status().Searched {
			t.Error("a status from before the move")
		}
		after(2 * time.Minute)
		wantTimes(t, "probes after a move", pcp.seen().probes[seen:], 70*time.Minute, 71*time.Minute)
	})
}

func TestMappingIsRenewedAtHalfOfWhatWasGranted(t *testing.T) {
	for _, test := range []struct {
		lease, every time.Duration
	}{{2 * time.Hour, time.Hour}, {20 * time.Second, renewMin}, {1000 * time.Hour, renewMax}, {0, time.Hour}} {
		virtual(t, test.lease.String(), func(t *testing.T) {
			pcp := granting(PCP, test.lease)
			start(t, pcp)
			after(2*test.every + 10*time.Second)
			wantTimes(t, "requests", pcp.seen().requests, 0, test.every, 2*test.every)
			if pcp.seen().wishes[1] != external {
				t.Errorf("renewed with a wish for %v", pcp.seen().wishes[1])
			}
			if len(pcp.seen().probes) != 1 {
				t.Errorf("%d searches", len(pcp.seen().probes))
			}
		})
	}
}

func TestRenewalThatFails(t *testing.T) {
	virtual(t, "unanswered, it is tried again until the lease ends", func(t *testing.T) {
		pcp := granting(PCP, 2*time.Hour)
		c := start(t, pcp)
		after(time.Minute)
		pcp.change(func(s *script) { s.requestErr, s.probeErr = errSilent, errSilent })
		after(105 * time.Minute)
		wantTimes(t, "requests", pcp.seen().requests, 0, time.Hour, 90*time.Minute, 105*time.Minute)
		if c.Status().External != external {
			t.Error("given up while the lease lasts")
		}
		after(17 * time.Minute)
		if s := c.Status(); s.External.IsValid() || s.Error == "" {
			t.Errorf("after the lease: %+v", s)
		}
	})
	virtual(t, "refused, another protocol takes over", func(t *testing.T) {
		pcp, upnp := granting(PCP, 2*time.Hour), granting(UPnP, 2*time.Hour)
		c := start(t, pcp, upnp)
		after(time.Minute)
		pcp.change(func(s *script) { s.requestErr = pcpResult(8) })
		after(time.Hour)
		if s := c.Status(); s.Protocol != UPnP {
			t.Errorf("%+v", s)
		}
	})
}

func TestLossIsNoticedLongBeforeTheRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		natpmp := granting(NATPMP, 2*time.Hour)
		c := start(t, natpmp)
		after(time.Minute)
		moved := netip.MustParseAddrPort("203.0.113.77:40001")
		natpmp.change(func(s *script) { s.isLost, s.grant.external = true, moved })
		after(checkPeriod - time.Minute + time.Second)
		natpmp.change(func(s *script) { s.isLost = false })
		if s := c.Status(); s.External != moved {
			t.Errorf("%+v", s)
		}
		wantTimes(t, "requests", natpmp.seen().requests, 0, checkPeriod)
	})
}

func TestDoubleNATIsTold(t *testing.T) {
	for ip, want := range map[string]bool{"203.0.113.5": false, "10.1.2.3": true, "100.64.1.2": true, "192.168.7.7": true} {
		virtual(t, ip, func(t *testing.T) {
			pcp := granting(PCP, time.Hour)
			pcp.grant.external = netip.AddrPortFrom(netip.MustParseAddr(ip), 4000)
			c := start(t, pcp)
			after(searchDecided)
			if s := c.Status(); s.DoubleNAT != want || s.Protocol != PCP {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestCloseDeletesTheMappingAndNeverHangs(t *testing.T) {
	virtual(t, "held", func(t *testing.T) {
		pcp := granting(PCP, time.Hour)
		c := start(t, pcp)
		after(time.Minute)
		if err := c.Close(); err != nil || len(pcp.seen().releases) != 1 {
			t.Errorf("%v, %d releases", err, len(pcp.seen().releases))
		}
		if c.Status().External.IsValid() {
			t.Error("still told")
		}
		if err := c.Close(); err != nil || len(pcp.seen().releases) != 1 {
			t.Errorf("the second time: %v, %d releases", err, len(pcp.seen().releases))
		}
	})
	virtual(t, "asked for, and not yet answered", func(t *testing.T) {
		pcp := granting(PCP, time.Hour)
		c := start(t, pcp)
		after(7 * time.Millisecond)
		c.Close()
		if len(pcp.seen().requests) != 1 || len(pcp.seen().releases) != 1 {
			t.Errorf("%d requests, %d releases", len(pcp.seen().requests), len(pcp.seen().releases))
		}
	})
	virtual(t, "of a deaf gateway", func(t *testing.T) {
		pcp := granting(PCP, time.Hour)
		c := start(t, pcp)
		after(time.Minute)
		pcp.change(func(s *script) { s.deaf = true })
		began := time.Now()
		if err := c.Close(); !errors.Is(err, ErrNotReleased) {
			t.Error(err)
		}
		if d := time.Since(began); d > closeMax {
			t.Errorf("took %v", d)
		}
		time.Sleep(time.Second)
	})
	virtual(t, "while OnChange is stuck", func(t *testing.T) {
		release := make(chan struct{})
		c := Start(Config{
			OnChange:  func(Status) { <-release },
			Gateway:   func() (Gateway, error) { return Gateway{}, ErrNoGateway },
			protocols: func(Gateway) []protocol { return nil },
		})
		after(time.Second)
		began := time.Now()
		c.Close()
		if d := time.Since(began); d > closeMax {
			t.Errorf("took %v", d)
		}
		close(release)
	})
}

func TestWithoutGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Status
		c := Start(Config{
			OnChange: func(s Status) { told = append(told, s) },
			Gateway:  func() (Gateway, error) { return Gateway{}, ErrNoGateway },
		})
		after(time.Second)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if len(told) != 1 || !told[0].Searched || told[0].Error != ErrNoGateway.Error() {
			t.Errorf("told %+v", told)
		}
	})
}
