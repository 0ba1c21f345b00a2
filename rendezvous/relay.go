package rendezvous

import (
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
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
	case !h.admits(now, to, from.peer, size):
		h.stats.RelayDropped++
		return nil, b
	}
	from.calls(peer)
	h.stats.RelayedDatagrams++
	h.stats.RelayedBytes += uint64(len(datagram))
	return to, append(wire.AppendRelay(b, from.peer), datagram...)
}

// admits charges the one a datagram is for. Peers that it has not sent anything
// to, and so may not want, share a small part of what it may receive: a flood of
// theirs leaves the rest to those it talks with.
func (h *hub) admits(now clock.Time, to *client, from wire.PeerID, size float64) bool {
	if _, known := to.called[from]; !known {
		part := limit.Rate{PerSecond: h.relayRate.PerSecond / strangersPart, Burst: h.relayRate.Burst / strangersPart}
		if !to.strangers.Take(now, part, size) {
			return false
		}
	}
	return to.relayTo.Take(now, h.relayRate, size)
}

// calls notes that the client relays to a peer. When there are too many it begins
// anew: those that it goes on talking with are soon there again.
func (c *client) calls(peer wire.PeerID) {
	if _, known := c.called[peer]; known {
		return
	}
	if c.called == nil {
		c.called = make(map[wire.PeerID]struct{})
	}
	if len(c.called) == calledMax {
		clear(c.called)
	}
	c.called[peer] = struct{}{}
}

// gone tells a client that nobody takes what it sends to a peer.
func (h *hub) gone(now clock.Time, c *client, peer wire.PeerID) {
	h.stats.RelayDropped++
	if c.gone.Take(now, goneRate, 1) {
		m := wire.Gone{Peer: peer}
		h.send(c, m.Append(nil))
	}
}
