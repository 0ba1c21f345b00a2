package session

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// SPEC §4: an INIT is repeated after 200, 400, 800 and then every 1000 ms, the
// same bytes, on every path of the dial.
func TestInitIsRepeatedOnEveryPath(t *testing.T) {
	sc := bareScript(t, Config{})
	start := sc.now
	sc.dial(udp(1, 1), udp(2, 2))
	sc.advance(4 * time.Second)
	frames := sc.take()
	want := []time.Duration{0, 200, 600, 1400, 2400, 3400}
	for _, p := range []Path{udp(1, 1), udp(2, 2)} {
		n := 0
		for _, f := range frames {
			if f.to != p {
				continue
			}
			if n == len(want) || f.at.Sub(start) != want[n]*time.Millisecond || !bytes.Equal(f.raw, frames[0].raw) {
				t.Errorf("INIT %d to %v after %v", n, p, f.at.Sub(start))
			}
			n++
		}
	}
}

func TestDialEndsWithoutAnAnswer(t *testing.T) {
	sc := bareScript(t, Config{HandshakeTimeout: 3 * time.Second})
	sc.dial(udp(1, 1))
	sc.advance(3*time.Second - 1)
	sc.wantNoEvent("the handshake timeout is not over", Closed)
	sc.advance(1)
	if e := sc.wantEvent("the handshake timeout is over", Closed); !errors.Is(e.Err, ErrHandshakeTimeout) {
		t.Error(e.Err)
	}
	if n := sc.ep.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestPathAddedToADialGetsTheInit(t *testing.T) {
	sc := bareScript(t, Config{})
	sc.dial(udp(1, 1))
	sc.take()
	sc.change(func(now Time) { sc.s.AddPath(now, udp(2, 2)) })
	if f := sc.wantKind("an INIT at once", wire.KindInit); f.to != udp(2, 2) {
		t.Error(f)
	}
}

func TestCookieIsShownAtOnce(t *testing.T) {
	sc := bareScript(t, Config{})
	sc.dial(sc.here)
	init := sc.wantKind("an INIT", wire.KindInit)
	r, err := sc.id.NewResponder("", sc.secret())
	if err != nil {
		t.Fatal(err)
	}
	var key [22]byte
	c, ok := r.Cookie(sc.now, init.raw, pathKey(sc.here, &key), [24]byte{1})
	if !ok {
		t.Fatal("no cookie")
	}
	sc.now = sc.now.Add(scriptRTT)
	sc.deliver(c.Append(nil))
	again := sc.wantKind("the INIT with the cookie", wire.KindInit)
	if !r.CheckMAC2(sc.now, again.raw, pathKey(sc.here, &key)) {
		t.Error("the INIT does not show the cookie")
	}
}

// [S2] An initiator sends a DATA frame at once, for the responder waits for it.
func TestInitiatorConfirmsAtOnce(t *testing.T) {
	sc := bareScript(t, Config{})
	sc.dial(sc.here)
	sc.respond(sc.wantKind("an INIT", wire.KindInit).raw, wire.Params{})
	sc.wantEvent("the session is up", Established)
	if f := sc.wantKind("a frame under the new keys", wire.KindData); f.at != sc.now || len(f.chunks) == 0 {
		t.Error(f)
	}
}

// A dial that began while the peer's own handshake was half open waits 250 ms,
// and continues with that handshake.
func TestDialIsTiedToTheHandshakeThatThePeerBegan(t *testing.T) {
	sc := bareScript(t, Config{})
	hs := sc.initiate(wire.Params{})
	sc.deliver(hs.Frame())
	resp := *sc.wantKind("an answer", wire.KindResp)
	sc.dial(udp(3, 3))
	dialed := sc.s
	sc.advance(crossedDialDelay - 1)
	sc.wantIdle("the peer's handshake is about to complete")
	sc.frames = []sentFrame{resp}
	sc.confirm(hs)
	if e := sc.wantEvent("the session is up", Established); e.Session != dialed || dialed.Initiator() {
		t.Errorf("established %p as initiator=%v; the application dialled %p", e.Session, dialed.Initiator(), dialed)
	}
	if st := sc.ep.Stats(); st.Sessions != 1 || st.HalfOpen != 0 {
		t.Errorf("%d sessions, %d half open", st.Sessions, st.HalfOpen)
	}
}

// crossing returns a script whose dial is under way when the peer's INIT comes;
// the endpoint is the designated initiator or not, as wanted.
func crossing(t *testing.T, designated bool) *script {
	keys := [2][32]byte{{1: 1}, {1: 2}}
	sc := scriptOf(t, Config{}, keys[0], keys[1])
	if sc.ep.designated(sc.id.Public()) != designated {
		sc = scriptOf(t, Config{}, keys[1], keys[0])
	}
	sc.dial(sc.here)
	return sc
}

// [S6] A designated initiator does not answer the peer's INIT; it sends its own
// to where that one came from.
func TestDesignatedInitiatorInsists(t *testing.T) {
	sc := crossing(t, true)
	sc.take()
	sc.now = sc.now.Add(scriptRTT)
	sc.here = udp(5, 5)
	sc.deliver(sc.initiate(wire.Params{}).Frame())
	f := sc.take()
	if len(f) != 1 || f[0].kind != wire.KindInit || f[0].to != sc.here {
		t.Errorf("sent %v, want our own INIT to %v alone", f, sc.here)
	}
	if n := sc.ep.Stats().HalfOpen; n != 0 {
		t.Errorf("%d half open", n)
	}
}

// [S7] The other side answers; confirmed, its dial takes over those keys.
func TestOtherSideOfCrossingDialsAnswersAndContinuesItsDial(t *testing.T) {
	sc := crossing(t, false)
	dialed := sc.s
	if _, err := dialed.Send(sc.now, &Message{Data: []byte("queued before")}); err != nil {
		t.Fatal(err)
	}
	hs := sc.initiate(wire.Params{})
	sc.deliver(hs.Frame())
	sc.confirm(hs)
	if e := sc.wantEvent("the session is up", Established); e.Session != dialed || dialed.Initiator() {
		t.Error("the application does not get the session that it dialled, as responder")
	}
	sc.wantChunk("what was queued on the dial", wire.TypeMessage)
	if n := sc.ep.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions of crossing dials", n)
	}
}

