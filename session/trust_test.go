package session

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// [S39] A direct path that failed brings data back after two answers, or after
// one if it is named anew when its failure is a while ago.
func TestPathThatFailedMustAnswerTwice(t *testing.T) {
	for _, c := range []struct {
		name    string
		outage  time.Duration
		answers int
		named   bool
	}{{"by itself", 5 * time.Second, 2, false}, {"named too soon", 2 * time.Second, 2, true}, {"named", 5 * time.Second, 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			l := wiretest.Link{Delay: 30 * time.Millisecond}
			a, b, sa, sb := w.connectWithRelay(l, l)
			w.run(2*time.Second, nil)
			a.mustPost(sa, Message{}, 100)
			a.host.SetLink(wiretest.Link{Blackhole: true})
			w.run(c.outage, nil)
			dead := sa.findPath(b.path())
			if !sa.Path().IsRelay() || dead == nil {
				t.Fatal("not on the relay")
			}
			a.host.SetLink(l)
			if c.named {
				a.addPath(sa, b.path())
			}
			back, answers := w.now, 0
			w.want("on the direct path", 10*time.Second, func() bool {
				answers = max(answers, int(dead.answers))
				return !sa.Path().IsRelay() && !sb.Path().IsRelay()
			})
			if answers != c.answers {
				t.Errorf("after %d answers, want %d", answers, c.answers)
			}
			if d := w.now.Sub(back); c.named && d > time.Second {
				t.Errorf("after %v", d)
			}
		})
	}
}

// [S39] Two answers at the same moment are one: the second is asked for a probe
// timeout after the first.
func TestSecondAnswerIsAProbeTimeoutLater(t *testing.T) {
	sc := dialedScript(t, Config{})
	direct, relay := sc.here, Path{Link: 1}
	sc.change(func(now Time) { sc.s.AddPath(now, relay) })
	sc.prove(relay)
	sc.here = direct
	sc.ackAll()
	sc.quieten()
	sc.send(100)
	sc.advance(sc.s.active.pto())
	sc.prove(relay)
	sc.advance(scriptRTT * 2)
	sc.wantPath("which answers", relay)
	dead := sc.s.findPath(direct)
	sc.here = relay
	sc.ackAll()
	sc.take()
	sc.advance(firstRetry)
	sc.prove(direct)
	first := sc.now
	sc.ackAll()
	sc.wantPath("after one answer", relay)
	sc.advance(dead.pto())
	got := times(sc.take(), direct, wire.TypePathChallenge, first)
	got = slices.DeleteFunc(got, func(d time.Duration) bool { return d < 0 })
	if len(got) == 0 || got[0] < dead.pto() {
		t.Errorf("asked again after %v; the probe timeout is %v", got, dead.pto())
	}
}
