package seal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

const ms = clock.Time(time.Millisecond)

func wantPhase(t *testing.T, what string, e *end, want bool) {
	t.Helper()
	if e.keys.Phase() != want {
		t.Fatalf("%s: phase is %v", what, !want)
	}
}

func TestKeyUpdateIsFollowedByThePeer(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		a.pass(0, b)
		for i := range 10 {
			now := clock.Time(i) * 1000 * ms
			a.keys.DropOld(now)
			b.keys.DropOld(now)
			from, to := a, b
			if i%3 == 0 {
				from, to = b, a
			}
			from.keys.Update()
			if from.keys.Sealed() != 0 {
				t.Fatal("the new key has sealed something already")
			}
			wantPhase(t, "before the first frame", to, i%2 == 1)
			from.pass(now, to)
			wantPhase(t, "initiator", from, i%2 == 0)
			wantPhase(t, "follower", to, i%2 == 0)
		}
		if n := a.keys.Forgeries() + b.keys.Forgeries(); n != 0 {
			t.Errorf("%d forgeries", n)
		}
	})
}

// RFC 9001 §6.1: an endpoint MUST NOT initiate a key update before it has an
// acknowledgement for a frame of the current phase.
func TestKeyUpdateWaitsForAcknowledgement(t *testing.T) {
	a, b := newPair(t, false)
	if a.keys.CanUpdate() {
		t.Fatal("may update before anything was acknowledged")
	}
	mustPanic(t, a.keys.Update)
	a.pass(0, b)
	a.keys.Update()
	a.pass(0, b)
	if a.keys.CanUpdate() {
		t.Fatal("may update while old keys are alive")
	}
	a.keys.DropOld(clock.Time(oldKeysKept))
	if !a.keys.CanUpdate() {
		t.Fatal("a confirmed update with the old keys gone still blocks")
	}
}

// A peer that updated at the same time seals in the new phase without having
// seen that we did.
func TestOnlyAFrameOfTheNewPhaseConfirmsIt(t *testing.T) {
	a, b := newPair(t, false)
	a.pass(0, b)
	a.keys.Update()
	b.keys.Update()
	first := a.next
	a.open(0, b.seal(), nil)
	a.keys.DropOld(clock.Time(oldKeysKept))
	a.keys.OnAck(first - 1) // sealed in the phase before
	a.keys.OnAck(first)     // not sealed at all yet
	if a.keys.CanUpdate() {
		t.Fatal("an acknowledgement from before the update confirmed it")
	}
	a.seal()
	a.keys.OnAck(first)
	if !a.keys.CanUpdate() {
		t.Fatal("an acknowledgement of the first frame did not confirm the update")
	}
}

// RFC 9001 §6.5: what was overtaken by the first frame of the new phase opens
// with the old keys.
func TestFramesOvertakenByKeyUpdateStillOpen(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		a.pass(0, b)
		before := [][]byte{a.seal(), a.seal()}
		a.keys.Update()
		after := [][]byte{a.seal(), a.seal(), a.seal()}
		b.open(1*ms, after[2], nil)
		b.open(2*ms, before[1], nil)
		b.open(3*ms, after[0], nil)
		b.open(4*ms, before[0], nil)
		b.open(5*ms, after[1], nil)
		wantPhase(t, "after reordering", b, true)
	})
}

func TestOldKeysAreErasedAtTheirTime(t *testing.T) {
	a, b := newPair(t, false)
	a.pass(0, b)
	late := [][]byte{a.seal(), a.seal()}
	a.keys.Update()
	b.open(10*ms, a.seal(), nil)
	end := 10*ms + clock.Time(oldKeysKept)
	if got := b.keys.OldKeysExpiry(); got != end {
		t.Fatalf("expiry at %d, want %d", got, end)
	}
	b.open(end-1, late[0], nil)
	b.open(end, late[1], ErrAuth)
	if b.keys.OldKeysExpiry() != clock.Never || b.keys.old.present() {
		t.Error("old keys are still there")
	}
}

// The peer may be silent, or its frames lost, for long after our update; it then
// still seals with the keys of before.
func TestOldKeysStayUntilThePeerFollows(t *testing.T) {
	a, b := newPair(t, false)
	a.pass(0, b)
	a.keys.Update()
	a.seal() // lost
	b.open(1*ms, a.seal(), nil)
	wantPhase(t, "follower", b, true)

	a, b = newPair(t, false)
	a.pass(0, b)
	a.keys.Update()
	a.seal() // lost: b knows nothing of the update
	for i := range 5 {
		a.open(clock.Time(i)*10_000*ms, b.seal(), nil)
	}
	if a.keys.OldKeysExpiry() != clock.Never {
		t.Error("old keys expire although the peer still needs them")
	}
	b.open(60_000*ms, a.seal(), nil)
	a.open(60_001*ms, b.seal(), nil)
}

func TestBothSidesUpdateAtOnce(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		a.pass(0, b)
		overtaken := [][]byte{a.seal(), b.seal()}
		a.keys.Update()
		b.keys.Update()
		x, y := a.seal(), b.seal()
		b.open(1*ms, x, nil)
		a.open(1*ms, y, nil)
		b.open(2*ms, overtaken[0], nil)
		a.open(2*ms, overtaken[1], nil)
		wantPhase(t, "a", a, true)
		wantPhase(t, "b", b, true)
		a.pass(3*ms, b)
	})
}

