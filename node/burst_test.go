package node

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// What is held back leaves at the time that was set when the first of it came, by the next
// message if the timer is late: more messages do not put it off, nor does a pause.
func TestBurstDoesNotPutItselfOff(t *testing.T) {
	for _, gap := range []time.Duration{time.Microsecond, 9 * time.Microsecond, 50 * time.Microsecond} {
		b := burst{run: steadyRun, seenAt: session.Time(time.Second), began: session.Time(time.Second - time.Millisecond)}
		end := session.Never
		for now := b.seenAt + 1; now < end; now = now.Add(gap) {
			b.see(now)
			if b.bytes == 0 && end != session.Never {
				break // it began anew: what was held back is taken to have left
			}
			if end == session.Never {
				end = b.end
			}
			if b.end != end {
				t.Fatalf("a message each %v: the end moves by %v", gap, b.end.Sub(end))
			}
			b.unseen++
			b.bytes += 64
		}
		b.see(end + 1)
		if b.run > burstRun && b.end > end { // else the next message lets go anyhow
			t.Errorf("a message each %v: the end has passed, and moves by %v", gap, b.end.Sub(end))
		}
	}
}
