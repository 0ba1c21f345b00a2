package reach

import (
	"math/rand/v2"
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

// A peer says which block its NAT takes ports from. That must not aim anybody's
// guesses at services.
func TestBlockOfServicePortsDrawsNothing(t *testing.T) {
	counting := wire.NAT{Mapping: wire.AddressAndPortDependent, Ports: wire.PortsSequential, Base: 40000, Step: 1}
	searching := wire.NAT{Mapping: wire.EndpointIndependent, Filtering: wire.AddressAndPortDependent}
	hostile := wire.NAT{Mapping: wire.AddressAndPortDependent, Ports: wire.PortsBlock, Low: 1, High: 200}
	for _, nat := range []wire.NAT{counting, searching} {
		link := uint32(0)
		me := &side{nat: nat, opens: func() uint32 { link++; return link }, chance: rand.New(rand.NewPCG(1, 1))}
		for round := range 4 {
			if p := planFor(me, &hostile, publicBob, round); len(p.guesses)+len(p.openers) > 0 {
				t.Errorf("round %d of %v: %v sends to %v", round, &nat, p.technique, append(p.guesses, p.openers...)[0].to)
			}
		}
	}
}
