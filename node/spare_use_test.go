package node_test

import (
	"testing"
	"testing/synctest"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// Both sides take a key that was made before, and make another.
func TestHandshakesTakeTheSpareKey(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		synctest.Wait()
		for range 3 {
			before := [2]any{p.alice.SpareKey(), p.bob.SpareKey()}
			dial(t, p.alice, p.bob)
			accept(t, p.bob)
			synctest.Wait()
			for i, n := range []*peer{p.alice, p.bob} {
				if key := n.SpareKey(); key == nil || before[i] == nil || key == before[i] {
					t.Fatalf("node %d: was a key there: %v, is there another: %v", i, before[i] != nil, key != nil && key != before[i])
				}
			}
		}
	})
}
