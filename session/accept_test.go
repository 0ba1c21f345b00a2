package session

import (
	"bytes"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/wire"
)

// strangers returns INITs of peers that nobody has heard of.
func (sc *script) strangers(n int) (inits [][]byte) {
	for i := range n {
		id, err := handshake.NewIdentity([32]byte{2: byte(i), 3: byte(i >> 8), 4: 1})
		if err != nil {
			sc.t.Fatal(err)
		}
		p := wire.Params{ConnID: wire.ConnID{byte(i), byte(i >> 8), 1}, AES: true, MaxMessage: 1 << 20, ChannelCredit: 1 << 18}
		hs, err := id.Initiate(sc.ep.ID(), sc.ep.cfg.App, &p, handshake.Prepare(sc.ep.ID(), handshake.NewKeypair([32]byte{byte(i), byte(i >> 8), 5})))
		if err != nil {
			sc.t.Fatal(err)
		}
		inits = append(inits, bytes.Clone(hs.Frame()))
	}
	return inits
}

// [S1] A replayed INIT costs one handshake and changes nothing.
func TestHalfOpenSessionIsForgottenSilently(t *testing.T) {
	sc := bareScript(t, Config{})
	sc.deliver(sc.initiate(wire.Params{}).Frame())
	sc.wantKind("an answer", wire.KindResp)
	sc.advance(halfOpenLife - 1)
	if n := sc.ep.Stats().HalfOpen; n != 1 {
		t.Errorf("%d half open before their time is over", n)
	}
	sc.advance(1)
	if st := sc.ep.Stats(); st.HalfOpen != 0 || st.Sessions != 0 {
		t.Errorf("%d half open, %d sessions", st.HalfOpen, st.Sessions)
	}
	sc.wantIdle("nobody has proved to hold the keys")
	if len(sc.events) > 0 {
		t.Errorf("events of a session that never was: %v", sc.events)
	}
}

func TestRepeatedInitIsAnsweredWithTheSameBytes(t *testing.T) {
	sc := bareScript(t, Config{})
	init := sc.initiate(wire.Params{}).Frame()
	sc.deliver(init)
	first := sc.wantKind("an answer", wire.KindResp)
	for range 10 {
		sc.deliver(init)
	}
	sc.wantIdle("at most one answer in 50 ms")
	sc.now = sc.now.Add(respInterval)
	sc.deliver(init)
	if again := sc.wantKind("an answer", wire.KindResp); !bytes.Equal(first.raw, again.raw) {
		t.Error("two answers to one INIT differ")
	}
	if n := sc.ep.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions of one INIT", n)
	}
}

func TestReplayedInitOfALiveSessionChangesNothing(t *testing.T) {
	sc := bareScript(t, Config{})
	hs := sc.initiate(wire.Params{})
	init := bytes.Clone(hs.Frame())
	sc.deliver(init)
	sc.confirm(hs)
	sc.take()
	sc.here = udp(6, 6)
	sc.advance(time.Second)
	sc.take()
	sc.deliver(init)
	sc.wantIdle("the INIT has been used")
	if n := sc.ep.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions of one INIT", n)
	}
}

// [S5] Under load a stranger must show that it gets our answers.
func TestCookieIsAskedForUnderLoad(t *testing.T) {
	sc := bareScript(t, Config{})
	for i, init := range sc.strangers(underLoadAt) {
		sc.here = udp(byte(i), 1)
		sc.deliver(init)
		if f := sc.take(); len(f) != 1 || f[0].kind != wire.KindResp {
			t.Fatalf("INIT %d was answered by %v", i, f)
		}
	}
	sc.here = udp(200, 1)
	hs := sc.initiate(wire.Params{})
	sc.deliver(hs.Frame())
	f := sc.wantKind("a cookie", wire.KindCookie)
	if f.size >= wire.InitLen {
		t.Errorf("a cookie of %d bytes for an INIT of %d", f.size, wire.InitLen)
	}
	if n := sc.ep.Stats().HalfOpen; n != underLoadAt {
		t.Errorf("%d half open", n)
	}
	if !hs.HandleCookie(f.raw) {
		t.Fatal("the cookie is not for this INIT")
	}
	sc.here = udp(201, 1)
	sc.deliver(hs.Frame())
	sc.wantKind("another cookie: that one is bound to the source", wire.KindCookie)
	sc.here = udp(200, 1)
	sc.deliver(hs.Frame())
	sc.wantKind("an answer", wire.KindResp)
}

