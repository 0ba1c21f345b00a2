package node

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Verdict is the answer to a question about the network: "unknown", "no" or
// "yes".
type Verdict = reach.Verdict

// Verdicts.
const (
	Undecided = reach.Unknown
	No        = reach.No
	Yes       = reach.Yes
)

// A Diagnosis is what a node has found out about its network.
type Diagnosis struct {
	UDP        Verdict        `json:"udp"`       // a server answers over UDP
	TCP        Verdict        `json:"tcp"`       // a server's WebSocket opens
	Servers    []ServerStatus `json:"servers"`   // and the round trip to each
	Addresses  []string       `json:"addresses"` // of this machine
	Observed   []string       `json:"observed"`  // as servers see it
	IPv6       Verdict        `json:"ipv6"`      // this machine has a global IPv6 address
	Public     Verdict        `json:"public"`    // servers see the machine's own address: there is no NAT
	NAT        wire.NAT       `json:"nat"`       // as peers are told
	Hairpin    Verdict        `json:"hairpin"`   // machines behind the NAT reach each other by its outside
	Poison     Verdict        `json:"poison"`    // an early packet from outside costs a flow its port
	AliveAfter time.Duration  `json:"alive_ns"`  // a mapping was still there after so long in silence; 0: not measured
	GoneAfter  time.Duration  `json:"gone_ns"`   // and gone after so long; 0: not seen to go
	PortMap    PortMapStatus  `json:"port_map"`  // what the gateway grants
	Complete   bool           `json:"complete"`  // nothing more is being found out
	Verdict    string         `json:"verdict"`   // in plain words
	Advice     string         `json:"advice"`    // one line
}

// A PortMapStatus says what the gateway offers.
type PortMapStatus struct {
	Found     Verdict        `json:"found"`              // some gateway maps ports
	Protocol  string         `json:"protocol,omitempty"` // "PCP", "NAT-PMP" or "UPnP"
	External  netip.AddrPort `json:"external,omitzero"`
	DoubleNAT bool           `json:"double_nat,omitempty"` // External is private: there is another NAT behind the gateway
	Error     string         `json:"error,omitempty"`
}

// Diagnose finds out what it can about the network until all is known or ctx ends:
// 15 s are enough. Mappings are watched for so long as well.
func (n *Node) Diagnose(ctx context.Context) Diagnosis {
	s := n.shards[0]
	begun := time.Now()
	tcp := make(chan Verdict, 1)
	n.begin(func() { tcp <- n.tryStreams() })
	streams := Undecided
	var d Diagnosis
	measured := false
	for {
		s.drive(func(now session.Time) {
			f := s.reach.client.Findings()
			if f.Done && !measured {
				measured = true
				s.reach.client.MeasureLifetime(now, quickLifetimes...)
			}
			d = s.reach.diagnosis(f)
		})
		select {
		case streams = <-tcp:
		default:
		}
		d.TCP = streams
		d.PortMap = n.portMapStatus()
		// Without a server, or without UDP to it, there is nothing to wait for.
		alone := len(d.Servers) == 0 || d.UDP != Yes && time.Since(begun) > offlinePatience
		d.Complete = (alone || measured && d.lifetimeKnown()) && d.TCP != Undecided
		if d.Complete || ctx.Err() != nil || n.isClosing() {
			d.judge()
			return d
		}
		n.pauseFor(ctx, diagnoseTick)
	}
}

const (
	diagnoseTick    = 100 * time.Millisecond
	offlinePatience = 4 * time.Second
)

// quickLifetimes are what fits into a diagnosis. Shorter ones than the first are
// not found in the field.
var quickLifetimes = []time.Duration{4 * time.Second, 8 * time.Second, 12 * time.Second}

func (d *Diagnosis) lifetimeKnown() bool {
	return d.Public == Yes || d.GoneAfter != 0 || d.AliveAfter >= quickLifetimes[len(quickLifetimes)-1]
}

func (n *Node) pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-n.closing:
	}
}

// tryStreams opens a WebSocket to each server, and closes it. It reports whether
// one of them took it.
func (n *Node) tryStreams() Verdict {
	taken := make(chan bool, len(n.servers))
	for _, server := range n.servers {
		n.running.Go(func() {
			c, err := n.dialStream(server.Addr)
			if err == nil {
				c.Close()
			}
			taken <- err == nil
		})
	}
	for range n.servers {
		if <-taken {
			return Yes
		}
	}
	return No
}

