package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// diagnosed checks what a node finds out about a network, and how soon.
func diagnosed(t *testing.T, p Place, verdict string, as func(d node.Diagnosis) bool) {
	t.Helper()
	begun := time.Now()
	d := p.Node.Diagnose(t.Context())
	if took := time.Since(begun); !d.Complete || took > 15*time.Second {
		t.Errorf("complete: %v, after %v", d.Complete, took)
	}
	if !strings.HasPrefix(d.Verdict, verdict+":") || d.Advice == "" || !as(d) {
		t.Errorf("%s; %s: %+v", d.Verdict, d.Advice, d)
	}
}

func TestDiagnosisOfEachKindOfNetwork(t *testing.T) {
	const (
		ei  = wire.EndpointIndependent
		ad  = wire.AddressDependent
		apd = wire.AddressAndPortDependent

		public     = "public address"
		firewalled = "public address behind a firewall"
		onePort    = "behind a NAT that keeps one port for all"
		guessable  = "behind a NAT that changes ports, but not beyond guessing"
	)
	for k, want := range [kinds]struct {
		verdict            string
		mapping, filtering wire.NATBehavior
		ports              wire.NATPorts
	}{
		Public:                   {public, ei, ad, 0},
		FullCone:                 {onePort, ei, ad, 0},
		AddressRestricted:        {onePort, ei, ad, 0},
		PortRestricted:           {onePort, ei, apd, 0},
		Linux:                    {onePort, ei, apd, 0},
		Sequential:               {guessable, apd, apd, wire.PortsSequential},
		PortBlock:                {guessable, apd, apd, wire.PortsBlock},
		Random:                   {"behind a NAT that changes ports at random", apd, apd, wire.PortsRandom},
		CarrierFullCone:          {onePort, ei, apd, 0},
		CarrierAddressRestricted: {onePort, ei, apd, 0},
		CarrierPortRestricted:    {onePort, ei, apd, 0},
		Firewall:                 {firewalled, ei, apd, 0},
		IPv6Firewall:             {firewalled, ei, apd, 0},
		UDPBlocked:               {"UDP is blocked", 0, 0, 0},
	} {
		k := Kind(k)
		t.Run(k.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *World) {
				diagnosed(t, w.add(t, k, nil), want.verdict, func(d node.Diagnosis) bool {
					translated := k != Public && k != Firewall && k != IPv6Firewall && k != UDPBlocked
					return d.TCP == node.Yes && (d.UDP == node.Yes) == (k != UDPBlocked) &&
						(d.Public == node.No) == translated && (d.AliveAfter == 12*time.Second) == translated &&
						(d.Poison == node.Yes) == (k == Linux) && (d.IPv6 == node.Yes) == (k == IPv6Firewall) &&
						d.NAT.Mapping == want.mapping && d.NAT.Filtering == want.filtering && d.NAT.Ports == want.ports
				})
			})
		})
	}
}

func TestDiagnosisTellsWhetherTheNATTurnsPacketsAround(t *testing.T) {
	for want, turns := range map[node.Verdict]bool{node.Yes: true, node.No: false} {
		inWorld(t, func(t *testing.T, w *World) {
			diagnosed(t, w.addBehind(t, wiretest.NATConfig{Hairpin: turns}), "behind a NAT that keeps one port for all",
				func(d node.Diagnosis) bool { return d.Hairpin == want })
		})
	}
}

func TestDiagnosisTellsHowLongMappingsLive(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		diagnosed(t, w.addBehind(t, wiretest.NATConfig{Lifetime: 10 * time.Second}), "behind a NAT that keeps one port for all",
			func(d node.Diagnosis) bool { return d.AliveAfter == 8*time.Second && d.GoneAfter == 12*time.Second })
	})
}
