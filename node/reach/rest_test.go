package reach

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// newRelayedRig returns a rig with a session to bob that an introduction has
// just left on its relay.
func newRelayedRig(t *testing.T) *rig {
	r := newOnlineRig(t, 1)
	r.relay = true
	id := r.introduce(bob, true)
	r.punch(0, id, bob, 0, true, publicBob)
	r.peerUp(bob)
	r.take(Probe, "the session is established")
	r.advance(probeTime)
	r.out = nil
	return r
}

// attempts lets time pass and returns when introductions to bob were asked for,
// the first of some that follow each other. The server answers each.
func (r *rig) attempts(d time.Duration) (after []time.Duration) {
	begun := r.now
	for end := r.now.Add(d); r.now < end; r.advance(time.Second) {
		if r.count(OpenRelay) > 0 {
			m, _ := r.takeControl(wire.RendezvousIntroduce, "it comes with OpenRelay")
			if m.Introduce.Round == 0 {
				after = append(after, r.now.Sub(begun))
			}
			r.punch(0, m.Introduce.ID, bob, 0, true, publicBob)
		}
		r.out = nil
	}
	return after
}

func TestRelayedSessionIsTriedAgainRarely(t *testing.T) {
	r := newRelayedRig(t)
	after := r.attempts(3 * time.Hour)
	if len(after) < 8 || len(after) > 14 {
		t.Fatalf("tried after %v, want 8 to 14 times in 3 hours", after)
	}
	if after[0] < 28*time.Second || after[0] > 45*time.Second {
		t.Errorf("first tried after %v, want about 35 s", after[0])
	}
	r.relay = false
	if after := r.attempts(3 * time.Hour); after != nil {
		t.Errorf("the session is direct but was introduced again after %v", after)
	}
	r.wantNoIntroductions()
}

func TestRelayedSessionIsTriedAgainAfterAMove(t *testing.T) {
	r := newRelayedRig(t)
	r.advance(10 * time.Second)
	r.c.Moved(r.now)
	if after := r.attempts(10 * time.Second); len(after) != 1 || after[0] > 3*time.Second {
		t.Errorf("tried after %v, want once and soon", after)
	}
}

func TestRetryThatFailsIsSilent(t *testing.T) {
	r := newRelayedRig(t)
	for range 60 {
		r.advance(10 * time.Second)
		if r.count(OpenRelay) > 0 {
			m, _ := r.takeControl(wire.RendezvousIntroduce, "it comes with OpenRelay")
			r.refuse(0, m.Introduce.ID, wire.RefusedAbsent, 0)
		}
	}
	r.wantNone(Failed, "nobody waits for it")
	r.known[bob] = false
	r.advance(time.Hour)
	r.wantNoIntroductions() // the session has ended
}

func TestRetriesAreBounded(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.relay = true
	for n := range 3 * maxRetries {
		p := numberedPeer(n)
		r.known[p] = true
		id := r.introduce(p, false)
		r.punch(0, id, p, 0, true, publicBob)
		r.advance(probeTime)
	}
	if n := len(r.c.introductions); n > maxRetries+maxOwn {
		t.Errorf("%d introductions", n)
	}
	if _, err := r.c.Introduce(r.now, bob, true); err != nil {
		t.Errorf("retries keep a new one out: %v", err)
	}
}
