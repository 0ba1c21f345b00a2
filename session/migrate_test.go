package session

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// prove answers every challenge that went to p, and to p alone.
func (sc *script) prove(p Path) {
	here := sc.here
	for _, f := range sc.frames {
		if c := f.chunk(wire.TypePathChallenge); c != nil && f.to == p {
			sc.here = p
			sc.write(pathResponse(c.Path))
		}
	}
	sc.here = here
}

// giveSpare gives the session one more connection ID of the peer's.
func (sc *script) giveSpare() wire.NewConnID {
	spare := wire.NewConnID{Seq: 1, ID: wire.ConnID{8, 8}, Token: wire.ResetToken{8}}
	sc.write(spare.Append(nil))
	return spare
}

// direct is the direct path to an address in text.
func direct(s string) Path { return Path{Remote: netip.MustParseAddrPort(s)} }

// known returns what the session knows about p.
func (sc *script) known(p Path) (PathInfo, bool) {
	for _, x := range sc.s.Paths(nil) {
		if x.Path == p {
			return x, true
		}
	}
	return PathInfo{}, false
}

// [S12] Data follows the peer at once; the challenge goes with it.
func TestDataFollowsTheNewestFrameAtOnce(t *testing.T) {
	sc := acceptedScript(t, Config{})
	old := sc.here
	late := sc.sealed(ping)
	sc.here = udp(2, 2)
	sc.write(ping)
	sc.wantPath("where the newest frame came from", udp(2, 2))
	sc.wantFrame("a challenge to the new path", func(f *sentFrame) bool { return f.to == udp(2, 2) && f.has(wire.TypePathChallenge) })
	sc.here = old
	sc.deliver(late)
	sc.wantPath("since an overtaken frame tells nothing", udp(2, 2))
}

// RFC 9000 §9.3.3: who rebound may be an attacker, so the old path is asked too.
func TestPathThatDataLeavesIsChallengedToo(t *testing.T) {
	sc := acceptedScript(t, Config{})
	old := sc.here
	sc.write(ping) // lately heard of
	sc.take()
	sc.here = udp(2, 2)
	sc.write(ping)
	sc.wantFrame("a challenge to the old path", func(f *sentFrame) bool { return f.to == old && f.has(wire.TypePathChallenge) })
}

// RFC 9000 §9.3.2
func TestDataReturnsIfTheNewPathProvesFalse(t *testing.T) {
	sc := acceptedScript(t, Config{})
	old := sc.here
	sc.advance(oldPathHeard) // it is not asked, so nothing speaks against it
	sc.here = udp(2, 2)
	sc.write(ping)
	sc.wantPath("where the frame came from", udp(2, 2))
	start := sc.now
	for sc.now.Sub(start) < giveUpPTOs*initialPTO-100*time.Millisecond {
		sc.advance(100 * time.Millisecond)
		sc.ackAll() // which proves nothing
	}
	sc.wantPath("which may yet answer", udp(2, 2))
	sc.advance(200 * time.Millisecond)
	sc.wantPath("the last one proved", old)
	if _, ok := sc.known(udp(2, 2)); ok {
		t.Error("the false path is kept")
	}
}

// Data that has returned by itself to the path it came from has nowhere else to go.
func TestPathThatDataReturnedToIsKeptIfItFails(t *testing.T) {
	sc := acceptedScript(t, Config{})
	old := sc.here
	sc.advance(revalidateAfter + time.Second) // so it is asked again when data returns
	sc.here = udp(2, 2)
	sc.write(ping)
	sc.wantPath("where the frame came from", udp(2, 2))
	sc.here = old
	sc.write(ping)
	sc.wantPath("where the newest frame came from", old)
	for range 50 {
		sc.advance(100 * time.Millisecond)
		if x, ok := sc.known(old); sc.s.Path() != old || !ok || !x.Active {
			t.Fatalf("data goes to %v, and of %v the session knows %+v, %v", sc.s.Path(), old, x, ok)
		}
		sc.ackAll() // which proves nothing
	}
}

