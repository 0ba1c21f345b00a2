package reach

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

func TestDialGoesOverTheRelayWhileTheServerIntroduces(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.c.SetHosts(r.now, []Host{{Addr: addr("192.168.1.5:4000")}})
	id := r.introduce(bob, true)
	if len(r.out) != 2 || r.out[0].Kind != SendControl || r.out[1].Kind != OpenRelay {
		t.Fatalf("actions %+v, want INTRODUCE and then OpenRelay", r.out)
	}
	m, _ := r.takeControl(wire.RendezvousIntroduce, "first")
	if in := m.Introduce; in.ID != id || in.Peer != bob || !in.Fresh {
		t.Errorf("INTRODUCE %+v", in)
	}
	want := []wire.Candidate{
		{Kind: wire.CandidateReflexive, Addr: publicSelf},
		{Kind: wire.CandidateHost, Addr: addr("192.168.1.5:4000")},
	}
	if got := slices.Collect(m.Introduce.Candidates.All()); !slices.Equal(got, want) {
		t.Errorf("candidates %v, want %v", got, want)
	}
	a := r.take(OpenRelay, "the handshake goes there")
	if server, p, ok := r.c.Target(a.Link); !ok || server != 0 || p != bob {
		t.Errorf("link %d leads to %v through %d, %v", a.Link, p, server, ok)
	}
}

func TestProbingStartsWhenTheServerSaid(t *testing.T) {
	r := newOnlineRig(t, 1)
	id := r.introduce(bob, true)
	r.punch(0, id, bob, 40*time.Millisecond, true, publicBob, addr("203.0.112.7:1"))
	if a := r.take(Introduced, "a PUNCH has come"); a.ID != id || a.Peer != bob {
		t.Errorf("introduced %+v", a)
	}
	r.peerUp(bob)
	r.advance(39 * time.Millisecond)
	r.wantNone(Probe, "the start is 1 ms away")
	r.advance(time.Millisecond)
	if a := r.take(Probe, "the start has come"); a.Peer != bob || a.Addr != publicBob {
		t.Errorf("probe %+v, want %v", a, publicBob)
	}
	r.wantNone(Probe, "candidates go out one after the other")
	r.advance(probeGap)
	r.take(Probe, "the second candidate")
	r.advance(time.Minute)
	r.wantNone(Probe, "each candidate is handed out once")
	r.wantNone(Failed, "the introduction worked")
	r.wantNoIntroductions()
}

func TestProbingWaitsForTheSession(t *testing.T) {
	r := newOnlineRig(t, 1)
	id := r.introduce(bob, true)
	r.punch(0, id, bob, 0, true, publicBob)
	r.advance(3 * time.Second)
	r.wantNone(Probe, "there are no keys to seal a probe with")
	r.peerUp(bob)
	r.take(Probe, "the session is established")
}

func TestSecondServerIsAskedWhenTheNearestRefuses(t *testing.T) {
	r := newOnlineRig(t, 3)
	id := r.introduce(bob, true)
	for i := range 3 {
		if _, server := r.takeControl(wire.RendezvousIntroduce, "in order of distance"); server != i {
			t.Errorf("asked server %d, want %d", server, i)
		}
		r.wantNone(Failed, "not all have refused")
		r.refuse(i, id, wire.RefusedAbsent, 0)
	}
	a := r.take(Failed, "all have refused")
	var refused *RefusedError
	if a.ID != id || a.Peer != bob || !errors.Is(a.Err, ErrPeerAbsent) || !errors.As(a.Err, &refused) {
		t.Errorf("failed %+v", a)
	}
}

func TestSecondServerIsAskedWhenTheNearestIsSilent(t *testing.T) {
	r := newOnlineRig(t, 2)
	id := r.introduce(bob, true)
	r.takeControl(wire.RendezvousIntroduce, "at once")
	r.advance(serverPatience)
	if _, server := r.takeControl(wire.RendezvousIntroduce, "the first is silent"); server != 1 {
		t.Errorf("asked server %d, want 1", server)
	}
	r.punch(1, id, bob, 0, true, publicBob)
	r.peerUp(bob)
	r.take(Probe, "the second has introduced us")
}

func TestTwoServersShareOneBudgetOfCandidates(t *testing.T) {
	r := newOnlineRig(t, 2)
	id := r.introduce(bob, true)
	r.advance(serverPatience)
	r.peerUp(bob)
	for server := range 2 {
		var list []addrPort
		for n := range wire.MaxCandidates - 2 {
			list = append(list, addrOf(server, n))
		}
		r.punch(server, id, bob, 0, true, list...)
		r.advance(100 * time.Millisecond)
	}
	if n := r.count(Probe); n != wire.MaxCandidates {
		t.Errorf("%d probes, want %d", n, wire.MaxCandidates)
	}
}

func TestDialEndsWhenNoServerAnswers(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.introduce(bob, true)
	r.advance(freshLifetime)
	if a := r.take(Failed, "its time is up"); !errors.Is(a.Err, ErrNoRendezvous) {
		t.Errorf("failed with %v, want %v", a.Err, ErrNoRendezvous)
	}
	if n := r.count(OpenRelay); n > 5 {
		t.Errorf("asked %d times in %v", n, freshLifetime)
	}
}

