package node

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/node/lan"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A neighbourhood finds peers on the local link without a server: a dial sends its
// INIT to a multicast group too. Whose key it is for recognises it, and answers;
// all others cannot tell whom it is for.
type neighbourhood struct {
	socket  *lan.Socket // nil if the machine has no multicast, or the node does not want any
	senders []*lan.Sender
}

// initTimes is when the INIT of a dial goes to the link, counted from its
// beginning.
var initTimes = []time.Duration{0, 250 * time.Millisecond, time.Second, 3 * time.Second}

// listenLAN joins the multicast groups. Without multicast there is no
// neighbourhood, which is no fault.
func (n *Node) listenLAN() {
	if !n.cfg.LAN || n.cfg.PacketConn != nil || n.cfg.Stack != nil {
		return
	}
	s, err := lan.Listen(lan.Config{Handle: n.handleLAN})
	if err != nil {
		n.log.Debugf("node: no multicast: %v", err)
		return
	}
	n.lan.socket = s
}

// renewLAN makes senders for the node's present sockets. Node.rebinding is held.
func (n *Node) renewLAN() {
	if n.lan.socket == nil {
		return
	}
	s := n.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	n.lan.senders = nil
	for _, sock := range s.sockets.all() {
		if udp, ok := sock.(*udpSocket); ok {
			n.lan.senders = append(n.lan.senders, lan.NewSender(udp.conn))
		}
	}
}

func (n *Node) closeLAN() {
	if n.lan.socket != nil {
		n.lan.socket.Close()
	}
}

// handleLAN takes what a neighbour has sent to the group: the INIT of a dial, or
// nothing.
func (n *Node) handleLAN(b []byte, from netip.AddrPort) {
	if wire.Classify(b) != wire.KindInit {
		return
	}
	s := n.shards[n.shardOf(b)]
	s.drive(func(now session.Time) {
		if !s.closed {
			s.core.HandleDatagram(now, session.Path{Remote: unmapped(from)}, wire.NotECT, b)
		}
	})
}

// callNeighbours sends the INIT of a dial to the link until it is over. The shard
// is locked.
func (d *dial) callNeighbours(round int) {
	n := d.shard.node
	if n.lan.socket == nil || round == len(initTimes) {
		return
	}
	wait := initTimes[round]
	if round > 0 {
		wait -= initTimes[round-1]
	}
	time.AfterFunc(wait, func() {
		d.shard.mu.Lock()
		var frame []byte
		if !d.over && d.sess != nil && !d.shard.closed {
			frame = bytes.Clone(d.sess.Init())
			d.callNeighbours(round + 1)
		}
		d.shard.mu.Unlock()
		if frame == nil {
			return
		}
		n.rebinding.Lock()
		senders := n.lan.senders
		n.rebinding.Unlock()
		for _, s := range senders {
			s.Send(frame) // an interface that does not take it has no neighbours
		}
	})
}
