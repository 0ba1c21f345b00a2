package lab

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A talk is numbered messages one way, and what came of them.
type talk struct {
	t       *testing.T
	from    *node.Conn
	every   time.Duration
	stop    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	sent    uint64
	next    uint64 // expected
	last    time.Time
	longest time.Duration // between two messages received
}

// talks lets the two ends of a session talk to each other.
func talks(t *testing.T, ab, ba *node.Conn, every time.Duration) []*talk {
	var both []*talk
	for _, way := range [][2]*node.Conn{{ab, ba}, {ba, ab}} {
		k := &talk{t: t, from: way[0], every: every, stop: make(chan struct{}), last: time.Now()}
		k.running.Go(k.send)
		k.running.Go(func() { k.receive(way[1]) })
		both = append(both, k)
	}
	return both
}

func (k *talk) send() {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-tick.C:
		case <-k.stop:
			k.mu.Lock()
			k.sent = n
			k.mu.Unlock()
			return
		}
		if err := k.from.Send(k.t.Context(), binary.BigEndian.AppendUint64(nil, n)); err != nil {
			k.t.Errorf("message %d: %v", n, err)
			return
		}
	}
}

func (k *talk) receive(to *node.Conn) {
	for m, err := range to.Messages(k.t.Context()) {
		if err != nil {
			return // the session is closed at the end
		}
		k.mu.Lock()
		if n := binary.BigEndian.Uint64(m.Data); n != k.next {
			k.t.Errorf("message %d arrived in place of %d", n, k.next)
		}
		k.next++
		k.longest = max(k.longest, time.Since(k.last))
		k.last = time.Now()
		k.mu.Unlock()
	}
}

// gap returns the longest silence of all since the last call.
func gap(talks []*talk) (longest time.Duration) {
	for _, k := range talks {
		k.mu.Lock()
		longest = max(longest, k.longest, time.Since(k.last))
		k.longest = 0
		k.mu.Unlock()
	}
	return longest
}

// finish ends the talks and checks that everything has arrived, once.
func finish(t *testing.T, talks []*talk) {
	t.Helper()
	for _, k := range talks {
		close(k.stop)
	}
	time.Sleep(5 * time.Second)
	for _, k := range talks {
		k.mu.Lock()
		if k.next != k.sent {
			t.Errorf("%d of %d messages arrived", k.next, k.sent)
		}
		k.mu.Unlock()
	}
}

// talking puts two nodes behind NATs and lets them talk directly, 200 messages a
// second each way.
func talking(t *testing.T, w *World, nat wiretest.NATConfig) (a, b Place, ab, ba *node.Conn, k []*talk) {
	t.Helper()
	a, b = w.addBehind(t, nat), w.addBehind(t, nat)
	ab, ba = call(t, a.Node, b.Node)
	if !eventually(time.Second, func() bool { return direct(ab, ba) }) {
		t.Fatalf("paths %v and %v", ab.Path(), ba.Path())
	}
	k = talks(t, ab, ba, 5*time.Millisecond)
	time.Sleep(time.Second)
	gap(k)
	return a, b, ab, ba, k
}
