package session

import (
	"net/netip"
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
	sc.wantChunk("what is new is taken, and a keepalive answered at once", wire.TypeAck)
}

// [S28] Keepalives of many sessions go out together, none of them late and none
// earlier than by a 32nd.
func TestKeepAlivesShareAwakenings(t *testing.T) {
	const sessions = 200
	d := newDuo(t, 0)
	for range sessions {
		d.now += Time(10 * time.Millisecond)
		d.dial()
	}
	for d.ends[0].e.awake.first != nil || d.ends[1].e.awake.first != nil {
		d.wait(restCheck)
	}
	spoke := make(map[*Session]Time)
	all := d.ends[0].e.peers[d.ends[1].e.ID()]
	for _, s := range all {
		spoke[s] = max(s.idle.heard, s.idle.spoke)
	}
	awakenings := 0
	for end := d.now.Add(15 * time.Second); d.now < end; awakenings++ {
		d.now = min(d.ends[0].e.Deadline(), d.ends[1].e.Deadline())
		for i := range d.ends {
			d.ends[i].e.HandleTimeout(d.now)
			d.settle()
		}
		for _, s := range all {
			gap := s.idle.spoke.Sub(spoke[s])
			if gap > 0 && gap < 15*time.Second*31/32 || gap > 15*time.Second {
				t.Fatalf("a session speaks after %v", gap)
			}
			if gap > 0 {
				spoke[s] = d.now
			}
		}
	}
	if awakenings > sessions/8 {
		t.Errorf("%d awakenings for %d sessions", awakenings, sessions)
	}
}

// [S40] Whatever is done to a session at rest, by either side, meets it awake.
func TestSessionAtRestIsReadyForAnything(t *testing.T) {
	relay := Path{Link: 3}
	other := Path{Remote: netip.MustParseAddrPort("203.0.113.9:9")}
	buf := make([]byte, 1200)
	for name, do := range map[string]func(s *Session, now Time){
		"Send":          func(*Session, Time) {}, // below
		"Recv":          func(s *Session, now Time) { s.Recv(now, 0) },
		"RecvInto":      func(s *Session, now Time) { s.RecvInto(now, 0, buf) },
		"Cancel":        func(s *Session, now Time) { s.Cancel(now, 1) },
		"Hold":          func(s *Session, now Time) { s.Hold(now) },
		"Configure":     func(s *Session, now Time) { s.Configure(1, ChannelOptions{Priority: 1}) },
		"SetKeepAlive":  func(s *Session, now Time) { s.SetKeepAlive(now, time.Second) },
		"Stats":         func(s *Session, now Time) { s.Stats() },
		"Paths":         func(s *Session, now Time) { s.Paths(nil) },
		"AddPath":       func(s *Session, now Time) { s.AddPath(now, other) },
		"AddPath again": func(s *Session, now Time) { s.AddPath(now, s.Path()) },
		"Punch":         func(s *Session, now Time) { s.Punch(now, buf) },
		"Moved":         func(s *Session, now Time) { s.Moved(now) },
		"Retry":         func(s *Session, now Time) { s.Retry(now) },
		"DropLink":      func(s *Session, now Time) { s.DropLink(now, relay.Link) },
		"Close":         func(s *Session, now Time) { s.Close(now, 1, "enough") },
		"CloseWhenSent": func(s *Session, now Time) { s.CloseWhenSent(now, 1, "enough") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.deep = true
			a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
			sa, _ := w.connect(a, b)
			w.run(2*restCheck, nil)
			if sa.resting == nil {
				t.Fatal("not at rest")
			}
			a.introduce(other)
			a.change(func(now Time) { do(sa, now) })
			w.run(100*time.Millisecond, nil)
			if s := a.session(); s != nil {
				a.mustPost(s, Message{}, 500)
			}
			w.run(2*time.Second, nil)
			if err := w.ledger.settled(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("Send, rather waiting", func(t *testing.T) {
		w := newWorld(t, 1)
		a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
		sa, _ := w.connect(a, b)
		w.run(2*restCheck, nil)
		a.mustPost(sa, Message{Mode: wire.Unreliable, Wait: true}, 10)
	})
	t.Run("another session with the peer", func(t *testing.T) {
		w := newWorld(t, 1)
		w.deep = true
		a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
		w.connect(a, b)
		w.run(2*restCheck, nil)
		b.restart()
		b.dial(a, a.path())
		w.want("the old session ends by a RESET", 5*time.Second, func() bool { return a.counts[Closed] == 1 })
	})
}

// A path that carried much begins again where it would have without the rest.
func TestRestKeepsWhatIsKnownOfThePath(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	sa, _ := w.connect(a, b)
	for range 20 {
		a.mustPost(sa, Message{}, 50_000)
		w.run(200*time.Millisecond, nil)
	}
	before := sa.Stats()
	w.run(defaultRestAfter+restCheck, nil)
	if sa.active.rec != nil {
		t.Fatal("not at rest")
	}
	a.mustPost(sa, Message{}, 10)
	after := sa.Stats()
	if after.SmoothedRTT != before.SmoothedRTT || after.MinRTT != before.MinRTT || after.MTU != before.MTU {
		t.Errorf("%+v, before %+v", after, before)
	}
	if want := 12000; after.CongestionWindow < want || after.CongestionWindow > before.CongestionWindow {
		t.Errorf("window %d", after.CongestionWindow)
	}
}
