package session

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

func (sc *script) reset(id wire.ConnID, token wire.ResetToken) {
	f := wire.Reset{ID: id, Token: token}
	sc.deliver(f.Append(nil))
}

// SPEC §10: only the token of the ID in use, under that ID, ends a session.
func TestResetNeedsTheTokenOfTheIDInUse(t *testing.T) {
	spare := wire.NewConnID{Seq: 1, ID: wire.ConnID{8, 8}, Token: wire.ResetToken{8}}
	for _, c := range []struct {
		name  string
		id    func(*script) wire.ConnID
		token func(*script) wire.ResetToken
		ends  bool
	}{
		{"the right one", func(sc *script) wire.ConnID { return sc.connID }, func(sc *script) wire.ResetToken { return sc.peerIs.Token }, true},
		{"under another ID", func(*script) wire.ConnID { return spare.ID }, func(sc *script) wire.ResetToken { return sc.peerIs.Token }, false},
		{"of a spare ID", func(*script) wire.ConnID { return spare.ID }, func(*script) wire.ResetToken { return spare.Token }, false},
		{"made up", func(sc *script) wire.ConnID { return sc.connID }, func(*script) wire.ResetToken { return wire.ResetToken{1, 2, 3} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sc := acceptedScript(t, Config{})
			sc.write(spare.Append(nil))
			sc.events = nil
			sc.here = udp(9, 9) // a restarted peer may be anywhere
			sc.reset(c.id(sc), c.token(sc))
			if !c.ends {
				sc.wantNoEvent("the reset proves nothing", Closed)
				return
			}
			if e := sc.wantEvent("the peer has restarted", Closed); !errors.Is(e.Err, ErrPeerRestarted) {
				t.Error(e.Err)
			}
		})
	}
}

func TestTokenMovesOnWithTheID(t *testing.T) {
	sc := dialedScript(t, Config{})
	spare := sc.giveSpare()
	sc.change(sc.s.Moved)
	sc.events = nil
	sc.reset(sc.connID, sc.peerIs.Token)
	sc.wantNoEvent("that ID is retired", Closed)
	sc.reset(spare.ID, spare.Token)
	sc.wantEvent("this one is in use", Closed)
}

// SPEC §10: RESET is shorter than its cause, and there are 50 a second at most.
func TestFrameForAnUnknownSessionIsAnsweredByReset(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.to = wire.ConnID{1, 2, 3}
	sc.take()
	sc.write(make([]byte, 100))
	f := sc.wantKind("a reset", wire.KindReset)
	r, err := wire.ParseReset(f.raw)
	if err != nil || r.ID != sc.to || r.Token != sc.ep.id.ResetToken(sc.to) {
		t.Errorf("%+v, %v", r, err)
	}
	sc.deliver(sc.sealed(make([]byte, 100))[:wire.ResetLen])
	sc.wantIdle("an answer must be shorter than its cause")
	for range 200 {
		sc.write(make([]byte, 100))
	}
	sc.advance(time.Second)
	for range 200 {
		sc.write(make([]byte, 100))
	}
	if n := len(sc.take()); n != 99 {
		t.Errorf("%d resets, want the 49 left of a burst and 50 a second later", n)
	}
}
