package session

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
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
