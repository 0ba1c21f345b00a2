package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// SPEC §6: a side changes its key phase after so many frames.
func TestKeysChangeAfterTheirShareOfFrames(t *testing.T) {
	sc := acceptedScript(t, Config{RekeyAfter: 100})
	before := sc.s.Stats().KeyUpdates
	for sc.s.Stats().KeyUpdates == before {
		sc.send(10)
		if sc.now = sc.now.Add(10 * time.Millisecond); sc.s.keys.Sealed() > 100 {
			t.Fatalf("%d frames were sealed with one key", sc.s.keys.Sealed())
		}
		sc.ackAll()
	}
	// The peer, which follows, must not be overtaken by a second change.
	sent := sc.s.Stats().Sent
	for range 150 {
		sc.send(10)
		sc.now = sc.now.Add(10 * time.Millisecond)
	}
	if st := sc.s.Stats(); st.KeyUpdates != before+1 || st.Sent < sent+20 {
		t.Errorf("%d key updates, %d frames, while the peer is silent", st.KeyUpdates-before, st.Sent-sent)
	}
}

func TestKeysChangeAfterTwoMinutesOfUse(t *testing.T) {
	sc := acceptedScript(t, Config{KeepAlive: -1, IdleTimeout: -1})
	before := sc.s.Stats().KeyUpdates
	sc.send(100)
	sc.ackAll()
	sc.advance(rekeyInterval - 10*time.Second)
	sc.write(ping)
	sc.advance(time.Second)
	if n := sc.s.Stats().KeyUpdates - before; n != 0 {
		t.Fatalf("%d updates before two minutes", n)
	}
	sc.advance(10 * time.Second)
	sc.write(ping)
	sc.advance(time.Second)
	if n := sc.s.Stats().KeyUpdates - before; n != 1 {
		t.Fatalf("%d updates after two minutes", n)
	}
}

// Messages that were sent before there were keys pass under these, too.
func TestKeysChangeAfterTwoMinutesThoughTheMessagesWereQueuedBefore(t *testing.T) {
	for _, queued := range []bool{true, false} {
		sc := bareScript(t, Config{KeepAlive: -1, IdleTimeout: -1})
		sc.dial(sc.here)
		if queued {
			sc.send(100)
		}
		sc.respond(sc.wantKind("an INIT", wire.KindInit).raw, wire.Params{})
		sc.ackAll()
		sc.advance(rekeyInterval + time.Second)
		sc.write(ping)
		sc.advance(time.Second)
		if changed := sc.s.Stats().KeyUpdates > 0; changed != queued {
			t.Errorf("queued: %v, keys changed: %v", queued, changed)
		}
	}
}

// Keys that have protected nothing but keepalives are as good as new.
func TestKeysOfAnIdleSessionDoNotChange(t *testing.T) {
	sc := acceptedScript(t, Config{KeepAlive: -1, IdleTimeout: -1})
	for range 5 {
		sc.advance(rekeyInterval)
		sc.write(ping)
		sc.advance(time.Second)
		sc.ackAll()
	}
	if n := sc.s.Stats().KeyUpdates; n > 0 {
		t.Errorf("%d updates, want none", n)
	}
}

func TestKeyUpdateOfThePeerIsFollowed(t *testing.T) {
	sc := acceptedScript(t, Config{})
	was := sc.s.keys.Phase()
	sc.keys.Update()
	sc.write(ping)
	sc.write(ping) // two are acknowledged at once
	if sc.s.keys.Phase() == was {
		t.Error("the endpoint seals under the old keys")
	}
	if f := sc.wantFrame("an acknowledgement that opens", func(f *sentFrame) bool { return f.has(wire.TypeAck) }); f.at != sc.now {
		t.Error(f)
	}
	sc.send(100)
	sc.ackAll()
	sc.wantEvent("messages go on", Outcome)
}

// RFC 9001 §6.6
func TestForgeriesAreCountedAndChangeNothing(t *testing.T) {
	sc := acceptedScript(t, Config{})
	before := stateHash(sc.ep)
	for range 100 {
		forged := sc.sealed(ping)
		forged[len(forged)-1] ^= 0x80
		sc.deliver(forged)
	}
	if n := sc.s.Stats().DroppedAuth; n != 100 {
		t.Errorf("%d forgeries counted", n)
	}
	if stateHash(sc.ep) != before {
		t.Error("forgeries changed the state")
	}
}
