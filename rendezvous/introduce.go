package rendezvous

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// startMargin is added to the moment when both peers can have heard of the
// start: a server's timers and queues are not perfect.
const startMargin = 10 * time.Millisecond

// introduce orders both peers to probe each other at the same moment, or tells
// the one who asked why not. Whoever asks learns nothing of a peer that is not
// told to everyone: absent and busy are the same answer, and its own limits are
// charged before the peer is looked up.
func (h *hub) introduce(now clock.Time, from *client, m *wire.Introduce) {
	if !from.validated {
		h.refuse(from, m, wire.RefusedBusy, validationTime(from))
		return
	}
	from.hosts = acceptable(&m.Candidates, from.addr.Addr())
	if wait := h.chargeIntroduction(now, from, m.Peer); wait > 0 {
		h.stats.Limited++
		h.refuse(from, m, wire.RefusedRateLimited, wait)
		return
	}
	to := h.registry.byPeer[m.Peer]
	if to == nil || to == from || !to.target.Take(now, targetRate, 1) {
		h.stats.Refused++
		h.refuse(from, m, wire.RefusedAbsent, h.settling(now))
		return
	}
	if h.locate(to); !to.validated {
		h.refuse(from, m, wire.RefusedBusy, validationTime(to))
		return
	}
	h.stats.Introductions++
	fromIn, toIn := starts(from.rtt/2, to.rtt/2, m.Fresh)
	h.punch(from, to, m, fromIn, true)
	h.punch(to, from, m, toIn, false)
}

// validationTime is how long to wait for a client to prove where it is. Its
// session has moved there on the word of one datagram, whose source can be
// forged; told to others, it would make them send to whoever is really there.
func validationTime(c *client) time.Duration { return c.rtt + startMargin }

// chargeIntroduction charges the limits of the one who asks, and returns how
// long to wait if they are exceeded.
func (h *hub) chargeIntroduction(now clock.Time, from *client, to wire.PeerID) (wait time.Duration) {
	if !from.introduce.Take(now, introduceRate, 1) {
		return from.introduce.Wait(now, introduceRate, 1)
	}
	p := pair{from.peer, to}
	if !h.pairs.Take(now, p, 1) {
		return h.pairs.Wait(now, p, 1)
	}
	return 0
}

func (h *hub) settling(now clock.Time) time.Duration {
	if now.Sub(h.started) < settleTime {
		return settleRetry
	}
	return 0
}

func (h *hub) refuse(c *client, m *wire.Introduce, code wire.RefusedCode, retry time.Duration) {
	r := wire.Refused{ID: m.ID, Peer: m.Peer, Code: code}
	if retry > 0 {
		r.RetryAfter = uint32(retry.Milliseconds()) + 1 // not less than needed
	}
	h.send(c, r.Append(nil))
}

// punch tells c to probe peer.
func (h *hub) punch(c, peer *client, m *wire.Introduce, in time.Duration, initiator bool) {
	p := wire.Punch{
		ID: m.ID, Peer: peer.peer, StartIn: uint32(in.Microseconds()),
		Initiator: initiator, Candidates: candidatesFor(c, peer),
	}
	h.send(c, p.Append(nil))
}

// starts returns how long after receipt of its PUNCH each side starts, given the
// one-way delays between them and the server. Both start at once, as soon as
// both can: a probe that reaches a NAT long before the first one from inside may
// make it remap the flow. If the session is fresh, they can when the handshake
// has gone over the server to the one asked and back, and the one asked has seen
// by a first frame that it is complete.
func starts(from, to time.Duration, fresh bool) (fromIn, toIn time.Duration) {
	start := max(from, to)
	if fresh {
		start = 2*from + 3*to // after the INIT has passed the server, at the same time as INTRODUCE
	}
	start += startMargin
	return start - from, start - to
}
