package rendezvous

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// relay takes a message on wire.ChannelRelay. It returns the registered client
// that it is for, and appends the message for it to b; or nil if it is dropped.
// Both ends pay, in bytes: the sender so that it cannot use up the server, the
// receiver so that many senders cannot use up it.
func (h *hub) relay(now clock.Time, from *client, msg, b []byte) (to *client, out []byte) {
	peer, datagram, err := wire.ParseRelay(msg)
	if err != nil || !from.registered {
		h.stats.Malformed++
		return nil, b
	}
	size := float64(len(datagram))
	if !from.relayFrom.Take(now, h.relayRate, size) {
		h.stats.RelayDropped++
		return nil, b
	}
	to = h.registry.byPeer[peer]
	switch {
	case to == nil || to == from:
		h.gone(now, from, peer)
		return nil, b
	case !to.relayTo.Take(now, h.relayRate, size):
		h.stats.RelayDropped++
		return nil, b
	}
	h.stats.RelayedDatagrams++
	h.stats.RelayedBytes += uint64(len(datagram))
	return to, append(wire.AppendRelay(b, from.peer), datagram...)
}

// gone tells a client that nobody takes what it sends to a peer.
func (h *hub) gone(now clock.Time, c *client, peer wire.PeerID) {
	h.stats.RelayDropped++
	if c.gone.Take(now, goneRate, 1) {
		m := wire.Gone{Peer: peer}
		h.send(c, m.Append(nil))
	}
}
