package reach

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

func TestClientRegistersWithEachServer(t *testing.T) {
	r := newRig(t, 2)
	for i := range 2 {
		if a := r.take(DialServer, "at once"); a.Server != i {
			t.Errorf("dialled server %d, want %d", a.Server, i)
		}
	}
	r.c.SetHosts(r.now, []Host{{Addr: addr("192.168.1.5:4000")}})
	r.c.ServerUp(r.now, 1, serverAddr, 20*time.Millisecond)
	r.drain()
	if _, i := r.takeControl(wire.RendezvousRegister, "once the session is up"); i != 1 {
		t.Errorf("registered with server %d, want 1", i)
	}
	r.wantNone(Registered, "the server has not answered")
	r.control(1, (&wire.Registered{Observed: publicSelf}).Append(nil))
	r.take(Registered, "the server has answered")
	if got := r.c.Server(1); got.State != Online || got.Observed != publicSelf {
		t.Errorf("status %+v, want online and observed at %v", got, publicSelf)
	}
	r.control(1, (&wire.Registered{Observed: publicSelf}).Append(nil))
	r.wantNone(Registered, "it is told once for each session")
}

func TestClientSpeaksOftenEnoughToNoticeARestartedServer(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.control(0, (&wire.Registered{Observed: publicSelf, KeepAlive: 3000}).Append(nil))
	for range 20 {
		r.advance(3600 * time.Millisecond)
		r.takeControl(wire.RendezvousRegister, "the server asked for one every 3 s")
	}
}

func TestServersWishForSilenceIsClamped(t *testing.T) {
	for _, ms := range []uint32{1, 1<<32 - 1} {
		r := newOnlineRig(t, 1)
		r.control(0, (&wire.Registered{Observed: publicSelf, KeepAlive: ms}).Append(nil))
		r.advance(time.Minute)
		if n := r.count(SendControl); n < 2 || n > 40 {
			t.Errorf("keepalive %d ms: %d messages in a minute, want 2 to 40", ms, n)
		}
	}
}

func TestClientIsRegisteredSoonAfterTheServerReturns(t *testing.T) {
	for _, outage := range []time.Duration{0, 300 * time.Millisecond, 7 * time.Second, 9 * time.Minute} {
		r := newOnlineRig(t, 1)
		r.c.ServerDown(r.now, 0, errors.New("gone"))
		end := r.now.Add(outage)
		for r.now < end || r.c.Server(0).State != Dialing {
			if r.c.Server(0).State == Dialing {
				r.advance(ServerDialTimeout)
				r.c.ServerDown(r.now, 0, errors.New("no answer"))
				continue
			}
			r.advance(10 * time.Millisecond)
		}
		if wait := r.now.Sub(end); wait > 5*time.Second {
			t.Errorf("server back after %v: dialled %v later, want at most 5 s", outage, wait)
		}
	}
}

func TestRedialsGetRareWhileAServerStaysAway(t *testing.T) {
	r := newRig(t, 1)
	for range 200 {
		r.c.ServerDown(r.now, 0, errors.New("no answer"))
		r.advance(redialMax)
	}
	if n := r.count(DialServer); n > 220 {
		t.Errorf("%d dials in 100 minutes", n)
	}
}

func TestReplacedClientLeavesTheServerToTheOther(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.c.ServerDown(r.now, 0, &session.CloseError{Code: CodeReplaced, Remote: true})
	r.advance(45 * time.Second)
	r.wantNone(DialServer, "another node has this key")
	r.advance(30 * time.Second)
	r.take(DialServer, "it may be gone by now")
}

func TestClientReturnsToADrainedServerWhenItSaid(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.control(0, (&wire.Drain{ReconnectIn: 8000}).Append(nil))
	r.advance(time.Second)
	r.c.ServerDown(r.now, 0, &session.CloseError{Remote: true})
	r.advance(6900 * time.Millisecond)
	r.wantNone(DialServer, "7 s of 8 have passed")
	r.advance(200 * time.Millisecond)
	r.take(DialServer, "8 s have passed")
}

