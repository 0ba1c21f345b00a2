package session

import (
	"testing"
	"time"
)

// [S38] An endpoint whose sessions all fall silent at once does not add to what
// ails it.
func TestManySilentSessionsAskSlowly(t *testing.T) {
	outage := func(spent bool) (probes int) {
		sc := acceptedScript(t, Config{})
		sc.quieten()
		sc.send(100)
		sc.take()
		for range 40000 {
			for spent && sc.ep.probes.Take(sc.now, probeRate, 1) { // by the other sessions
			}
			sc.advance(time.Millisecond)
		}
		return len(sc.take()) / probesPerTimeout
	}
	alone, many := outage(false), outage(true)
	if alone < 100 {
		t.Errorf("alone it asks %d times in 40 s, want one in 150 to 500 ms", alone)
	}
	if many > 30 {
		t.Errorf("among many it asks %d times in 40 s, want it to wait twice as long each time", many)
	}
}

// Who has many sessions whose time has come can look in between what has arrived: it may
// be what they wait for.
func TestTimeoutsOfManySessionsComeInTurns(t *testing.T) {
	const sessions = 10 * timeoutsMax
	d := newDuo(t, 0)
	m := Message{Data: make([]byte, 64)}
	var all []*Session
	for range sessions {
		d.dial()
		all = append(all, d.ends[0].s)
	}
	src := &d.ends[0]
	for _, s := range all {
		if _, err := s.Send(d.now, &m); err != nil {
			t.Fatal(err)
		}
	}
	drain := func() (n int) { // nothing arrives
		for _, ok := src.e.NextDatagram(d.now, d.buf); ok; _, ok = src.e.NextDatagram(d.now, d.buf) {
			n++
		}
		return n
	}
	drain()
	d.now = d.now.Add(time.Second)
	turns := 0
	for ; src.e.Deadline() <= d.now; turns++ {
		src.e.HandleTimeout(d.now)
		if n := drain(); n == 0 || n > 2*probesPerTimeout*timeoutsMax {
			t.Fatalf("turn %d: %d datagrams", turns, n)
		}
	}
	if turns != sessions/timeoutsMax {
		t.Errorf("the timeouts of %d sessions took %d turns", sessions, turns)
	}
}
