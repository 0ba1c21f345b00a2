package rendezvous

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/wire"
)

func TestSessionThatDoesNotRegisterIsClosed(t *testing.T) {
	r := newRig(t, nil)
	idle := r.h.connected(r.now, peer(1), netip.MustParseAddrPort("20.0.0.1:4000"))
	r.introduce(idle, 2, true)
	r.wantSilence("it has not registered")
	r.now = r.now.Add(registerTimeout)
	r.join(2, "20.0.0.2:4000")
	r.wantClosed(idle, reach.CodeUnregistered, "its time is up")
	r.wantSilence("it is closed once")
}

func TestIntroductionsAreLimited(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	count := func(seconds int, ask func(n int)) (punches int) {
		for n := range seconds * 100 {
			ask(n)
			r.now = r.now.Add(10 * time.Millisecond)
		}
		for _, s := range r.sent {
			if s.to == b && s.m.Type == wire.RendezvousPunch {
				punches++
			}
		}
		r.sent = nil
		return punches
	}
	if n := count(20, func(int) { r.introduce(a, 2, false) }); n > 16 {
		t.Errorf("one pair was introduced %d times in 20 s", n)
	}
	var crowd []*client
	for n := range 100 {
		crowd = append(crowd, r.join(100+n, fmt.Sprintf("20.1.%d.1:4000", n)))
	}
	if n := count(20, func(n int) { r.introduce(crowd[n%100], 2, false) }); n > 64+20*8+8 {
		t.Errorf("one target was introduced %d times in 20 s", n)
	}
	answered := r.h.stats.Introductions + r.h.stats.Refused
	count(20, func(n int) { r.introduce(crowd[0], 1000+n, false) })
	if n := r.h.stats.Introductions + r.h.stats.Refused - answered; n > 64+20*4 {
		t.Errorf("one client had %d look-ups in 20 s", n)
	}
}

func TestRateLimitSaysHowLongToWait(t *testing.T) {
	r := newRig(t, nil)
	a := r.join(1, "20.0.0.1:4000")
	r.join(2, "20.0.0.2:4000")
	for range int(pairRate.Burst) {
		r.introduce(a, 2, false)
	}
	r.sent = nil
	r.introduce(a, 2, false)
	m := r.take(a, wire.RendezvousRefused).Refused
	if m.Code != wire.RefusedRateLimited || m.RetryAfter == 0 {
		t.Fatalf("REFUSED %+v", m)
	}
	r.now = r.now.Add(time.Duration(m.RetryAfter) * time.Millisecond)
	r.introduce(a, 2, false)
	r.take(a, wire.RendezvousPunch)
}

func TestOneNetworkCannotTakeAllPlaces(t *testing.T) {
	for _, test := range []struct {
		name    string
		addr    func(n int) string
		roomy   int
		crowded int
	}{
		{"IPv4 address", func(n int) string { return fmt.Sprintf("20.0.0.1:%d", 1000+n) }, 64, 8},
		{"IPv6 /64", func(n int) string { return fmt.Sprintf("[2a00::%x]:4000", n) }, 16, 8},
		{"IPv6 /56", func(n int) string { return fmt.Sprintf("[2a00:0:0:%x::1]:4000", n%256) }, 64, 8},
		{"IPv6 /48", func(n int) string { return fmt.Sprintf("[2a00:0:0:%x::1]:4000", n*16%65536) }, 256, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, &Config{MaxClients: 600})
			admitted := func() (n int) {
				var all []*client
				for k := range 500 {
					if c := r.h.connected(r.now, peer(k), netip.MustParseAddrPort(test.addr(k))); c != nil {
						all = append(all, c)
					}
				}
				for _, c := range all {
					r.h.closed(r.now, c)
				}
				r.now = r.now.Add(10 * time.Minute)
				return len(all)
			}
			if n := admitted(); n != test.roomy {
				t.Errorf("%d sessions, want %d", n, test.roomy)
			}
			for k := range 301 {
				r.join(1000+k, fmt.Sprintf("21.%d.%d.1:4000", k/256, k%256))
			}
			if n := admitted(); n != test.crowded {
				t.Errorf("%d sessions when places are short, want %d", n, test.crowded)
			}
		})
	}
}

