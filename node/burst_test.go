package node

import (
	"net"
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

// A sender that was kept waiting goes on with its burst; one that paused begins another.
func TestBurstGoesOnAfterAWaitForRoom(t *testing.T) {
	for _, waits := range []bool{true, false} {
		now := session.Time(time.Second)
		b := burst{run: steadyRun, seenAt: now, unseen: 1, began: now.Add(-time.Millisecond)}
		now = now.Add(time.Second)
		if waits {
			b.waited(now)
		}
		b.see(now)
		if goesOn := b.run == steadyRun; goesOn != waits {
			t.Errorf("waited: %v, goes on: %v", waits, goesOn)
		}
		if held, want := b.end.Sub(now), burstWait; waits {
			if want = burstLong; held != want {
				t.Errorf("a message is held back for %v, want %v", held, want)
			}
		} else if held != want {
			t.Errorf("a message after a pause is held back for %v, want %v", held, want)
		}
	}
}

// A shard has a socket for each address family. What floods one is no reason to lend the
// other, whose reader has nothing to do with it.
func TestOnlyTheFloodedSocketIsLent(t *testing.T) {
	flooded, other := newPacketSocket(pollableConn{}), newPacketSocket(pollableConn{})
	f := flood{sock: flooded}
	if !f.wants(0, flooded) || f.wants(0, other) {
		t.Errorf("wants the flooded one: %v, the other: %v", f.wants(0, flooded), f.wants(0, other))
	}
}

type pollableConn struct {
	net.PacketConn
	pollReader
}
