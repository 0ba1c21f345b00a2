package session

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// SPEC §8.4: a candidate is challenged at 0, 25, 75, 175, 375, 775 and 1575 ms,
// within a tenth, and dropped when it has not answered.
func TestCandidateIsChallengedOnSchedule(t *testing.T) {
	sc := dialedScript(t, Config{})
	start, candidate := sc.now, udp(2, 2)
	sc.change(func(now Time) { sc.s.AddPath(now, candidate) })
	sc.advance(candidateLife - 1)
	if !slices.ContainsFunc(sc.s.Paths(nil), func(p PathInfo) bool { return p.Path == candidate }) {
		t.Error("the candidate was dropped before its time")
	}
	sc.advance(time.Second)
	got := times(sc.take(), candidate, wire.TypePathChallenge, start)
	if len(got) != len(probeSchedule) {
		t.Fatalf("challenged at %v", got)
	}
	for i, want := range probeSchedule {
		if got[i] < want*9/10 || got[i] > want*11/10 {
			t.Errorf("challenge %d at %v, want %v within a tenth", i, got[i], want)
		}
	}
	if n := len(sc.s.Paths(nil)); n != 1 {
		t.Errorf("%d paths; the candidate answered nothing", n)
	}
}

func TestAddingACandidateAgainStartsItsScheduleAgain(t *testing.T) {
	sc := dialedScript(t, Config{})
	add := func(now Time) { sc.s.AddPath(now, udp(2, 2)) }
	sc.change(add)
	sc.advance(time.Second)
	sc.take()
	start := sc.now
	sc.change(add)
	sc.advance(200 * time.Millisecond)
	if got := times(sc.take(), udp(2, 2), wire.TypePathChallenge, start); len(got) != 4 {
		t.Errorf("challenged at %v after it was added again", got)
	}
}

func TestAnsweredCandidateIsLeftAlone(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
	token := sc.wantChunk("a challenge", wire.TypePathChallenge).chunk(wire.TypePathChallenge).Path
	sc.now = sc.now.Add(10 * time.Millisecond)
	sc.here = udp(2, 2)
	sc.write(pathResponse(token))
	sc.wantEvent("the candidate answered", PathValidated)
	sc.take()
	sc.advance(5 * time.Second)
	if got := times(sc.take(), udp(2, 2), wire.TypePathChallenge, 0); len(got) != 0 {
		t.Errorf("%d challenges after the answer", len(got))
	}
}

func TestLateAnswerProvesNothing(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
	token := sc.wantChunk("a challenge", wire.TypePathChallenge).chunk(wire.TypePathChallenge).Path
	sc.advance(candidateLife)
	sc.write(pathResponse(token))
	sc.wantNoEvent("the round had been given up", PathValidated)
}

// A path that once worked is tried again after a second, then every 2 s for half a
// minute, then after 4, 8, 16, 32 and 64 s.
func TestPathThatDiedIsTriedAgain(t *testing.T) {
	v := new(validation)
	v.init()
	var gaps []time.Duration
	for now := epoch; v.planRetry(now); now = v.retry {
		gaps = append(gaps, v.retry.Sub(now))
	}
	want := []time.Duration{1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 4, 8, 16, 32, 64}
	for i := range want {
		want[i] *= time.Second
	}
	if !slices.Equal(gaps, want) {
		t.Errorf("tried again after %v, want %v", gaps, want)
	}
	v.succeed()
	if !v.planRetry(epoch) || v.retry.Sub(epoch) != time.Second {
		t.Error("a path that came back does not start over")
	}
}

// RFC 9000 §8.2.4: a round is given up after three probe timeouts, those of a
// new path at least.
func TestRoundOfChallengesIsGivenUp(t *testing.T) {
	for _, c := range []struct{ pto, want time.Duration }{
		{50 * time.Millisecond, 3 * 999 * time.Millisecond},
		{4 * time.Second, 12 * time.Second},
	} {
		v := new(validation)
		v.init()
		v.start(epoch, false, c.pto)
		if got := v.giveUp.Sub(epoch); got != c.want {
			t.Errorf("with a probe timeout of %v given up after %v, want %v", c.pto, got, c.want)
		}
	}
}

func TestChallengesOfARoundSpreadOut(t *testing.T) {
	const pto = 100 * time.Millisecond
	v := new(validation)
	v.init()
	v.start(epoch, false, pto)
	for i, want := range []time.Duration{1, 2, 4, 8, 8, 8} {
		now := v.next
		if v.sent(now, [8]byte{byte(i)}, pto, 0); v.next.Sub(now) != want*pto {
			t.Errorf("challenge %d is followed by one after %v, want %v", i, v.next.Sub(now), want*pto)
		}
	}
}

func TestOnlyTheNewestTokensAreRemembered(t *testing.T) {
	v := new(validation)
	v.init()
	v.start(epoch, false, time.Second)
	if _, ok := v.sentAt([8]byte{}); ok {
		t.Error("a token that was never sent is known")
	}
	for i := range byte(2 * liveChallenges) {
		v.sent(epoch.Add(time.Duration(i)), [8]byte{i + 1}, time.Second, 0)
	}
	for i := range byte(2 * liveChallenges) {
		at, ok := v.sentAt([8]byte{i + 1})
		if ok != (i >= liveChallenges) || ok && at != epoch.Add(time.Duration(i)) {
			t.Errorf("token %d: sent at %v, known %v", i, at, ok)
		}
	}
	v.fail()
	if _, ok := v.sentAt([8]byte{2 * liveChallenges}); ok {
		t.Error("a token of a round that was given up is known")
	}
}

// SPEC §8.2: at most three times what came from an address goes there before it
// has answered, in datagrams of at most 1200 bytes.
func TestUnprovedAddressGetsThreeTimesWhatItSent(t *testing.T) {
	for _, p := range []Path{udp(2, 2), {Link: LinkSocket | 5, Remote: udp(2, 2).Remote}} {
		t.Run(p.String(), func(t *testing.T) {
			sc := acceptedScript(t, Config{})
			sc.send(400_000) // more than any window: there is always something to send
			sc.take()
			sc.here = p
			frame := sc.sealed(ping)
			sc.deliver(frame)
			sc.advance(2 * time.Second)
			sent, challenges := 0, 0
			for _, f := range sc.take() {
				if f.to != sc.here {
					continue
				}
				if f.size > baseMTU {
					t.Errorf("a datagram of %d bytes", f.size)
				}
				if len(f.chunks) == 1 && f.has(wire.TypePathChallenge) {
					challenges++
					continue
				}
				sent += f.size
			}
			if sent > 3*len(frame)+overrunMax || challenges > overdrawnMax {
				t.Errorf("%d bytes and %d challenges for one frame of %d", sent, challenges, len(frame))
			}
		})
	}
}

func TestUnauthenticFrameTouchesNoPath(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.here = udp(2, 2)
	forged := sc.sealed(ping)
	forged[len(forged)-1] ^= 1
	sc.deliver(forged)
	sc.advance(5 * time.Second)
	for _, f := range sc.take() {
		if f.to == sc.here {
			t.Errorf("an unauthentic frame brought forth %v", f)
		}
	}
}
