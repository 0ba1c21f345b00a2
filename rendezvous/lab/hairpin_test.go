package lab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// addBehindCarrier adds two nodes, each behind a router of its own, behind one carrier's NAT.
func (w *World) addBehindCarrier(t *testing.T, nat wiretest.NATConfig) (nodes [2]*node.Node) {
	t.Helper()
	carrier := w.Net.NAT("carrier", nil, nat, netip.MustParseAddr("203.0.113.1"))
	for k, name := range []string{"a", "b"} {
		n := byte(k + 1)
		p := Place{Kind: PortRestricted}
		p.Router = w.Net.NAT(name+"'s router", carrier, natOf(p.Kind), netip.AddrFrom4([4]byte{100, 64, n, 2}))
		p.Host = w.Net.Host(name, p.Router, netip.AddrFrom4([4]byte{192, 168, n, 2}))
		w.Net.Do(func(*wiretest.Net) { p.Host.SetLink(w.link) })
		p, err := w.start(p, nil)
		nodes[k] = online(t, p, err).Node
	}
	return nodes
}

// Two customers of a carrier meet if its NAT turns packets around. If not, both are told
// that this is why.
func TestCustomersOfOneCarrierMeetIfItsNATTurnsPacketsAround(t *testing.T) {
	for want, turns := range map[Outcome]bool{{Direct: true}: true, {Cause: node.CauseNoHairpin}: false} {
		t.Run(want.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *World) {
				n := w.addBehindCarrier(t, wiretest.NATConfig{
					Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort, Hairpin: turns,
				})
				ab, ba := call(t, n[0], n[1])
				time.Sleep(patience)
				for _, c := range []*node.Conn{ab, ba} {
					x := c.Explain(t.Context())
					got := Outcome{Direct: x.Path.Kind == node.Direct, Cause: x.Cause}
					if got != want || !x.Remote.Known || (x.Whose == "both sides") == turns {
						t.Errorf("%v, want %v; whose: %q; the peer has told: %v", got, want, x.Whose, x.Remote.Known)
					}
				}
			})
		})
	}
}