func TestFullServerKeepsWhomItHas(t *testing.T) {
	r := newRig(t, &Config{MaxClients: 4})
	var all []*client
	for n := range 4 {
		all = append(all, r.join(n, fmt.Sprintf("20.0.%d.1:4000", n)))
	}
	if r.h.connected(r.now, peer(9), netip.MustParseAddrPort("20.9.0.1:4000")) != nil {
		t.Error("a fifth session was let in")
	}
	for _, c := range all {
		r.tell(c, (&wire.Register{}).Append(nil))
		r.take(c, wire.RendezvousRegistered)
	}
	r.h.closed(r.now, all[0])
	r.join(9, "20.9.0.1:4000")
}

func TestRelayIsLimitedAtBothEnds(t *testing.T) {
	r := newRig(t, &Config{RelayRate: 10_000, RelayBurst: 20_000})
	var senders []*client
	for n := range 5 {
		senders = append(senders, r.join(10+n, fmt.Sprintf("20.0.%d.1:4000", n)))
	}
	r.join(2, "21.0.0.2:4000")
	r.join(3, "21.0.0.3:4000")
	for _, s := range senders { // they talk with each other
		for _, to := range []int{2, 3} {
			s.calls(peer(to))
			r.h.registry.byPeer[peer(to)].calls(s.peer)
		}
	}
	flood := func(from []*client, to ...int) (bytes int) {
		for n := range 10_000 { // 10 s
			msg := append(wire.AppendRelay(nil, peer(to[n%len(to)])), make([]byte, 1000)...)
			if c, _ := r.h.relay(r.now, from[n%len(from)], msg, nil); c != nil {
				bytes += 1000
			}
			r.now = r.now.Add(time.Millisecond)
		}
		r.now = r.now.Add(time.Minute)
		return bytes
	}
	if n := flood(senders[:1], 2, 3); n < 100_000 || n > 120_000 {
		t.Errorf("one sender passed %d bytes, want about 120000", n)
	}
	if n := flood(senders, 2); n < 100_000 || n > 120_000 {
		t.Errorf("one receiver got %d bytes, want about 120000", n)
	}
}

// Anyone registered may relay to anyone: that must not stop a peer's sessions.
func TestStrangersCannotUseUpTheRelayOfAPeer(t *testing.T) {
	r := newRig(t, &Config{RelayRate: 100_000, RelayBurst: 100_000})
	a, friend := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	var strangers []*client
	for n := range 5 {
		strangers = append(strangers, r.join(10+n, fmt.Sprintf("20.1.%d.1:4000", n)))
	}
	send := func(from, to *client, size int) bool {
		c, _ := r.h.relay(r.now, from, append(wire.AppendRelay(nil, to.peer), make([]byte, size)...), nil)
		return c != nil
	}
	send(a, friend, 100)
	got, unwanted := 0, 0
	for range 10_000 { // 10 s
		for _, s := range strangers {
			if send(s, a, 1000) {
				unwanted += 1000
			}
		}
		if send(friend, a, 50) {
			got++
		}
		r.now = r.now.Add(time.Millisecond)
	}
	if got != 10_000 {
		t.Errorf("%d of 10000 datagrams of a friend came through", got)
	}
	if unwanted > 1_100_000/strangersPart {
		t.Errorf("%d bytes of strangers came through", unwanted)
	}
	for n := range 1000 { // what is remembered is bounded
		a.calls(peer(n))
	}
	if len(a.called) > calledMax {
		t.Errorf("%d peers are remembered", len(a.called))
	}
}

func TestNoticesOfAbsenceAreFew(t *testing.T) {
	r := newRig(t, nil)
	a := r.join(1, "20.0.0.1:4000")
	for range 1000 { // 10 s
		r.h.relay(r.now, a, append(wire.AppendRelay(nil, peer(9)), 1), nil)
		r.now = r.now.Add(10 * time.Millisecond)
	}
	r.drain()
	if n := len(r.sent); n < 10 || n > 13 {
		t.Errorf("%d GONE in 10 s, want 3 and 1 a second", n)
	}
}

func TestOverlongTalkIsDropped(t *testing.T) {
	r := newRig(t, nil)
	a := r.join(1, "20.0.0.1:4000")
	for range 10_000 {
		r.tell(a, (&wire.Register{}).Append(nil))
	}
	if n := len(r.sent); n > int(controlRate.Burst) {
		t.Errorf("%d answers to one client at once", n)
	}
}
