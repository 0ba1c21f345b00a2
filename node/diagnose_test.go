package node

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

func TestServerOnThisMachineSaysNothingOfTheNetwork(t *testing.T) {
	d := Diagnosis{UDP: Yes, NAT: wire.NAT{Mapping: wire.EndpointIndependent}}
	for _, c := range []struct {
		observed string
		want     string
	}{
		{"127.0.0.1:4000", "the server is on this machine"},
		{"[::1]:4000", "the server is on this machine"},
		{"203.0.113.1:4000", "behind a NAT that keeps one port"},
	} {
		d.Servers = []ServerStatus{{Observed: netip.MustParseAddrPort(c.observed)}}
		d.judge()
		if !strings.HasPrefix(d.Verdict, c.want) {
			t.Errorf("seen as %s: %q, want %q", c.observed, d.Verdict, c.want)
		}
	}
}

// Silence of the probe ports is no proof that no firewall stands before the node.
func TestPublicAddressMayBeBehindAFirewall(t *testing.T) {
	for filtering, want := range map[wire.NATBehavior]string{
		wire.BehaviorUnknown:         "public address, perhaps behind a firewall",
		wire.AddressAndPortDependent: "public address behind a firewall",
		wire.AddressDependent:        "public address: direct paths to everybody",
	} {
		d := Diagnosis{UDP: Yes, Public: Yes, NAT: wire.NAT{Filtering: filtering}}
		d.Servers = []ServerStatus{{Observed: netip.MustParseAddrPort("203.0.113.1:4000")}}
		d.judge()
		if !strings.HasPrefix(d.Verdict, want) {
			t.Errorf("filtering %v: %q, want %q", filtering, d.Verdict, want)
		}
	}
}

// It is for the race detector.
func TestDiagnoseWhileClosing(t *testing.T) {
	for range 20 {
		n := listen(t)
		var examinations sync.WaitGroup
		examinations.Go(func() { n.Diagnose(t.Context()) })
		n.Close()
		examinations.Wait()
	}
}