// [S8] A RESP that names the handshake it crosses has that one ignored.
func TestDialThatTheAnswerNamesAsCrossedIsIgnored(t *testing.T) {
	sc := bareScript(t, Config{})
	sc.dial(sc.here)
	theirs := sc.initiate(wire.Params{})
	lost := sc.connID
	sc.respond(sc.wantKind("an INIT", wire.KindInit).raw, wire.Params{Crosses: lost})
	sc.wantEvent("the session is up", Established)
	sc.quieten()
	sc.deliver(theirs.Frame())
	for _, f := range sc.take() {
		if f.kind != wire.KindData || !f.has(wire.TypePing) {
			t.Errorf("sent %v, want a PING on the session that stays", f)
		}
	}
	if st := sc.ep.Stats(); st.Sessions != 1 || st.HalfOpen != 0 {
		t.Errorf("%d sessions, %d half open", st.Sessions, st.HalfOpen)
	}
}

// [S8] So does an INIT that names the handshake of an established session.
func TestInitThatCrossesAnEstablishedSessionIsIgnored(t *testing.T) {
	sc := acceptedScript(t, Config{})
	named := sc.connID
	keys, to, pn := sc.keys, sc.to, sc.pn
	init := sc.initiate(wire.Params{Crosses: named})
	sc.keys, sc.to, sc.pn = keys, to, pn
	sc.deliver(init.Frame())
	sc.wantChunk("a PING on the session that stays", wire.TypePing)
	if st := sc.ep.Stats(); st.Sessions != 1 || st.HalfOpen != 0 {
		t.Errorf("%d sessions, %d half open", st.Sessions, st.HalfOpen)
	}
}

// Karn: an answer to one of several INITs tells nothing about the round trip.
func TestRoundTripIsTakenFromASingleInitOnly(t *testing.T) {
	for _, again := range []bool{false, true} {
		sc := bareScript(t, Config{})
		sc.dial(sc.here)
		first := sc.wantKind("an INIT", wire.KindInit).raw
		sc.now = sc.now.Add(scriptRTT)
		if again {
			sc.change(func(now Time) { sc.s.AddPath(now, sc.here) })
		}
		sc.respond(first, wire.Params{})
		if got := sc.s.active.rec.RTT.HasSample(); got == again {
			t.Errorf("sampled %v: %v, where the INIT was repeated: %v", sc.s.Stats().SmoothedRTT, got, again)
		}
	}
}
