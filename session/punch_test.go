package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// punch sends one punching frame from a link of p to where it leads.
func (p *peer) punch(s *Session, to Path) {
	p.introduce(to)
	p.change(func(now Time) {
		var buf [punchBuffer]byte
		n := s.Punch(now, buf[:])
		if n == 0 {
			p.fatalf("%s: nothing to punch with", p.name)
		}
		p.sendOne(to, wire.NotECT, buf[:n])
	})
}

// [S35] Peers on a relay find each other by punching, whichever side the frame
// that gets through came from, and from whatever socket it was sent.
func TestPunchMeetsAPunch(t *testing.T) {
	for _, c := range []struct {
		name string
		link uint32 // of the one who punches
		back bool   // the responder punches
	}{{"initiator", 0, false}, {"responder", 0, true}, {"socket", LinkSocket | 3, false}, {"responder's socket", LinkSocket | 3, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.deep = true
			a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
			onA, onB := w.relay(a, b, wiretest.Link{Delay: 20 * time.Millisecond})
			sa, sb := w.connect(a, b, onA)
			w.run(time.Second, nil)
			if sa.Path() != onA || sb.Path() != onB {
				t.Fatal("not on the relay")
			}
			from, with, to := a, sa, b
			if c.back {
				from, with, to = b, sb, a
			}
			for range 100 { // most guesses are wrong
				from.punch(with, Path{Link: c.link, Remote: to.path().Remote})
			}
			w.want("both sides are on the direct path", time.Second, func() bool {
				return !sa.Path().IsRelay() && !sb.Path().IsRelay()
			})
			if got := with.Path().Link; got != c.link {
				t.Errorf("on link %x, want %x", got, c.link)
			}
			for _, s := range []*Session{sa, sb} {
				if !s.active.validated {
					t.Errorf("%v is active and not validated", s.Path())
				}
			}
		})
	}
}

// [S35] A thousand guesses that reach nobody change nothing.
func TestPunchLeavesNoTrace(t *testing.T) {
	sc := acceptedScript(t, Config{})
	before, paths := sc.s.Stats(), len(sc.s.paths)
	var buf [punchBuffer]byte
	for range 1024 {
		sc.change(func(now Time) { sc.s.Punch(now, buf[:]) })
	}
	after := sc.s.Stats()
	if after.BytesInFlight != 0 || sc.s.loss.Outstanding() != 0 || len(sc.s.paths) != paths || after.SmoothedRTT != before.SmoothedRTT {
		t.Errorf("%d bytes in flight, %d frames outstanding, %d paths", after.BytesInFlight, sc.s.loss.Outstanding(), len(sc.s.paths))
	}
	if allocs := testing.AllocsPerRun(100, func() { sc.s.Punch(sc.now, buf[:]) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	f := sc.look(Datagram{Path: udp(9, 9), Data: buf[:sc.s.Punch(sc.now, buf[:])]})
	sc.here = udp(9, 9)
	sc.write(pathResponse(f.chunk(wire.TypePathChallenge).Path))
	for _, x := range sc.s.Paths(nil) {
		if x.Path == udp(9, 9) && x.Validated {
			t.Error("the answer to a guess validated the path it came by")
		}
	}
	sc.s.Close(sc.now, 0, "")
	if n := sc.s.Punch(sc.now, buf[:]); n != 0 {
		t.Errorf("%d bytes from a session that is closing", n)
	}
}
