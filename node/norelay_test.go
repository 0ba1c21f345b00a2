package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// behindNATs starts a server and two nodes behind NATs of one kind, and waits
// until the server knows both.
func behindNATs(t *testing.T, net *nodetest.Net, nat wiretest.NATConfig, cfg node.Config) (alice, bob *peer) {
	t.Helper()
	server, err := rendezvous.Listen(&rendezvous.Config{
		PacketConn: net.Listen(net.Host("server", nil, addr("203.0.113.250")), 3478),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	cfg.Rendezvous = []string{server.Server().String()}
	one := net.NAT("nat-a", nil, nat, addr("203.0.113.1"))
	two := net.NAT("nat-b", nil, nat, addr("203.0.113.2"))
	alice = listenOn(t, net, net.Host("alice", one, addr("10.0.1.2")), cfg)
	bob = listenOn(t, net, net.Host("bob", two, addr("10.0.2.2")), cfg)
	for _, p := range []*peer{alice, bob} {
		net.Do(func(*wiretest.Net) { p.host.SetLink(wiretest.Link{Delay: 15 * time.Millisecond}) })
		if err := p.WaitOnline(within(t, 5*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return alice, bob
}

func TestNoRelayReturnsSessionsThatAreDirect(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		cone := wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}
		alice, bob := behindNATs(t, net, cone, node.Config{NoRelay: true})
		ab, err := alice.Dial(within(t, 5*time.Second), bob.ID())
		if err != nil {
			t.Fatal(err)
		}
		ba := accept(t, bob)
		for _, c := range []*node.Conn{ab, ba} {
			if c.Path().Kind != node.Direct {
				t.Errorf("the path is %v", c.Path())
			}
		}
		send(t, ab, "past the relay")
		want(t, ba, "past the relay")
	})
}

func TestNoRelayDialFailsWhereOnlyTheRelayWorks(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		symmetric := wiretest.NATConfig{
			Mapping: wiretest.AddressAndPortDependent, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort,
		}
		alice, bob := behindNATs(t, net, symmetric, node.Config{NoRelay: true})
		_, err := alice.Dial(within(t, 5*time.Second), bob.ID())
		var failed *node.DialError
		if !errors.As(err, &failed) || !errors.Is(err, node.ErrNoDirectPath) {
			t.Errorf("within 5 s: %v", err)
		}
		start := time.Now()
		if _, err = alice.Dial(within(t, time.Minute), bob.ID()); !errors.Is(err, node.ErrNoDirectPath) {
			t.Errorf("within a minute: %v", err)
		}
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, p := range []*peer{alice, bob} {
			time.Sleep(time.Second) // virtual: until the goodbye is there
			if n := len(p.Status().Peers); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		}
	})
}
