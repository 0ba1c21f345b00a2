package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// silence measures how long a peer waits for the next message.
type silence struct {
	last  Time
	worst time.Duration
}

func (p *peer) measureSilence() *silence {
	x := &silence{last: p.now}
	p.onArrival = func(*entry) {
		x.worst = max(x.worst, p.now.Sub(x.last))
		x.last = p.now
	}
	return x
}

// connectWithRelay joins two peers by a session that knows a direct path and a relay.
func (w *world) connectWithRelay(direct, relayed wiretest.Link) (a, b *peer, onA, onB *Session) {
	a, b = w.pair(direct)
	toB, toA := w.relay(a, b, relayed)
	onA, onB = w.connect(a, b)
	a.addPath(onA, toB)
	b.addPath(onB, toA)
	return a, b, onA, onB
}

// chatter lets p send 200 messages a second until the world is told to stop.
func (p *peer) chatter(s *Session, stop *bool) {
	p.every(5*time.Millisecond, func() bool {
		if !*stop {
			p.mustPost(s, Message{Receipt: true}, 60)
		}
		return !*stop
	})
}

// [S36] Whatever dies of a direct path, no receiver waits longer than 250 ms
// where there is a relay, and nothing is lost, repeated or reordered.
func TestFailoverIsHardlyHeard(t *testing.T) {
	for _, c := range []struct {
		name     string
		up, down bool
		loss     float64
	}{{"both ways", true, true, 0}, {"one way", true, false, 0}, {"other way", false, true, 0}, {"lossy", true, true, 0.05}} {
		t.Run(c.name, func(t *testing.T) {
			var worst time.Duration
			eachSeed(t, 0.1, func(w *world) {
				a, b, sa, sb := w.connectWithRelay(wiretest.Link{Delay: 30 * time.Millisecond}, wiretest.Link{Delay: 60 * time.Millisecond})
				w.run(2*time.Second, nil)
				a.host.SetLink(wiretest.Link{Delay: 30 * time.Millisecond, Loss: c.loss})
				stop := false
				a.chatter(sa, &stop)
				b.chatter(sb, &stop)
				w.run(2*time.Second+time.Duration(rand.New(rand.NewPCG(w.seed, 1)).Int64N(int64(time.Second))), nil)
				if sa.Path().IsRelay() {
					w.fatalf("on the relay before anything is wrong")
				}
				atA, atB := a.measureSilence(), b.measureSilence()
				a.host.Up.Blackhole, a.host.Down.Blackhole = c.up, c.down
				w.run(5*time.Second, nil)
				stop = true
				w.want("everything arrives", 5*time.Second, func() bool { return w.ledger.settled() == nil })
				if d := max(atA.worst, atB.worst); d > worst {
					worst = d
				}
				if d := max(atA.worst, atB.worst); d > 250*time.Millisecond {
					t.Errorf("seed %d: silent for %v and %v", w.seed, atA.worst, atB.worst)
				}
				if !sa.Path().IsRelay() || !sb.Path().IsRelay() {
					w.fatalf("not on the relay: %v, %v", sa.Path(), sb.Path())
				}
			})
			t.Logf("longest silence %v", worst)
		})
	}
}