func TestDrainCannotKeepAClientAwayForLong(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.control(0, (&wire.Drain{ReconnectIn: 1<<32 - 1}).Append(nil))
	r.c.ServerDown(r.now, 0, &session.CloseError{Remote: true})
	r.advance(drainMax)
	r.take(DialServer, "the longest drain is over")
}

func TestMovedClientTriesItsServersAtOnce(t *testing.T) {
	r := newOnlineRig(t, 2)
	for range 12 {
		r.c.ServerDown(r.now, 0, errors.New("network is unreachable"))
		r.advance(redialSoon)
		r.count(DialServer)
	}
	r.c.ServerDown(r.now, 0, errors.New("network is unreachable"))
	r.c.Moved(r.now)
	r.advance(0)
	r.take(DialServer, "the network may be back")
}

func TestQuietNodeLeavesItsServersInPeace(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.control(0, (&wire.Registered{Observed: publicSelf, STUNPort: 3478, KeepAlive: 3000}).Append(nil))
	r.stun(netip.AddrPortFrom(serverAddr.Addr(), 3478), answer(t, r.take(SendSTUN, "at once"), publicSelf))
	r.quiet = true
	r.advance(10 * time.Second)
	r.out = nil
	r.advance(10 * time.Minute)
	if len(r.out) > 0 {
		t.Errorf("a quiet node did %+v", r.out)
	}
	r.quiet = false
	r.advance(idleCheck + 2*time.Second)
	r.takeControl(wire.RendezvousRegister, "its sessions are in use again")
}

func TestRubbishFromAServerIsIgnored(t *testing.T) {
	r := newOnlineRig(t, 1)
	for _, msg := range [][]byte{nil, {0}, {0xff}, (&wire.Register{}).Append(nil), (&wire.Introduce{Peer: bob}).Append(nil), make([]byte, 70000)} {
		r.control(0, msg)
	}
	if len(r.out) != 0 {
		t.Errorf("rubbish led to %+v", r.out)
	}
}

func TestTicketServersAreUsedOnlyAsLongAsNeeded(t *testing.T) {
	r := newRig(t, 0)
	s := wire.Server{ID: peer(200), Addr: "192.0.2.1:3478"}
	i, err := r.c.AddServer(r.now, s)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.c.AddServer(r.now, s); err != nil || again != i {
		t.Errorf("adding it twice: %d, %v; want %d", again, err, i)
	}
	r.drain()
	r.take(DialServer, "it was added")
	r.introduce(bob, true)
	r.c.ServerDown(r.now, i, errors.New("no answer"))
	r.advance(time.Second)
	r.take(DialServer, "an introduction waits for it")
	r.advance(freshLifetime)
	r.take(Failed, "it never came")
	r.c.ServerDown(r.now, i, errors.New("no answer"))
	r.advance(time.Hour)
	r.wantNone(DialServer, "nobody needs it any more")
	if r.c.Deadline() != clock.Never {
		t.Errorf("a timer runs for it: %v", r.c.Deadline())
	}
	for n := range 3 * MaxServers {
		k, err := r.c.AddServer(r.now, wire.Server{ID: peer(byte(n)), Addr: "192.0.2.2:3478"})
		if err != nil {
			t.Fatalf("server %d: %v", n, err)
		}
		r.c.ServerDown(r.now, k, errors.New("no answer"))
	}
}

func TestServerReachedByTCPSeesNoAddress(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.c.ServerAt(r.now, 0, netip.AddrPort{})
	r.control(0, (&wire.Registered{Observed: addr("198.51.99.1:50000"), STUNPort: stunPort, Probes: probePorts}).Append(nil))
	if at := r.c.Server(0).Observed; at.IsValid() || slices.Contains(r.c.Reflexive(), addr("198.51.99.1:50000")) {
		t.Errorf("observed %v, reflexive %v", at, r.c.Reflexive())
	}
	r.wantNone(SendSTUN, "there is no UDP to ask by")
}
