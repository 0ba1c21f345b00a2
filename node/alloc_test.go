// The race detector allocates.

//go:build !race

package node_test

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/node"
)

func TestSendingAndReceivingDoNotAllocate(t *testing.T) {
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
	// Both nodes count, with their timers, and what the runtime does meanwhile. Where the
	// system has the acknowledgements wait, more is in flight than ever before, and that
	// allocates: what each message allocates does so in every run.
	least := testing.AllocsPerRun(2000, pass)
	for range 9 {
		least = min(least, testing.AllocsPerRun(500, pass))
	}
	if least >= 1 {
		t.Errorf("%v allocations for each message", least)
	}
}
