package reach

import (
	"net/netip"
	"testing"
	"time"

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

// One server of several sees the node elsewhere each time. The others limit how
// often a node may speak: it must not make us exceed that.
func TestServerThatLiesDoesNotUseUpTheOthers(t *testing.T) {
	r := newOnlineRig(t, 2)
	registers := 0
	for n := range byte(100) { // 10 s
		seen := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 99, n}), 4001)
		r.control(0, (&wire.Registered{Observed: seen}).Append(nil))
		r.advance(100 * time.Millisecond)
		for _, a := range r.out {
			if a.Kind == SendControl && a.Server == 1 {
				registers++
			}
		}
		r.out = nil
	}
	if registers < 10 || registers > 50 {
		t.Errorf("the honest server was told %d addresses in 10 s", registers)
	}
}
