package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// restingScript has a session at rest, and nothing under way.
func restingScript(t *testing.T) *script {
	sc := acceptedScript(t, Config{})
	sc.advance(defaultRestAfter + restCheck)
	sc.wantIdle("the session rests")
	sc.wantAtRest(true)
	return sc
}

func (sc *script) wantAtRest(want bool) {
	sc.t.Helper()
	if (sc.s.resting != nil) != want {
		sc.t.Fatalf("at rest: %v, want %v", !want, want)
	}
}

// toKeepAlive lets time pass until the session has sent its keepalive.
func (sc *script) toKeepAlive() *sentFrame {
	sc.t.Helper()
	sc.advance(sc.s.keepAliveAt().Sub(sc.now))
	return sc.wantChunk("a keepalive", wire.TypePing)
}

// [S54] Keepalives wake neither side, however many there are, and measure the
// round trip.
func TestKeepAlivesPassAtRest(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	sa, sb := w.connect(a, b)
	w.run(rekeyInterval+time.Minute, nil) // the keys have changed, for once
	a.host.SetLink(wiretest.Link{Delay: 17 * time.Millisecond})
	sent := sa.stats.Sent + sb.stats.Sent
	woke := false
	w.run(10*time.Minute, func() bool {
		woke = sa.resting == nil || sb.resting == nil
		return woke
	})
	if woke {
		t.Fatalf("a keepalive woke a session after %v", w.vtime())
	}
	if got, want := sa.stats.Sent+sb.stats.Sent-sent, uint64(2*600/15); got < want-1 || got > want+4 {
		t.Errorf("%d datagrams, want %d", got, want)
	}
	if got := max(sa.active.rtt().Smoothed(), sb.active.rtt().Smoothed()); got < 33*time.Millisecond {
		t.Errorf("the round trip is still %v", got)
	}
	a.mustPost(sa, Message{}, 500)
	b.mustPost(sb, Message{}, 500)
	w.run(time.Second, nil)
	if err := w.ledger.settled(); err != nil {
		t.Error(err)
	}
}

// [S28] One exchange serves both sides, whatever the way does to its times.
func TestSidesDoNotAskAtOnce(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond, Jitter: 10 * time.Millisecond})
	sa, sb := w.connect(a, b)
	w.run(rekeyInterval+time.Minute, nil)
	before := sa.stats.Sent + sb.stats.Sent
	w.run(time.Hour, nil)
	if n := sa.stats.Sent + sb.stats.Sent - before; n > 2*3600/15*65/64+2 {
		t.Errorf("%d datagrams in an hour", n)
	}
}

// [S54] A keepalive that nobody answers is a frame in flight like any other: the
// probe timeout follows it, and what it leads to.
func TestUnansweredKeepAliveWakesTheSession(t *testing.T) {
	sc := restingScript(t)
	first := sc.toKeepAlive()
	sc.wantAtRest(true)
	wait := max(sc.s.active.pto(), silenceMin)
	sc.advance(wait - 1)
	sc.wantIdle("the answer may be on its way")
	sc.advance(1)
	sc.wantAtRest(false)
	if f := sc.wantChunk("a probe", wire.TypePing); f.at.Sub(first.at) != wait {
		t.Errorf("the probe comes after %v, want %v", f.at.Sub(first.at), wait)
	}
	sc.advance(5 * time.Second)
	sc.wantEvent("nobody answers", Stranded)
	sc.quieten()
	sc.wantAtRest(true)
}

// The answer may come when the PING has been sent again: it is for the first.
func TestLateAnswerToAKeepAliveCounts(t *testing.T) {
	sc := restingScript(t)
	sc.toKeepAlive()
	sc.advance(max(sc.s.active.pto(), silenceMin))
	sc.wantChunk("a probe", wire.TypePing)
	if sc.s.active.rec.PTOCount() != 1 {
		t.Fatal("no probe timeout")
	}
	sc.heard = sc.heard[:len(sc.heard)-1] // the probe is on its way
	sc.ackAll()
	if sc.s.active.rec.PTOCount() != 0 {
		t.Error("the answer to the PING that went out at rest does not count")
	}
}

