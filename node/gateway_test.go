package node

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/seed-67dce94e/holdfast/node/portmap"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// giveGateway lets a node believe that it has a gateway, which maps nothing.
func giveGateway(n *Node) {
	n.rebinding.Lock()
	defer n.rebinding.Unlock()
	n.gateway = gateway{client: portmap.Start(portmap.Config{
		Gateway: func() (portmap.Gateway, error) { return portmap.Gateway{}, portmap.ErrNoGateway },
	})}
}

func TestMappingOfAPortThatIsLeftIsForgotten(t *testing.T) {
	n := listen(t)
	giveGateway(n)
	filtering := func() (f wire.NATBehavior) {
		n.shards[0].drive(func(session.Time) { f = n.shards[0].reach.client.Findings().NAT.Filtering })
		return f
	}
	n.mappingChanged(portmap.Status{External: netip.MustParseAddrPort("203.0.113.1:4000")})
	if filtering() != wire.EndpointIndependent {
		t.Fatal("the mapped port is not known")
	}
	if err := n.Rebind("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if filtering() == wire.EndpointIndependent {
		t.Error("peers are still told of the port that was mapped for the old socket")
	}
	if n.gateway.client != nil {
		t.Error("the old port is still being mapped, of which nobody has any use")
	}
}

func TestCloseWhileInterfacesChange(t *testing.T) {
	n := listen(t)
	giveGateway(n)
	var changes sync.WaitGroup
	changes.Go(func() {
		for !isClosed(n.closed) {
			n.gatewayChanged()
		}
	})
	n.Close()
	changes.Wait()
}

// listen returns a node on loopback.
func listen(t *testing.T) *Node {
	t.Helper()
	n, err := Listen(&Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}
