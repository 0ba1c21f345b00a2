package session

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// SPEC §9: a session that has been silent both ways for 15 s sends a PING.
func TestSilentSessionSendsKeepAlives(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  time.Duration
		want time.Duration
	}{{"default", 0, 15 * time.Second}, {"configured", 3 * time.Second, 3 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			sc := acceptedScript(t, Config{KeepAlive: c.cfg})
			start := max(sc.s.idle.heard, sc.s.idle.spoke)
			sc.advance(c.want)
			if f := sc.wantChunk("a keep-alive", wire.TypePing); f.at.Sub(start) != c.want {
				t.Errorf("after %v of silence, want %v", f.at.Sub(start), c.want)
			}
		})
	}
	t.Run("off", func(t *testing.T) {
		sc := acceptedScript(t, Config{KeepAlive: -1, IdleTimeout: -1})
		sc.advance(time.Hour)
		sc.wantIdle("keep-alives are off")
		if sc.ep.Deadline() != Never {
			t.Errorf("a timer is set for %v", sc.ep.Deadline())
		}
	})
}

func TestIdleSessionEnds(t *testing.T) {
	sc := acceptedScript(t, Config{IdleTimeout: 10 * time.Second, KeepAlive: -1})
	heard := sc.s.idle.heard
	sc.advance(heard.Add(10*time.Second).Sub(sc.now) - 1)
	sc.wantNoEvent("the idle timeout is not over", Closed)
	sc.advance(1)
	if e := sc.wantEvent("the idle timeout is over", Closed); !errors.Is(e.Err, ErrIdleTimeout) {
		t.Error(e.Err)
	}
	sc.wantIdle("nobody is there to hear it")
}

// [S30] A session that names no idle timeout may sleep as long as it likes, and
// ends after two of its own silences that nothing answers.
func TestDormantSessionIsSilent(t *testing.T) {
	const dormant = 5 * time.Minute
	sc := acceptedScript(t, Config{})
	sc.change(func(now Time) { sc.s.SetKeepAlive(now, dormant) })
	start := max(sc.s.idle.heard, sc.s.idle.spoke)
	sc.advance(start.Add(dormant).Sub(sc.now) - 1)
	sc.wantIdle("the session is dormant")
	sc.wantNoEvent("the session is dormant", Closed)
	sc.advance(1)
	sc.wantChunk("a keep-alive", wire.TypePing)
	sc.quieten()
	sc.change(func(now Time) { sc.s.SetKeepAlive(now, 0) })
	start = max(sc.s.idle.heard, sc.s.idle.spoke)
	sc.advance(15 * time.Second)
	if f := sc.wantChunk("a keep-alive", wire.TypePing); f.at.Sub(start) != 15*time.Second {
		t.Errorf("after %v", f.at.Sub(start))
	}
}

// Two dormant sides do not end each other, and one that vanished is found out
// by the next word.
func TestDormantPair(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	sa, sb := w.connect(a, b)
	a.change(func(now Time) { sa.SetKeepAlive(now, 10*time.Minute) })
	b.change(func(now Time) { sb.SetKeepAlive(now, 10*time.Minute) })
	w.run(time.Hour, nil)
	if a.session() != sa || b.session() != sb {
		t.Fatal("a dormant session ended")
	}
	if n := sa.Stats().Sent; n > 60 {
		t.Errorf("%d datagrams in an hour", n)
	}
	a.host.SetLink(wiretest.Link{Blackhole: true})
	a.mustPost(sa, Message{}, 100)
	w.run(90*time.Second, nil)
	if err := a.lastClosed.Err; !errors.Is(err, ErrStranded) {
		t.Errorf("ended by %v", err)
	}
}