func TestDialWaitsForAServerToComeOnline(t *testing.T) {
	r := newRig(t, 1)
	r.introduce(bob, true)
	r.advance(5 * time.Second)
	r.wantNone(OpenRelay, "no server is online")
	r.online(0)
	r.take(OpenRelay, "one is online now")
}

func TestIntroductionIsAskedAgainAfterTheServerReturns(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	r.introduce(bob, false)
	r.takeControl(wire.RendezvousIntroduce, "at once")
	r.c.ServerDown(r.now, 0, errors.New("gone"))
	r.advance(time.Second)
	r.wantNone(Failed, "the session lives on and can wait")
	r.count(OpenRelay)
	r.online(0)
	r.takeControl(wire.RendezvousIntroduce, "the server is back")
}

func TestRefusalThatNamesATimeIsFollowedUp(t *testing.T) {
	r := newOnlineRig(t, 1)
	id := r.introduce(bob, true)
	r.count(OpenRelay)
	r.refuse(0, id, wire.RefusedRateLimited, time.Second)
	r.advance(700 * time.Millisecond)
	r.wantNone(OpenRelay, "the server asked for a second")
	r.advance(600 * time.Millisecond)
	r.take(OpenRelay, "the second is over")
	r.refuse(0, id, wire.RefusedRateLimited, 1<<31*time.Millisecond)
	r.advance(retryMax * 6 / 5)
	r.take(OpenRelay, "no server can make it wait longer than retryMax")
}

func TestLiveSessionKeepsAskingForItsPeer(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	id := r.introduce(bob, false)
	asked := 0
	for end := r.now.Add(liveLifetime); r.now < end; r.advance(100 * time.Millisecond) {
		if r.count(OpenRelay) > 0 {
			asked++
			r.refuse(0, id, wire.RefusedAbsent, 0)
		}
	}
	r.advance(time.Second)
	r.take(Failed, "its time is up")
	if asked < 10 || asked > 30 {
		t.Errorf("asked %d times in %v, want 10 to 30", asked, liveLifetime)
	}
}

func TestEndOfTheSessionEndsItsIntroduction(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	r.introduce(bob, false)
	r.out = nil
	r.known[bob] = false
	r.advance(10 * time.Second)
	r.wantNone(OpenRelay, "there is no session to introduce")
	r.wantNone(Failed, "nobody waits for it")
	r.wantNoIntroductions()
}

func TestOneIntroductionPerPeerIsUnderWay(t *testing.T) {
	r := newOnlineRig(t, 1)
	first := r.introduce(bob, true)
	if second := r.introduce(bob, false); second != first {
		t.Errorf("a second introduction %v beside %v", second, first)
	}
	if n := r.count(OpenRelay); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestMovedAgainDuringProbingAsksAgain(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	first := r.introduce(bob, false)
	r.punch(0, first, bob, 0, true, publicBob)
	r.take(Probe, "it starts at once")
	r.count(OpenRelay)
	if second := r.introduce(bob, false); second == first {
		t.Error("the introduction that is over was returned")
	}
	r.take(OpenRelay, "a new introduction begins")
}

func TestAbandonedIntroductionIsSilent(t *testing.T) {
	r := newOnlineRig(t, 1)
	id := r.introduce(bob, true)
	r.c.Abandon(bob)
	r.out = nil
	r.refuse(0, id, wire.RefusedAbsent, 0)
	r.advance(freshLifetime * 2)
	r.wantNone(Failed, "nobody waits for it")
	r.wantNone(OpenRelay, "nobody waits for it")
}

func TestImpossibleIntroductionsAreRefused(t *testing.T) {
	r := newOnlineRig(t, 1)
	if _, err := r.c.Introduce(r.now, self, true); !errors.Is(err, ErrSelf) {
		t.Errorf("to oneself: %v", err)
	}
	if _, err := newRig(t, 0).c.Introduce(0, bob, true); !errors.Is(err, ErrNoRendezvous) {
		t.Errorf("without servers: %v", err)
	}
	for n := range maxOwn {
		r.introduce(peer(byte(10+n)), true)
	}
	if _, err := r.c.Introduce(r.now, bob, true); !errors.Is(err, ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
}

func TestAnswersToOtherIntroductionsAreIgnored(t *testing.T) {
	r := newOnlineRig(t, 2)
	r.known[bob], r.known[carol] = true, true
	id := r.introduce(bob, false)
	r.out = nil
	r.punch(1, id, bob, 0, true, publicBob)
	r.wantNone(Probe, "server 1 was not asked")
	r.punch(0, id, carol, 0, true, publicBob)
	r.wantNone(Probe, "the introduction is to bob")
	other := id
	other[0]++
	r.refuse(0, other, wire.RefusedAbsent, 0)
	r.wantNone(Failed, "another introduction was refused")
}
