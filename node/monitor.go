package node

import (
	"github.com/seed-67dce94e/holdfast/node/netmon"
	"github.com/seed-67dce94e/holdfast/session"
)

// watch follows the host's network until the node is closed: after each change all
// paths are in doubt, and others may have come.
func (n *Node) watch() {
	switch {
	case n.cfg.PacketConn != nil:
	case n.cfg.Stack != nil:
		n.running.Go(func() { n.watchStack(n.cfg.Stack.Changed()) })
	default:
		m := netmon.Start(netmon.Config{})
		n.running.Go(func() {
			defer m.Close()
			n.watchSystem(m.Changes())
		})
	}
}

func (n *Node) watchStack(changed <-chan struct{}) {
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-changed:
			n.networkChanged()
		}
	}
}

func (n *Node) watchSystem(changes <-chan netmon.Change) {
	for {
		select {
		case <-n.ctx.Done():
			return
		case c, ok := <-changes:
			if !ok {
				return
			}
			if !c.Minor() {
				n.networkChanged()
				n.gatewayChanged()
			}
			if s := n.lan.socket; s != nil {
				s.Refresh()
			}
		}
	}
}

// gatewayChanged lets a gateway be looked for anew.
func (n *Node) gatewayChanged() {
	n.rebinding.Lock()
	defer n.rebinding.Unlock()
	if c := n.gateway.client; c != nil {
		c.Moved()
	}
}

// networkChanged tries all paths anew. The sockets stay: they are bound to no
// interface.
func (n *Node) networkChanged() {
	n.networkChanges.Add(1)
	for _, s := range n.shards {
		s.drive(func(now session.Time) {
			if !s.closed {
				s.moved(now)
			}
		})
	}
}