// diagnosis collects what is known. The shard is locked.
func (r *rendezvous) diagnosis(f reach.Findings) (d Diagnosis) {
	st := Status{}
	r.addStatus(&st)
	d.Servers = st.Servers
	d.NAT, d.Public, d.Hairpin = f.NAT, f.Public, f.Hairpin
	d.AliveAfter, d.GoneAfter = f.Lifetime.AtLeast, f.Lifetime.Below
	d.Addresses, d.Observed, d.IPv6 = []string{}, []string{}, No
	for _, h := range r.shard.node.hosts(r.shard.sockets) {
		d.Addresses = append(d.Addresses, h.Addr.Addr().String())
		if a := h.Addr.Addr(); a.Is6() && reach.ScopeOf(a) >= reach.ScopeDocumentation {
			d.IPv6 = Yes
		}
	}
	for _, a := range st.Reflexive {
		d.Observed = append(d.Observed, a.String())
	}
	for _, s := range st.Servers {
		switch {
		case s.Observed.IsValid():
			d.UDP = Yes
		case s.State == ServerRegistered && d.UDP == Undecided:
			d.UDP = No
		}
	}
	if f.Done {
		d.Poison = No
		if f.NAT.Has(wire.NATPoisonProne) {
			d.Poison = Yes
		}
		if f.NAT.Mapping != wire.EndpointIndependent {
			d.Poison = Undecided
		}
	}
	return d
}

// local reports whether every server that sees the node is on its own machine.
func (d *Diagnosis) local() bool {
	return !slices.ContainsFunc(d.Servers, func(s ServerStatus) bool {
		return s.Observed.IsValid() && !s.Observed.Addr().IsLoopback()
	})
}

// judge sums the findings up in plain words.
func (d *Diagnosis) judge() {
	mapped := d.PortMap.External.IsValid() && !d.PortMap.DoubleNAT
	switch {
	case len(d.Servers) == 0:
		d.Verdict = "no rendezvous server was named: there is nobody to ask"
		d.Advice = "name a server to learn more"
	case d.UDP != Yes && d.TCP != Yes:
		d.Verdict = "no server can be reached, neither over UDP nor over TCP"
		d.Advice = "check the network, the server's address and whether the server runs"
	case d.UDP != Yes:
		d.Verdict = "UDP is blocked: sessions go through a server's relay, over TCP"
		d.Advice = "let UDP pass to get direct paths"
	case d.Public == Yes && d.NAT.Filtering == wire.AddressAndPortDependent:
		d.Verdict = "public address behind a firewall: direct paths to almost everybody"
		d.Advice = "nothing to do"
	case d.Public == Yes && d.NAT.Filtering == wire.BehaviorUnknown && !d.local():
		d.Verdict = "public address, perhaps behind a firewall: the server has no probe ports, or they are blocked"
		d.Advice = "open the server's probe ports, the UDP ports after its own"
	case d.Public == Yes:
		d.Verdict = "public address: direct paths to everybody who has UDP"
		d.Advice = "nothing to do"
	case d.local():
		d.Verdict = "the server is on this machine: it cannot tell what the network looks like from outside"
		d.Advice = "name a server elsewhere to learn more"
	case mapped:
		d.Verdict = "behind a NAT whose gateway maps a port: direct paths to almost everybody"
		d.Advice = "nothing to do"
	case d.NAT.Mapping == wire.BehaviorUnknown:
		d.Verdict = "behind a NAT of unknown kind: the server has no probe ports, or they are blocked"
		d.Advice = "open the server's probe ports, the UDP ports after its own"
	case d.NAT.Mapping == wire.EndpointIndependent:
		d.Verdict = "behind a NAT that keeps one port for all: direct paths to most peers"
		d.Advice = "nothing to do"
	case d.NAT.Ports == wire.PortsSequential, d.NAT.Ports == wire.PortsBlock:
		d.Verdict = "behind a NAT that changes ports, but not beyond guessing: direct paths to most peers"
		d.Advice = "port mapping (UPnP, NAT-PMP or PCP) in the router, or IPv6, makes it certain"
	default:
		d.Verdict = "behind a NAT that changes ports at random: direct paths to peers with open NATs only, else through the relay"
		d.Advice = "switch on port mapping (UPnP, NAT-PMP or PCP) in the router, or IPv6, or the search (--search) on both sides"
	}
}
