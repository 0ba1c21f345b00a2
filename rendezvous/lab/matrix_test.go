package lab

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var seed = flag.Uint64("seed", 1, "decides what the pretend networks do")

// firstWithin is how long the first message may take from the dial on: one and a half
// round trips over the relay, and hardly more.
const firstWithin = 3*2*oneWay + 10*time.Millisecond

// Every pair of kinds comes to what it must, whoever dials.
func TestEachPairComesToWhatItMust(t *testing.T) {
	for a := range kinds {
		for b := range kinds {
			if raceDetector && b > a {
				continue // to save time: who dials makes no difference to races
			}
			p := Pair{a, b}
			t.Run(fmt.Sprintf("%v,%v", a, b), func(t *testing.T) {
				var r Result
				var err error
				for n := range networks(p) {
					synctest.Test(t, func(t *testing.T) {
						r, err = Run(t.Context(), p, Options{Seed: *seed + uint64(n)})
						if err == nil {
							err = r.Err(true)
						}
					})
					if err == nil {
						break
					}
				}
				if err != nil {
					t.Fatalf("%v\nreplay: go test ./rendezvous/lab -run '%s' -seed %d\n%+v\n%s", err, t.Name(), *seed, r.Explained, r.Ladder)
				}
				if r.FirstMessage > firstWithin {
					t.Errorf("first message after %v, want at most %v", r.FirstMessage, firstWithin)
				}
				limit := DirectWithin(p.A, p.B) // of the median
				if networks(p) > 1 {
					limit *= 3
				}
				if r.DirectAfter > limit {
					t.Errorf("direct after %v, want at most %v", r.DirectAfter, limit)
				}
			})
		}
	}
}

// networks is on how many networks a pair may try its luck. What is a matter of
// chance fails on one in ten: a block of ports that is used up leaves no second
// try before its mappings have expired.
func networks(p Pair) int {
	chance := func(k Kind) bool { return k == PortBlock || k == Random }
	if chance(p.A) || chance(p.B) {
		return 5
	}
	return 1
}