func TestDataReturnsAsSoonAsTheOldPathAnswersInPlaceOfTheNew(t *testing.T) {
	sc := acceptedScript(t, Config{})
	old := sc.here
	sc.here = udp(2, 2)
	sc.write(ping)
	start := sc.now
	for sc.s.Path() != old && sc.now.Sub(start) < 5*time.Second {
		sc.take()
		sc.advance(10 * time.Millisecond)
		sc.prove(old)
	}
	if took := sc.now.Sub(start); took > 1500*time.Millisecond {
		t.Errorf("data went astray for %v", took)
	}
}

// [S13] After a move of one's own, what the peer sent earlier still arrives on
// the old path.
func TestOwnMoveIsNotUndoneByFramesUnderWay(t *testing.T) {
	sc := dialedScript(t, Config{})
	old := sc.here
	sc.s.active.rec.RTT.Update(500*time.Millisecond, 0, 0) // long enough to be left
	sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
	sc.now = sc.now.Add(10 * time.Millisecond)
	sc.prove(udp(2, 2))
	sc.wantPath("the shorter one", udp(2, 2))
	hold := holdOffPTOs * sc.s.active.pto()
	sc.here = old
	sc.now = sc.now.Add(hold - time.Millisecond)
	sc.write(ping)
	sc.wantPath("which this side has chosen", udp(2, 2))
	sc.now = sc.now.Add(2 * time.Millisecond)
	sc.write(ping)
	sc.wantPath("since the peer insists", old)
}

// SPEC §8.5: who began the session chooses; the other side follows.
func TestOnlyTheInitiatorMovesToABetterPath(t *testing.T) {
	for _, c := range []struct {
		name   string
		sc     *script
		choose bool
	}{
		{"initiator", dialedScript(t, Config{}), true},
		{"responder", acceptedScript(t, Config{}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sc := c.sc
			sc.t = t
			old := sc.here
			sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
			sc.now = sc.now.Add(time.Millisecond)
			sc.prove(udp(2, 2))
			if !c.choose {
				sc.wantPath("the peer's choice", old)
				return
			}
			sc.wantPath("the shorter one", udp(2, 2))
			sc.wantFrame("a frame that takes the peer along", func(f *sentFrame) bool { return f.to == udp(2, 2) && f.has(wire.TypePing) })
		})
	}
}

func TestPathsAlikeDoNotAlternate(t *testing.T) {
	sc := dialedScript(t, Config{})
	old := sc.here
	sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
	sc.now = sc.now.Add(scriptRTT - betterRTT + time.Millisecond)
	sc.prove(udp(2, 2))
	sc.wantPath("which is as good", old)
}

func TestDirectPathIsPreferredToARelay(t *testing.T) {
	sc := bareScript(t, Config{})
	sc.here = Path{Link: 1}
	sc.dial(sc.here)
	sc.respond(sc.wantKind("an INIT", wire.KindInit).raw, wire.Params{})
	sc.quieten()
	sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
	sc.now = sc.now.Add(3 * scriptRTT)
	sc.prove(udp(2, 2))
	sc.wantPath("direct, though longer", udp(2, 2))
}

// SPEC §8.6: what flew on the old path is sent again once the new one is proved.
func TestLeftBehindIsSentAgainWhenTheNewPathIsProved(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	sc.wantChunk("the message", wire.TypeMessage)
	window := sc.s.Stats().CongestionWindow
	sc.now = sc.now.Add(time.Millisecond)
	sc.here = udp(1, 2)
	sc.write(ping)
	for _, f := range sc.frames {
		if f.has(wire.TypeMessage) {
			t.Fatal("sent again before the path was proved")
		}
	}
	sc.now = sc.now.Add(10 * time.Millisecond)
	sc.prove(sc.here)
	f := sc.wantChunk("the message again", wire.TypeMessage)
	if f.to != sc.here || f.at != sc.now {
		t.Errorf("%v, want it at once on the new path", f)
	}
	if st := sc.s.Stats(); st.Lost != 0 || st.CongestionWindow < window {
		t.Errorf("%d lost, window from %d to %d: a move is no congestion", st.Lost, window, st.CongestionWindow)
	}
}

