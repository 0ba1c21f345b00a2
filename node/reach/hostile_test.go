package reach

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

// What a server that lies, or was taken over, can make a node hold and send.

func TestServerThatKeepsMovingItsSTUNFillsNoMemory(t *testing.T) {
	r := newOnlineRig(t, 1)
	for port := range uint16(1000) {
		r.control(0, (&wire.Registered{Observed: publicSelf, STUNPort: 20000 + port}).Append(nil))
	}
	if n := len(r.c.stun); n != 1 {
		t.Errorf("%d STUN servers are queried for one rendezvous server", n)
	}
	r.out = nil
	r.control(0, (&wire.Registered{Observed: publicSelf, STUNPort: 53}).Append(nil))
	r.wantNone(SendSTUN, "the port belongs to another service")
}
