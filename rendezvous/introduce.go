package rendezvous

import (
	"container/list"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// startMargin is added to the moment when both peers can have heard of the
// start: a server's timers and queues are not perfect.
const startMargin = 10 * time.Millisecond

// A pending introduction waits for the one who was invited.
//
//	    INTRODUCE                INVITE
//	a ------------> server ----------------> b      it may prepare itself
//	                server <---------------- b
//	     PUNCH                   ACCEPT
//	a <------------ server ----------------> b
//	                             PUNCH
type pending struct {
	at       clock.Time // when the one who asks did
	from, to *client
	m        wire.Introduce
}

type pendingKey struct {
	to *client
	id uuid.UUID
}

// A waitingRoom holds the introductions that are pending, the oldest first.
type waitingRoom struct {
	byKey map[pendingKey]*list.Element
	byAge list.List // of *pending
}

// acceptTimeout is how long the invited may take, its own preparations included.
const acceptTimeout = 5 * time.Second

func (w *waitingRoom) add(p *pending) {
	if w.byKey == nil {
		w.byKey = make(map[pendingKey]*list.Element)
	}
	k := pendingKey{p.to, p.m.ID}
	if old := w.byKey[k]; old != nil {
		w.byAge.Remove(old)
	}
	w.byKey[k] = w.byAge.PushBack(p)
	w.expire(p.at)
}

// take removes and returns what the invited answers, or nil.
func (w *waitingRoom) take(now clock.Time, k pendingKey) *pending {
	w.expire(now)
	e := w.byKey[k]
	if e == nil {
		return nil
	}
	delete(w.byKey, k)
	return w.byAge.Remove(e).(*pending)
}

func (w *waitingRoom) expire(now clock.Time) {
	for e := w.byAge.Front(); e != nil; e = w.byAge.Front() {
		p := e.Value.(*pending)
		if now.Sub(p.at) < acceptTimeout && w.byAge.Len() <= pendingMax {
			return
		}
		w.byAge.Remove(e)
		delete(w.byKey, pendingKey{p.to, p.m.ID})
	}
}

// introduce invites the peer to be introduced, or tells the one who asked why
// not. Whoever asks learns nothing of a peer that is not told to everyone: absent,
// busy and unwilling are the same answer, and its own limits are charged before
// the peer is looked up.
func (h *hub) introduce(now clock.Time, from *client, m *wire.Introduce) {
	if !from.validated {
		h.refuse(from, m.ID, m.Peer, wire.RefusedBusy, validationTime(from))
		return
	}
	if wait := h.chargeIntroduction(now, from, m.Peer); wait > 0 {
		h.stats.Limited++
		h.refuse(from, m.ID, m.Peer, wire.RefusedRateLimited, wait)
		return
	}
	to := h.registry.byPeer[m.Peer]
	if to == nil || to == from || !to.target.Take(now, targetRate, 1) {
		h.stats.Refused++
		h.refuse(from, m.ID, m.Peer, wire.RefusedAbsent, h.settling(now))
		return
	}
	if h.locate(to); !to.validated {
		h.refuse(from, m.ID, m.Peer, wire.RefusedBusy, validationTime(to))
		return
	}
	h.waiting.add(&pending{at: now, from: from, to: to, m: *m})
	i := wire.Invite(*m)
	i.Peer, i.Candidates = from.peer, candidatesFor(to, from, &m.NAT, &m.Candidates)
	h.send(to, i.Append(nil))
}

// accept orders both peers to probe each other at the same moment, now that
// both want to.
func (h *hub) accept(now clock.Time, to *client, m *wire.Accept) {
	p := h.waiting.take(now, pendingKey{to, m.ID})
	if p == nil || !p.from.registered || p.from.peer != m.Peer {
		return // too late, or the one who asked has gone
	}
	if !m.Accepted {
		h.stats.Refused++
		h.refuse(p.from, m.ID, to.peer, wire.RefusedAbsent, h.settling(now))
		return
	}
	h.locate(p.from) // it may have moved since it asked
	for _, c := range []*client{p.from, to} {
		if !c.validated {
			h.refuse(p.from, m.ID, to.peer, wire.RefusedBusy, validationTime(c))
			return
		}
	}
	h.stats.Introductions++
	start := h.start(now, p)
	h.punch(p.from, to, p, &m.NAT, &m.Candidates, start, true)
	h.punch(to, p.from, p, &p.m.NAT, &p.m.Candidates, start, false)
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

func (h *hub) refuse(c *client, id uuid.UUID, peer wire.PeerID, code wire.RefusedCode, retry time.Duration) {
	r := wire.Refused{ID: id, Peer: peer, Code: code}
	if retry > 0 {
		r.RetryAfter = uint32(retry.Milliseconds()) + 1 // not less than needed
	}
	h.send(c, r.Append(nil))
}

// punch tells c to probe peer, so long after receipt that both begin at start,
// counted from now.
func (h *hub) punch(c, peer *client, p *pending, nat *wire.NAT, list *wire.Candidates, start time.Duration, initiator bool) {
	m := wire.Punch{
		ID: p.m.ID, Peer: peer.peer, StartIn: uint32((start - c.rtt/2).Microseconds()), Initiator: initiator,
		Round: p.m.Round, NAT: *nat, Candidates: candidatesFor(c, peer, nat, list),
	}
	h.send(c, m.Append(nil))
}

// start returns how long from now both sides are to start. Both start at once, as
// soon as both can: a probe that reaches a NAT long before the first one from
// inside may make it remap the flow. If the session is fresh, they can when the
// handshake has gone over the server to the one asked and back, and the one asked
// has seen by a first frame that it is complete; the INIT passed the server at the
// same time as INTRODUCE.
func (h *hub) start(now clock.Time, p *pending) time.Duration {
	from, to := p.from.rtt/2, p.to.rtt/2
	start := max(from, to)
	if p.m.Fresh {
		start = max(start, 2*from+3*to-now.Sub(p.at))
	}
	return start + startMargin
}