// [S36] What is copied for one suspicion is bounded, and fits the relay.
func TestEscortIsBounded(t *testing.T) {
	sc := acceptedScript(t, Config{})
	relay := Path{Link: 1}
	sc.change(func(now Time) { sc.s.AddPath(now, relay) })
	sc.quieten()
	sc.send(100)
	sc.take()
	inFlight := sc.s.active.rec.InFlight()
	sc.advance(sc.s.active.pto())
	frames := sc.take()
	sc.now = sc.now.Add(time.Millisecond)
	var copies, size, alone int
	for i := range 400 {
		sc.send(50 + i)
	}
	frames = append(frames, sc.take()...)
	seen := make(map[string]Path)
	for _, f := range frames {
		switch other, twice := seen[string(f.raw)]; {
		case f.to == relay && twice:
			copies++
			size += f.size
			if other == relay {
				t.Error("twice on the relay")
			}
			if f.size > relayMTU {
				t.Errorf("a copy of %d bytes", f.size)
			}
			if f.has(wire.TypePathChallenge) || f.has(wire.TypePathResponse) {
				t.Error("the copy asks for the active path")
			}
		case f.to == relay && !f.has(wire.TypePathChallenge):
			alone++
		}
		seen[string(f.raw)] = f.to
	}
	if copies == 0 || copies > escortFrames+probesPerTimeout || size > escortBytes+relayMTU*(1+probesPerTimeout) {
		t.Errorf("%d copies of %d bytes", copies, size)
	}
	if alone > 0 {
		t.Errorf("%d frames on the relay that are no copies", alone)
	}
	sent := 0
	for _, f := range frames {
		if f.to != relay {
			sent += f.size
		}
	}
	if got := sc.s.active.rec.InFlight() - inFlight; got > sent {
		t.Errorf("%d bytes more in flight after %d were sent", got, sent)
	}
	sc.write(ping)
	if sc.s.outage.escort.path == nil {
		t.Error("a frame of the peer's ended the escort: the path may be dead in our direction")
	}
	e := &sc.s.outage.escort
	for _, spent := range []escort{{frames: escortFrames}, {bytes: escortBytes}} {
		sc.s.probes, e.frames, e.bytes = 0, spent.frames, spent.bytes
		if sc.s.escorted() {
			t.Errorf("copied beyond %+v", spent)
		}
		if sc.s.probes = 1; !sc.s.escorted() {
			t.Error("a probe goes alone")
		}
	}
}

// [S36] One buffer of the endpoint's serves all escorts.
func TestCopiesAllocateNothing(t *testing.T) {
	sc := acceptedScript(t, Config{})
	relay := Path{Link: 1}
	sc.change(func(now Time) { sc.s.AddPath(now, relay) })
	sc.quieten()
	sc.s.wake()
	sc.s.beginEscort(sc.now)
	sealed, buf := make([]byte, relayMTU), make([]byte, baseMTU)
	twice := func() {
		sc.s.keepCopy(sealed, true)
		d, ok := sc.s.nextCopy(buf)
		if !ok || d.Path != relay || len(d.Data) != len(sealed) {
			t.Errorf("no copy: %v", d.Path)
		}
		if _, again := sc.s.nextCopy(buf); again {
			t.Error("a third time")
		}
	}
	if n := testing.AllocsPerRun(100, twice); n != 0 {
		t.Errorf("%v allocations for a copy", n)
	}
	sc.s.keepCopy(sealed, true)
	sc.s.outage.pass()
	if _, ok := sc.s.nextCopy(buf); ok || sc.s.copied {
		t.Error("a copy outlived the suspicion")
	}
}

// [S37] A direct path that was silent for 20 s is in doubt at once.
func TestDormantPathIsEscortedAtOnce(t *testing.T) {
	sc := acceptedScript(t, Config{KeepAlive: -1})
	relay := Path{Link: 1}
	sc.change(func(now Time) { sc.s.AddPath(now, relay) })
	sc.quieten()
	copied := func() bool {
		sc.send(100)
		return len(times(sc.take(), relay, wire.TypeMessage, sc.now)) > 0
	}
	sc.write(ping)
	sc.advance(doubtAfter)
	if copied() {
		t.Error("in doubt too early")
	}
	sc.ackAll()
	sc.quieten()
	sc.advance(doubtAfter + 1)
	if !copied() {
		t.Error("not in doubt")
	}
	sc.write(ping)
	if copied() {
		t.Error("still in doubt although the path is heard")
	}
}