// Whoever shows a cookie that is out of date gets a new one even when none is
// asked for: else it would go on showing the old one until one is.
func TestOutdatedCookieIsRenewed(t *testing.T) {
	sc := bareScript(t, Config{})
	hs := sc.initiate(wire.Params{})
	outdated := bytes.Clone(hs.Frame())
	outdated[len(outdated)-1] = 1
	sc.deliver(outdated)
	if !hs.HandleCookie(sc.wantKind("a cookie", wire.KindCookie).raw) {
		t.Fatal("the cookie is not for this INIT")
	}
	sc.deliver(hs.Frame())
	sc.wantKind("an answer", wire.KindResp)
}

// [S5] No source gets more than 16 half-open sessions under load, and there are
// never more than 1024.
func TestHalfOpenSessionsAreLimited(t *testing.T) {
	sc := bareScript(t, Config{})
	a := &sc.ep.accepts
	if a.crowded(sc.now, sourceOf(sc.here), 1) {
		t.Error("a source that sent nothing is refused")
	}
	a.perSource[sourceOf(sc.here)] = halfOpenPerHost
	if !a.crowded(sc.now, sourceOf(udp(1, 77)), 1) || a.crowded(sc.now, sourceOf(udp(2, 1)), 1) {
		t.Error("the share of a source is counted for each address, whatever the port")
	}
	clear(a.perSource)
	a.n = maxHalfOpen
	hs := sc.initiate(wire.Params{})
	sc.deliver(hs.Frame())
	hs.HandleCookie(sc.wantKind("a cookie", wire.KindCookie).raw)
	sc.deliver(hs.Frame())
	sc.wantIdle("there is no room")
	a.n--
	sc.deliver(hs.Frame())
	sc.wantKind("an answer once there is", wire.KindResp)
}

func TestRefusedPeerMeetsSilence(t *testing.T) {
	allow := false
	var asked wire.PeerID
	sc := bareScript(t, Config{Allow: func(p wire.PeerID) bool { asked = p; return allow }})
	sc.deliver(sc.initiate(wire.Params{}).Frame())
	sc.wantIdle("the peer is refused")
	if asked != sc.id.Public() || sc.ep.Stats().Sessions != 0 {
		t.Errorf("asked about %v; %d sessions", asked, sc.ep.Stats().Sessions)
	}
	allow = true
	sc.deliver(sc.initiate(wire.Params{}).Frame())
	sc.wantKind("an answer", wire.KindResp)
}

func TestOtherApplicationMeetsSilence(t *testing.T) {
	sc := bareScript(t, Config{App: "chess"})
	p := sc.params(wire.Params{})
	hs, err := sc.id.Initiate(sc.ep.ID(), "chat", &p, handshake.Prepare(sc.ep.ID(), handshake.NewKeypair(sc.secret())))
	if err != nil {
		t.Fatal(err)
	}
	sc.deliver(hs.Frame())
	sc.wantIdle("it names another application")
}

// RFC 9000 §8.1: the answer to an INIT counts against the budget of its source, once.
func TestAnswerCountsAgainstTheAmplificationLimit(t *testing.T) {
	sc := bareScript(t, Config{})
	sc.deliver(sc.initiate(wire.Params{}).Frame())
	n := sc.wantKind("an answer", wire.KindResp).size
	x := sc.ep.accepts.byPeer[sc.id.Public()][0].active
	if x.received != wire.InitLen || x.sent != uint64(n) {
		t.Errorf("received %d, sent %d; INIT has %d bytes, the answer %d", x.received, x.sent, wire.InitLen, n)
	}
}