// RFC 9001 §6.4: a frame that follows frames of newer keys is not opened with
// older ones, and an attacker who flips the phase bit moves nothing.
func TestFlippedPhaseBitNeverMovesThePhase(t *testing.T) {
	eachCipher(t, func(t *testing.T, useAES bool) {
		a, b := newPair(t, useAES)
		a.pass(0, b)
		old := a.seal()
		a.keys.Update()
		b.open(0, a.seal(), nil)
		recent := a.seal()
		for _, frame := range [][]byte{old, recent} {
			bad := bytes.Clone(frame)
			bad[0] ^= 0x04
			b.open(0, bad, ErrAuth)
			wantPhase(t, "after a flipped bit", b, true)
		}
		b.open(0, old, nil)
		b.open(0, recent, nil)
	})
}

// flip moves an end to its next phase without asking whether it may, as a
// dishonest peer would.
func (e *end) flip() { e.keys.advance() }

func TestPeerThatBreaksTheRulesOfKeyUpdatesIsCaught(t *testing.T) {
	t.Run("second update before an answer to the first", func(t *testing.T) {
		a, b := newPair(t, false)
		a.pass(0, b)
		a.flip()
		b.open(0, a.seal(), nil)
		a.flip()
		b.open(0, a.seal(), ErrKeyUpdate)
	})
	t.Run("newer keys for a lower packet number", func(t *testing.T) {
		a, b := newPair(t, false)
		a.pass(0, b)
		a.next += 10
		b.open(0, a.seal(), nil)
		a.keys.sealFrom = 0
		a.flip()
		a.next -= 5
		b.open(0, a.seal(), ErrKeyUpdate)
		wantPhase(t, "after the violation", b, false)
	})
	t.Run("answer to our update below what it sealed before", func(t *testing.T) {
		a, b := newPair(t, false)
		a.pass(0, b)
		b.pass(0, a)
		b.open(0, a.sealAs(20, 4, payloadOf(20)), nil)
		b.keys.Update()
		a.keys.sealFrom = 0
		a.flip()
		b.open(0, a.sealAs(15, 4, payloadOf(15)), ErrKeyUpdate)
	})
	t.Run("newer keys below a frame of the old phase", func(t *testing.T) {
		a, b := newPair(t, false)
		a.pass(0, b)
		overtaken := a.sealAs(20, 4, payloadOf(20))
		a.flip()
		b.open(0, a.sealAs(30, 4, payloadOf(30)), nil)
		b.open(0, overtaken, nil)
		a.keys.sealFrom = 0
		b.open(0, a.sealAs(15, 4, payloadOf(15)), ErrKeyUpdate)
	})
}

// Noise makes the next keys at most once; from then on it costs no more.
func TestNoiseCannotForceKeyDerivations(t *testing.T) {
	a, b := newPair(t, true)
	a.pass(0, b)
	bad := a.seal()
	bad[0] ^= 0x04
	b.open(0, bad, ErrAuth)
	made := b.keys.next
	if !made.present() {
		t.Fatal("a frame with the other phase bit was not tried with the next keys")
	}
	b.open(0, bad, ErrAuth)
	if b.keys.next != made {
		t.Error("next keys were made again")
	}
	a.keys.Update()
	b.open(0, a.seal(), nil) // they are the right ones all the same
}

// Both ends talk over links that lose and reorder, and update as often as they
// may. Nothing genuine is refused while its keys are meant to be alive.
func TestKeyUpdatesUnderLossAndReordering(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("replay: go test ./session/seal -run 'KeyUpdatesUnderLoss.*/^%d$'", seed)
				}
			}()
			runLossyUpdates(t, seed)
		})
	}
}

// inFlight is a frame on its way, with what its sender had received by then.
type inFlight struct {
	frame  []byte
	sentAt clock.Time
	ack    uint64
	acked  bool
}

func runLossyUpdates(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	a, b := newPair(t, seed%2 == 0)
	ends := [2]*end{a, b}
	var links [2][]inFlight
	updates := 0
	for step := range 3000 {
		now := clock.Time(step) * 10 * ms
		from := rng.IntN(2)
		e, peer := ends[from], ends[1-from]
		e.keys.DropOld(now)
		if e.keys.CanUpdate() && rng.IntN(20) == 0 {
			e.keys.Update()
			updates++
		}
		links[from] = append(links[from], inFlight{e.seal(), now, e.largest, e.received})
		for len(links[from]) > 5 || len(links[from]) > 0 && rng.IntN(2) == 0 {
			i := rng.IntN(min(5, len(links[from])))
			d := links[from][i]
			links[from] = append(links[from][:i], links[from][i+1:]...)
			if rng.IntN(5) == 0 || now.Sub(d.sentAt) >= oldKeysKept {
				continue // lost, or as late as if it were
			}
			peer.open(now, d.frame, nil)
			if d.acked {
				peer.keys.OnAck(d.ack)
			}
		}
	}
	if updates < 20 {
		t.Errorf("only %d key updates", updates)
	}
}