// [S28] A dormant session keeps alive over its relay alone, and leaves the direct
// path in peace. [S36] When it speaks again, what is copied holds no path chunks.
func TestDormantSessionAsksTheRelay(t *testing.T) {
	const dormant = 5 * time.Minute
	sc := acceptedScript(t, Config{})
	relay := Path{Link: 1}
	sc.change(func(now Time) { sc.s.AddPath(now, relay) })
	sc.prove(relay)
	sc.quieten()
	sc.change(func(now Time) { sc.s.SetKeepAlive(now, dormant) })
	sc.wantIdle("the session is dormant")
	sc.advance(max(sc.s.idle.heard, sc.s.idle.spoke).Add(dormant).Sub(sc.now))
	frames := sc.take()
	if len(frames) != 1 || frames[0].to != relay || !frames[0].has(wire.TypePathChallenge) {
		t.Fatalf("the keepalive is %v, want one challenge to the relay", frames)
	}
	sc.advance(scriptRTT)
	direct := sc.here
	sc.here = relay
	sc.write(pathResponse(frames[0].chunk(wire.TypePathChallenge).Path))
	sc.here = direct
	sc.send(100)
	copies, asked := 0, 0
	for _, f := range sc.take() {
		switch {
		case f.to == relay && f.has(wire.TypeMessage):
			copies++
			if f.has(wire.TypePathChallenge) || f.has(wire.TypePathResponse) {
				t.Errorf("a copy with path chunks: %v", f)
			}
		case f.to != relay && f.has(wire.TypePathChallenge):
			asked++
		}
	}
	if copies != 1 || asked != 1 {
		t.Errorf("%d copies, and the direct path asked %d times; want one each", copies, asked)
	}
}

// A declared idle timeout binds both sides: each speaks at least twice in it.
func TestKeepAliveObeysADeclaredIdleTimeout(t *testing.T) {
	sc := acceptedScript(t, Config{IdleTimeout: 8 * time.Second})
	sc.change(func(now Time) { sc.s.SetKeepAlive(now, time.Hour) })
	start := max(sc.s.idle.heard, sc.s.idle.spoke)
	sc.advance(4 * time.Second)
	if f := sc.wantChunk("a keep-alive", wire.TypePing); f.at.Sub(start) != 4*time.Second {
		t.Errorf("after %v", f.at.Sub(start))
	}
	if p := sc.s.params(); p.IdleTimeout != 8000 {
		t.Errorf("declared %d ms", p.IdleTimeout)
	}
	other := bareScript(t, Config{})
	other.dial(other.here)
	other.respond(other.wantKind("an INIT", wire.KindInit).raw, wire.Params{IdleTimeout: 6000})
	if p := other.s.params(); p.IdleTimeout != 0 {
		t.Errorf("declared %d ms without being told to", p.IdleTimeout)
	}
	if d := other.s.keepAlive(); d != 3*time.Second {
		t.Errorf("keepalive %v; the peer ends after 6 s", d)
	}
}

func TestShorterIdleTimeoutOfThePeerHolds(t *testing.T) {
	sc := bareScript(t, Config{KeepAlive: -1})
	sc.dial(sc.here)
	sc.respond(sc.wantKind("an INIT", wire.KindInit).raw, wire.Params{IdleTimeout: 5000})
	sc.quieten()
	sc.advance(5 * time.Second)
	sc.wantEvent("the peer forgets after 5 s", Closed)
}

// A stream that stops is asked about after two round trips, then after waits
// three times as long, until 2 s after the last data.
func TestSilenceWithinAStreamIsProbed(t *testing.T) {
	var i idleState
	i.start(epoch)
	for range streamRun - 1 {
		i.received(epoch, true, 0)
	}
	if i.nextProbe != Never {
		t.Error("a few messages are no stream")
	}
	i.received(epoch, true, 40*time.Millisecond)
	var probes []time.Duration
	for i.nextProbe != Never {
		probes = append(probes, i.nextProbe.Sub(epoch))
		i.silent(i.nextProbe)
	}
	want := []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 1300 * time.Millisecond}
	if len(probes) != len(want) {
		t.Fatalf("probes at %v, want %v", probes, want)
	}
	for n := range want {
		if probes[n] != want[n] {
			t.Errorf("probe %d at %v, want %v", n, probes[n], want[n])
		}
	}
	last := epoch.Add(time.Second)
	if i.received(last, true, 300*time.Millisecond); i.nextProbe.Sub(last) != 300*time.Millisecond {
		t.Errorf("a long path is probed after %v", i.nextProbe.Sub(last))
	}
	if i.received(last.Add(silenceWatch), true, 0); i.nextProbe > last.Add(300*time.Millisecond) {
		t.Error("data once in a while is taken for a stream")
	}
}
