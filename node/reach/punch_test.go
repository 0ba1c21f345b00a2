package reach

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/wire"
)

type addrPort = netip.AddrPort

func addrOf(a, b int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, byte(a), byte(b), 1}), 4000)
}

func uuidOf(n int) uuid.UUID { return uuid.UUID{byte(n), byte(n >> 8), byte(n >> 16)} }

func TestInvitedPeerIsProbed(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	r.punch(0, uuidOf(1), bob, 20*time.Millisecond, false, publicBob)
	r.advance(19 * time.Millisecond)
	r.wantNone(Probe, "the start is 1 ms away")
	r.advance(time.Millisecond)
	r.take(Probe, "the start has come")
}

func TestPunchForAStrangerLeadsToNothing(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.punch(0, uuidOf(1), bob, 0, false, publicBob)
	r.advance(startMax + invitedLifetime)
	r.peerUp(bob)
	r.wantNone(Probe, "its session came too late")
	r.wantNoIntroductions()
}

func TestServerCannotMakeTheNodeAFlooder(t *testing.T) {
	r := newOnlineRig(t, 1)
	var all []addrPort
	for n := range wire.MaxCandidates {
		all = append(all, addrOf(1, n))
	}
	begun := r.now
	for n := range 10000 {
		p := peer(byte(n))
		r.known[p] = true
		r.punch(0, uuidOf(n), p, 0, false, all...)
		r.advance(time.Millisecond)
		if held := len(r.c.introductions); held > maxInvited {
			t.Fatalf("%d introductions held, want at most %d", held, maxInvited)
		}
	}
	seconds := r.now.Sub(begun).Seconds()
	most := int(probeRate.Burst+probeRate.PerSecond*seconds) * wire.MaxCandidates
	if n := r.count(Probe); n > most || n == 0 {
		t.Errorf("%d probes in %.0f s, want 1 to %d", n, seconds, most)
	}
}

func TestStrangersDoNotCrowdOutAPeer(t *testing.T) {
	r := newOnlineRig(t, 1)
	for n := range 10 * maxInvited {
		r.punch(0, uuidOf(n), peer(byte(50+n)), 0, false, addrOf(2, n))
	}
	r.known[bob] = true
	r.punch(0, uuidOf(1000), bob, time.Millisecond, false, publicBob)
	for n := range 10 * maxInvited {
		r.punch(0, uuidOf(2000+n), peer(byte(50+n)), 0, false, addrOf(2, n))
	}
	r.advance(time.Millisecond)
	r.take(Probe, "bob has a session")
}

// Strangers are not charged until their sessions are there. Then they are.
func TestStrangersWhoseSessionsComeAreProbedWithinTheBudget(t *testing.T) {
	r := newOnlineRig(t, 1)
	for wave, want := range []int{maxInvited, 3} { // of the second, as many as probeRate allows meanwhile
		for n := range maxInvited {
			r.punch(0, uuidOf(100*wave+n), peer(byte(50+10*wave+n)), 0, false, addrOf(wave, n))
		}
		r.wantNone(Probe, "there is no session yet")
		for n := range maxInvited {
			r.peerUp(peer(byte(50 + 10*wave + n)))
		}
		if got := r.count(Probe); got != want || len(r.c.introductions) != want {
			t.Errorf("wave %d: %d of %d are probed, want %d; %d introductions are left", wave, got, maxInvited, want, len(r.c.introductions))
		}
		r.advance(probeTime)
	}
}

func TestStartIsNeverFarAway(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	r.punch(0, uuidOf(1), bob, time.Hour, false, publicBob)
	r.advance(startMax)
	r.take(Probe, "startMax has passed")
}

func TestNewerInvitationReplacesTheOlder(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	r.punch(0, uuidOf(1), bob, time.Second, false, addrOf(1, 1))
	r.punch(0, uuidOf(2), bob, time.Second, false, publicBob)
	r.advance(2 * time.Second)
	if a := r.take(Probe, "the newer one"); a.Addr != publicBob {
		t.Errorf("probed %v, want %v", a.Addr, publicBob)
	}
	r.wantNone(Probe, "the older one is void")
}

func TestPunchWithOneselfIsIgnored(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[self] = true
	r.punch(0, uuidOf(1), self, 0, false, publicBob)
	r.advance(time.Second)
	r.wantNone(Probe, "there is no session with oneself")
}