// SPEC §9: the end of an outage is noticed without being told.
func TestOutageEndsUnannounced(t *testing.T) {
	for _, announced := range []bool{false, true} {
		t.Run(fmt.Sprint("announced ", announced), func(t *testing.T) {
			limit := 280 * time.Millisecond // 250 ms, and one way
			if announced {
				limit = 50 * time.Millisecond // 20 ms, and one way
			}
			var worst time.Duration
			eachSeed(t, 0.1, func(w *world) {
				l := wiretest.Link{Delay: 30 * time.Millisecond}
				a, b, sa, _ := w.connectWithRelay(l, l)
				w.run(2*time.Second, nil)
				stop := false
				a.chatter(sa, &stop)
				w.run(time.Second+time.Duration(rand.New(rand.NewPCG(w.seed, 1)).Int64N(int64(time.Second))), nil)
				a.host.SetLink(wiretest.Link{Blackhole: true})
				a.links[0].host.SetLink(wiretest.Link{Blackhole: true})
				w.run(5*time.Second, nil)
				a.host.SetLink(l)
				a.links[0].host.SetLink(l)
				back, arrived := w.now, Time(0)
				b.onArrival = func(*entry) {
					if arrived == 0 {
						arrived = w.now
					}
				}
				if announced {
					a.change(sa.Retry)
				}
				w.want("a message arrives", 2*time.Second, func() bool { return arrived != 0 })
				worst = max(worst, arrived.Sub(back))
				if d := arrived.Sub(back); d > limit {
					t.Errorf("seed %d: after %v", w.seed, d)
				}
				stop = true
				w.want("everything arrives", 5*time.Second, func() bool { return w.ledger.settled() == nil })
			})
			t.Logf("at most %v", worst)
		})
	}
}

// Messages with short deadlines are fresh when they arrive, however long the
// outage was.
func TestOutageLeavesNothingStale(t *testing.T) {
	eachSeed(t, 0.1, func(w *world) {
		l := wiretest.Link{Delay: 30 * time.Millisecond}
		a, b := w.pair(l)
		sa, _ := w.connect(a, b)
		w.run(time.Second, nil)
		const life = 300 * time.Millisecond
		stop := false
		w.every(5*time.Millisecond, func() bool {
			_, _ = a.post(sa, Message{Mode: wire.Unreliable, Deadline: w.now.Add(life)}, 100)
			return !stop
		})
		w.run(time.Second+time.Duration(rand.New(rand.NewPCG(w.seed, 1)).Int64N(int64(time.Second))), nil)
		a.host.SetLink(wiretest.Link{Blackhole: true})
		w.run(5*time.Second, nil)
		a.host.SetLink(l)
		back, arrived := w.now, Time(0)
		b.onArrival = func(x *entry) {
			if arrived == 0 {
				arrived = w.now
			}
			if age := w.now.Sub(x.at); age > life+l.Delay {
				t.Errorf("seed %d: a message %v old arrived", w.seed, age)
			}
		}
		w.want("a message arrives", time.Second, func() bool { return arrived != 0 })
		if d := arrived.Sub(back); d > 150*time.Millisecond+l.Delay {
			t.Errorf("seed %d: the first after %v", w.seed, d)
		}
		stop = true
	})
}

// [S26] A direct path that comes back is used again soon, although nobody but the
// session looks for it.
func TestDirectPathThatComesBackIsUsedAgain(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 4 * time.Second, 20 * time.Second} {
		t.Run(outage.String(), func(t *testing.T) {
			eachSeed(t, 0.1, func(w *world) {
				a, b, sa, sb := w.connectWithRelay(wiretest.Link{Delay: 30 * time.Millisecond}, wiretest.Link{Delay: 60 * time.Millisecond})
				stop := false
				a.chatter(sa, &stop)
				b.chatter(sb, &stop)
				w.run(2*time.Second, nil)
				a.host.Up.Blackhole, a.host.Down.Blackhole = true, true
				w.run(outage, nil)
				if !sa.Path().IsRelay() || !sb.Path().IsRelay() {
					w.fatalf("not on the relay: %v, %v", sa.Path(), sb.Path())
				}
				a.host.Up.Blackhole, a.host.Down.Blackhole = false, false
				w.want("both return to the direct path", 3*time.Second, func() bool {
					return !sa.Path().IsRelay() && !sb.Path().IsRelay()
				})
				stop = true
			})
		})
	}
}
