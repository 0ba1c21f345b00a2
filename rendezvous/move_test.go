package rendezvous_test

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A talk is 200 numbered messages a second one way, and what came of them.
type talk struct {
	t    *testing.T
	from *node.Conn
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	sent    uint64
	next    uint64 // expected
	last    time.Time
	longest time.Duration // between two messages received
}

func (l *lab) talk(from, to *node.Conn) *talk {
	k := &talk{t: l.t, from: from, stop: make(chan struct{}), last: time.Now()}
	k.wg.Go(k.send)
	k.wg.Go(func() { k.receive(to) })
	return k
}

func (k *talk) send() {
	tick := time.NewTicker(5 * time.Millisecond)
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

// gap returns the longest silence since the last call.
func (k *talk) gap() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := max(k.longest, time.Since(k.last))
	k.longest = 0
	return g
}

// finish ends the talk and checks that everything has arrived, once.
func (k *talk) finish() {
	k.t.Helper()
	close(k.stop)
	time.Sleep(5 * time.Second)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.next != k.sent {
		k.t.Errorf("%d of %d messages arrived", k.next, k.sent)
	}
}

// Both sides filter by port, so nothing from a new mapping gets in until the
// server has introduced the two again.
func TestSessionIsIntroducedAgainAfterAMove(t *testing.T) {
	strict := wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort}
	for _, test := range []struct {
		name string
		move func(a, b *wiretest.NAT)
		gap  time.Duration
	}{
		{"new port of the dialler", func(a, b *wiretest.NAT) { a.Rebind() }, time.Second},
		{"new port of the other", func(a, b *wiretest.NAT) { b.Rebind() }, time.Second},
		{"new address", func(a, b *wiretest.NAT) { a.Renumber(netip.MustParseAddr("203.0.113.77")) }, time.Second},
		{"both at once", func(a, b *wiretest.NAT) { a.Rebind(); b.Rebind() }, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				na, boxA := l.behind(1, strict)
				nb, boxB := l.behind(2, strict)
				ab, ba := l.connect(na, nb)
				if !eventually(time.Second, func() bool { return bothDirect(ab, ba) }) {
					t.Fatalf("paths %v and %v", ab.Path(), ba.Path())
				}
				there, back := l.talk(ab, ba), l.talk(ba, ab)
				time.Sleep(time.Second)
				there.gap()
				back.gap()
				for range 5 {
					l.Do(func(*wiretest.Net) { test.move(boxA, boxB) })
					time.Sleep(2 * time.Second)
					if there, back := there.gap(), back.gap(); max(there, back) > test.gap {
						t.Errorf("silence of %v there and %v back, want at most %v", there, back, test.gap)
					}
					if !bothDirect(ab, ba) {
						t.Errorf("paths %v and %v", ab.Path(), ba.Path())
					}
				}
				there.finish()
				back.finish()
				ab.Close()
			})
		})
	}
}

// crash ends the server's process without a word, and leaves its machine up.
func (l *lab) crash() {
	l.t.Helper()
	l.Do(func(*wiretest.Net) { l.host.Up.Blackhole, l.host.Down.Blackhole = true, true })
	if err := l.server.Close(); err != nil {
		l.t.Error(err)
	}
	l.Do(func(*wiretest.Net) { l.host.Up.Blackhole, l.host.Down.Blackhole = false, false })
}

func TestServerMayCrashAndReturn(t *testing.T) {
	for _, outage := range []time.Duration{0, 10 * time.Second, 70 * time.Second} {
		t.Run(outage.String(), func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				strict := wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}
				na, _ := l.behind(1, strict)
				nb, _ := l.behind(2, strict)
				ab, ba := l.connect(na, nb)
				eventually(time.Second, func() bool { return bothDirect(ab, ba) })
				there, back := l.talk(ab, ba), l.talk(ba, ab)
				time.Sleep(2 * time.Second)
				there.gap()
				back.gap()

				l.crash()
				time.Sleep(outage)
				l.startServer()
				if !eventually(5*time.Second, func() bool { return l.server.Stats().Registered == 2 }) {
					t.Errorf("5 s after the server's return: %+v", l.server.Stats())
				}
				time.Sleep(5 * time.Second)
				if there, back := there.gap(), back.gap(); max(there, back) > 50*time.Millisecond {
					t.Errorf("the direct session was silent for %v there and %v back", there, back)
				}
				there.finish()
				back.finish()
				ab.Close()
			})
		})
	}
}

func TestServerThatClosesIsLeftInPeace(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		a, b := l.public(1), l.public(2)
		l.online(a, b)
		if err := l.server.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		l.startServer()
		if !eventually(5*time.Second, func() bool { return l.server.Stats().Registered == 2 }) {
			t.Errorf("5 s after the server's return: %+v", l.server.Stats())
		}
		ab, ba := l.connect(a, b)
		l.exchange(ab, ba)
	})
}

func TestSessionOverTheRelayLosesNothing(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		hard := wiretest.NATConfig{
			Mapping: wiretest.AddressAndPortDependent, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort,
		}
		na, boxA := l.behind(1, hard)
		nb, _ := l.behind(2, hard)
		ab, ba := l.connect(na, nb)
		there, back := l.talk(ab, ba), l.talk(ba, ab)
		time.Sleep(2 * time.Second)
		there.gap()
		back.gap()
		for range 3 {
			l.Do(func(*wiretest.Net) { boxA.Rebind() })
			time.Sleep(5 * time.Second)
			if there, back := there.gap(), back.gap(); max(there, back) > time.Second {
				t.Errorf("silence of %v there and %v back", there, back)
			}
		}
		if ab.Path().Kind != node.Relayed {
			t.Errorf("path %v", ab.Path())
		}
		there.finish()
		back.finish()
		ab.Close()
	})
}
