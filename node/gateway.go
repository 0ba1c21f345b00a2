package node

import (
	"net"
	"net/netip"

	"github.com/seed-67dce94e/holdfast/node/portmap"
	"github.com/seed-67dce94e/holdfast/session"
)

// A gateway keeps a port mapped in the router before the node, where the router
// takes part (PCP, NAT-PMP, UPnP-IGD). All of it happens beside everything else:
// whatever the router does holds nothing up.
type gateway struct {
	client *portmap.Client // nil if there is no use for one
	port   uint16
}

// mapPort sees to it that the gateway maps the port that the node's sockets have
// now. Node.rebinding is held.
func (n *Node) mapPort() {
	port := n.LocalAddr().Port()
	wanted := n.wantsMapping()
	if wanted && n.gateway.client != nil && n.gateway.port == port {
		return
	}
	n.unmapPort()
	if !wanted {
		return
	}
	n.gateway = gateway{port: port, client: portmap.Start(portmap.Config{Port: port, OnChange: n.mappingChanged})}
}

// unmapPort gives the mapping up. Node.rebinding is held.
func (n *Node) unmapPort() {
	if c := n.gateway.client; c != nil {
		c.Close() // an error means that the mapping ends by itself, with its lease
		n.gateway = gateway{}
		n.mappingChanged(portmap.Status{}) // the client does not tell of its own end
	}
}

// wantsMapping reports whether anybody could come by a mapped port: peers learn of
// it through servers, and neither they nor the servers are on this machine.
func (n *Node) wantsMapping() bool {
	if n.cfg.NoPortMapping || n.cfg.RelayOnly || n.cfg.PacketConn != nil || n.cfg.Stack != nil {
		return false
	}
	if !n.LocalAddr().Addr().IsUnspecified() {
		return false
	}
	for _, s := range n.servers {
		host, _, err := net.SplitHostPort(s.Addr)
		ip, notIP := netip.ParseAddr(host)
		if err == nil && (notIP != nil && host != "localhost" || notIP == nil && !ip.IsLoopback()) {
			return true
		}
	}
	return false
}

func (n *Node) mappingChanged(st portmap.Status) {
	mapped := st.External
	if st.DoubleNAT {
		mapped = netip.AddrPort{} // nobody outside can use it
	}
	s := n.shards[0]
	s.drive(func(now session.Time) {
		if !s.closed {
			s.reach.client.SetMapped(now, mapped)
		}
	})
}

func (n *Node) portMapStatus() PortMapStatus {
	n.rebinding.Lock()
	c := n.gateway.client
	n.rebinding.Unlock()
	if c == nil {
		return PortMapStatus{}
	}
	st := c.Status()
	p := PortMapStatus{Protocol: st.Protocol, External: st.External, DoubleNAT: st.DoubleNAT, Error: st.Error}
	switch {
	case st.Protocol != "" || len(st.Answered) > 0:
		p.Found = Yes
	case st.Searched:
		p.Found = No
	}
	return p
}