func TestLeftBehindIsSentAgainAfterAProbeTimeoutAtTheLatest(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.send(100)
	sc.wantChunk("the message", wire.TypeMessage)
	pto := sc.s.active.pto()
	moved := sc.now
	sc.here = udp(2, 2)
	sc.write(ping)
	sc.write(ping, ping) // budget for the message
	sc.write(ping, make([]byte, 300))
	sc.take()
	sc.advance(pto + time.Millisecond)
	f := sc.wantChunk("the message again", wire.TypeMessage)
	if d := f.at.Sub(moved); f.to != sc.here || d > pto {
		t.Errorf("%v, %v after the move; the probe timeout is %v", f, d, pto)
	}
}

// [S15] A new port is the same network, a new address another.
func TestCongestionStateIsKeptWhereOnlyThePortDiffers(t *testing.T) {
	for _, c := range []struct {
		name string
		to   Path
		same bool
	}{{"port", udp(1, 2), true}, {"address", udp(2, 2), false}} {
		t.Run(c.name, func(t *testing.T) {
			sc := acceptedScript(t, Config{})
			rtt := sc.s.Stats().SmoothedRTT
			before := sc.s.active.rec
			sc.here = c.to
			sc.write(ping)
			sc.wantPath("where the frame came from", c.to)
			if kept := sc.s.active.rec == before; kept != c.same {
				t.Errorf("recovery state kept: %v", kept)
			}
			if kept := sc.s.Stats().SmoothedRTT == rtt; kept != c.same {
				t.Errorf("round-trip time from %v to %v", rtt, sc.s.Stats().SmoothedRTT)
			}
		})
	}
}

func TestSameHostMeansAddressOrIPv6Network(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[2001:db8::1]:1", "[2001:db8::ffff]:9", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[2001:db8::1]:1", "192.0.2.1:1", false},
	} {
		if got := sameHost(direct(c.a), direct(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
	if sameHost(Path{Link: 1}, Path{Link: 2}) {
		t.Error("two relays are taken for one host")
	}
}

// RFC 9000 §9.5: a move on purpose uses a fresh ID, and so does the answer.
func TestDeliberateMoveIsAnsweredUnderAFreshID(t *testing.T) {
	sc := acceptedScript(t, Config{})
	spare := sc.giveSpare()
	fresh := sc.s.local.live[1].id
	sc.take()
	sc.to, sc.here = fresh, udp(2, 2)
	sc.write(ping)
	f := sc.wantFrame("an answer on the new path", func(f *sentFrame) bool { return f.to == udp(2, 2) })
	if f.id != spare.ID {
		t.Errorf("addressed to %v, want the spare ID", f.id)
	}
}

func TestReboundPeerIsAnsweredUnderTheSameID(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.giveSpare()
	sc.take()
	sc.here = udp(1, 2)
	sc.write(ping)
	if f := sc.wantFrame("an answer on the new path", func(f *sentFrame) bool { return f.to == udp(1, 2) }); f.id != sc.connID {
		t.Errorf("addressed to %v: nobody knew of the rebinding beforehand", f.id)
	}
}

// A move of this side's own network: a frame at once, a fresh ID, every path asked.
func TestMovedTellsThePeerAtOnce(t *testing.T) {
	sc := dialedScript(t, Config{})
	spare := sc.giveSpare()
	sc.take()
	sc.change(sc.s.Moved)
	f := sc.wantChunk("a challenge", wire.TypePathChallenge)
	if f.id != spare.ID || f.at != sc.now || f.to != sc.here {
		t.Errorf("%v under %v, want it at once under the spare ID", f, f.id)
	}
	if !f.has(wire.TypePing) && !f.has(wire.TypeRetireConnID) {
		t.Errorf("%v: a probing frame alone does not take the peer along", f)
	}
}

func TestMovedLeavesThePunchGoing(t *testing.T) {
	sc := dialedScript(t, Config{})
	sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
	sc.take()
	start := sc.now
	sc.change(sc.s.Moved)
	sc.advance(200 * time.Millisecond)
	if got := times(sc.take(), udp(2, 2), wire.TypePathChallenge, start); len(got) != 4 {
		t.Errorf("the candidate is challenged at %v, want the schedule of a punch", got)
	}
}
