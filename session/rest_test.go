package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// [S40] A session rests soon after its last message, on both sides, and a
// keepalive does not keep it awake: there is no timer but that of the next one.
func TestSessionRestsBetweenKeepAlives(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	sa, sb := w.connect(a, b)
	a.mustPost(sa, Message{}, 500)
	w.run(200*time.Millisecond, nil)
	if sa.resting != nil || sb.resting != nil {
		t.Fatal("at rest although a message has just gone")
	}
	w.run(defaultRestAfter+restCheck, nil)
	for range 3 {
		if sa.resting == nil || sb.resting == nil {
			t.Fatal("not at rest")
		}
		for _, p := range w.peers {
			s := p.session()
			if want := min(s.keepAliveAt(), s.idle.heard.Add(idleMin)); p.ep.Deadline() != want {
				t.Errorf("%s wakes up in %v, and not for the keepalive in %v", p.name, p.ep.Deadline().Sub(w.now), want.Sub(w.now))
			}
		}
		w.run(min(sa.keepAliveAt(), sb.keepAliveAt()).Sub(w.now)+200*time.Millisecond, nil)
	}
	if sa.stats.Sent < 4 {
		t.Error("no keepalives")
	}
	a.mustPost(sa, Message{}, 500)
	b.mustPost(sb, Message{}, 500)
	w.run(time.Second, nil)
	if err := w.ledger.settled(); err != nil {
		t.Error(err)
	}
}

// [S40] Which numbers were received is forgotten at rest, so all up to the
// highest count as received.
func TestFrameFromBeforeARestIsARepeat(t *testing.T) {
	sc := acceptedScript(t, Config{})
	held := sc.sealed(ping)
	sc.write(ping)
	sc.quieten()
	sc.advance(defaultRestAfter + restCheck)
	if sc.s.resting == nil {
		t.Fatal("not at rest")
	}
	before := sc.s.stats
	sc.deliver(held)
	sc.wantIdle("a frame from before the rest changes nothing")
	if got := sc.s.stats; got.Received != before.Received || got.Duplicates != before.Duplicates+1 {
		t.Errorf("%+v", got)
	}
	sc.write(ping)
	sc.advance(maxAckDelay)
	sc.wantChunk("what is new is taken", wire.TypeAck)
}
