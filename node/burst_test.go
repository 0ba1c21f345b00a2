package node

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// What is held back leaves at the time that was set when the first of it came, by the next
// message if the timer is late: neither more messages nor a pause put that off.
func TestBurstDoesNotPutItselfOff(t *testing.T) {
	for _, gap := range []time.Duration{time.Microsecond, 9 * time.Microsecond, 50 * time.Microsecond} {
		now := session.Time(time.Second)
		b := burst{run: steadyRun, seenAt: now, unseen: 1, began: now.Add(-time.Millisecond)}
		b.see(now + 1)
		end := b.end
		for now < end {
			b.unseen++
			b.bytes += 64
			now = now.Add(gap)
			b.see(now)
			if b.run <= burstRun {
				break // a pause has ended the burst: this message lets go what is held back
			}
			if b.end != end {
				t.Fatalf("a message each %v: the end moves by %v", gap, b.end.Sub(end))
			}
		}
	}
}