// [S54] All else wakes the session first, which has then forgotten nothing.
func TestWhatIsNoKeepAliveWakesTheSession(t *testing.T) {
	for name, do := range map[string]func(sc *script){
		"a message": func(sc *script) { sc.send(10) },
		"a PING while ours is not answered": func(sc *script) {
			sc.write(ping)
		},
		"a PING from another port": func(sc *script) {
			sc.here = udp(1, 2)
			sc.write(ping)
			sc.wantPath("the peer is followed", sc.here)
		},
		"a challenge": func(sc *script) {
			sc.write(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{1}))
			sc.wantChunk("an answer", wire.TypePathResponse)
		},
		"a frame that was overtaken": func(sc *script) {
			late := sc.sealed(ping)
			sc.write(ping)
			sc.deliver(late)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sc := restingScript(t)
			sc.toKeepAlive()
			do(sc)
			sc.wantAtRest(false)
			if got := sc.s.loss.Outstanding(); got < 1 {
				t.Errorf("%d frames in flight, the keepalive is one", got)
			}
			sc.quieten()
		})
	}
}

// [S11] [S12] A keepalive is a frame like others: it counts once, and who sends it
// from elsewhere is followed.
func TestKeepAliveTellsWhereThePeerIs(t *testing.T) {
	sc := restingScript(t)
	first := sc.sealed(ping)
	sc.deliver(first)
	sc.wantChunk("the answer", wire.TypeAck)
	sc.wantAtRest(true)
	home := sc.here
	sc.here = udp(1, 2)
	sc.deliver(first)
	sc.wantIdle("a repeat changes nothing")
	sc.wantPath("nor does where it comes from", home)
	sc.write(ping)
	sc.wantPath("the peer is followed", sc.here)
}

// A path that had to be remembered as it was, when the session went to rest just
// after it spoke, is no more after a keepalive.
func TestPathIsForgottenAtTheNextKeepAlive(t *testing.T) {
	sc := restingScript(t)
	sc.toKeepAlive()
	sc.advance(max(sc.s.active.pto(), silenceMin)) // which wakes the session
	sc.wantChunk("a probe", wire.TypePing)
	sc.ackAll()
	sc.wantAtRest(true)
	if sc.s.active.rec == nil {
		t.Fatal("the path has rested within a probe timeout")
	}
	sc.advance(sc.s.keepAliveAt().Sub(sc.now))
	sc.ackAll()
	if sc.s.active.rec != nil {
		t.Error("the path does not rest")
	}
}

// [S54] What a keepalive costs at each end: ciphers are made of the keys, and
// nothing else is.
func TestKeepAliveAllocatesCiphersAlone(t *testing.T) {
	const (
		sessions  = 500
		allocsMax = 2 * 7     // of both ends: two ciphers for each direction, header protection, scratch
		bytesMax  = 2 * 3_700 // likewise
	)
	d := newDuo(t, 0)
	idlePairs(d, sessions)
	d.wait(time.Minute) // what is allocated once
	sent := d.ends[0].e.sent() + d.ends[1].e.sent()
	allocs, bytes := allocated(func() { d.wait(time.Minute) })
	n := float64(d.ends[0].e.sent()+d.ends[1].e.sent()-sent) / 2
	if n < 3.9*sessions {
		t.Fatalf("%v keepalives in a minute", n)
	}
	if a, b := float64(allocs)/n, float64(bytes)/n; a > allocsMax*1.05 || b > bytesMax*1.05 {
		t.Errorf("a keepalive costs both ends %.1f allocations of %.0f bytes in all, want %d of %d", a, b, allocsMax, bytesMax)
	}
}

// sent counts the datagrams of all sessions.
func (e *Endpoint) sent() (n uint64) {
	for _, list := range e.peers {
		for _, s := range list {
			n += s.stats.Sent
		}
	}
	return n
}
