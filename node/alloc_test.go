package node_test

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/node"
)

func TestSendingAndReceivingDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	alice, bob := listenUDP(t, node.Config{}), listenUDP(t, node.Config{})
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	there, here := ab.Channel(1, nil), ba.Channel(1, nil)
	data, buf := make([]byte, 100), make([]byte, 200)
	ctx := t.Context()
	pass := func() {
		if err := there.Send(ctx, data); err != nil {
			t.Fatal(err)
		}
		if _, err := here.RecvInto(ctx, buf); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		pass() // buffers reach their size
	}
	// Both nodes count, with their timers, and what the runtime does meanwhile.
	if n := testing.AllocsPerRun(2000, pass); n >= 1 {
		t.Errorf("%v allocations for each message", n)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	alice, bob := benchNode(b), benchNode(b)
	c, err := alice.DialAddr(b.Context(), bob.ID(), bob.LocalAddr())
	if err != nil {
		b.Fatal(err)
	}
	peer, err := bob.Accept(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	there, here := c.Channel(1, nil), peer.Channel(1, nil)
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := here.RecvInto(b.Context(), buf)
			if err != nil || here.Send(b.Context(), buf[:n]) != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := there.Send(b.Context(), buf); err != nil {
			b.Fatal(err)
		}
		if _, err := there.RecvInto(b.Context(), buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	for _, bench := range []struct {
		name string
		size int
	}{{"64B", 64}, {"64KiB", 64 << 10}} {
		b.Run(bench.name, func(b *testing.B) { benchStream(b, bench.size) })
	}
}

func benchStream(b *testing.B, size int) {
	alice, bob := benchNode(b), benchNode(b)
	c, err := alice.DialAddr(b.Context(), bob.ID(), bob.LocalAddr())
	if err != nil {
		b.Fatal(err)
	}
	peer, err := bob.Accept(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	there, here := c.Channel(1, nil), peer.Channel(1, nil)
	data := make([]byte, size)
	go func() {
		for range b.N {
			if there.Send(b.Context(), data) != nil {
				return
			}
		}
	}()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	buf := make([]byte, size)
	for range b.N {
		if _, err := here.RecvInto(b.Context(), buf); err != nil {
			b.Fatal(err)
		}
	}
}

func benchNode(b *testing.B) *node.Node {
	b.Helper()
	n, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.Close() })
	return n
}
