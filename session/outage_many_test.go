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
		for range 8000 {
			for spent && sc.ep.probes.Take(sc.now, probeRate, 1) { // by the other sessions
			}
			sc.advance(time.Millisecond)
		}
		return len(sc.take()) / probesPerTimeout
	}
	alone, many := outage(false), outage(true)
	if alone < 40 {
		t.Errorf("alone it asks %d times in 8 s, want one in 150 ms", alone)
	}
	if many > 20 {
		t.Errorf("among many it asks %d times in 8 s, want few more than one in a second", many)
	}
}
