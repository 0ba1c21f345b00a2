package session

import (
	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Both sides may dial each other at the same time. This file sees to it that one
// session comes of it (SPEC §4.1): the designated initiator insists on its own
// dial, and the other side lets the handshake that completes take over its own.

// designated reports whether this side is the initiator where both began: the
// one with the smaller key.
func (e *Endpoint) designated(peer wire.PeerID) bool {
	self := e.ID()
	return string(self[:]) < string(peer[:])
}

// crossedDial returns our own unanswered dial to the peer whose INIT came from
// p. The INIT shows that p reaches the peer, so the dial tries it at once.
func (e *Endpoint) crossedDial(now Time, peer wire.PeerID, p Path) *Session {
	for _, s := range e.dials[peer] {
		if s.dial.app == e.cfg.App {
			s.echoInit(now, p)
			return s
		}
	}
	return nil
}

// echoInit sends the INIT to where the peer's own came from. That one may be an
// old one, sent again by a stranger from the address of a victim: so it draws
// one frame and no more, and takes no place from the paths that were named.
func (s *Session) echoInit(now Time, p Path) {
	s.e.touch(s)
	x := dialPath{Path: p, next: now, echo: true}
	oldest, echoes := 0, 0
	for i := range s.dial.paths {
		d := &s.dial.paths[i]
		if d.Path == p {
			d.next = min(d.next, max(now, d.sent.Add(respInterval)))
			return
		}
		if d.echo {
			if echoes == 0 || d.sent < s.dial.paths[oldest].sent {
				oldest = i
			}
			echoes++
		}
	}
	if echoes == maxEchoPaths {
		s.dial.paths[oldest] = x
		return
	}
	s.dial.paths = append(s.dial.paths, x)
}

// settled reports whether an INIT belongs to a dial that crossed a handshake
// which has completed meanwhile: that session is the one that stays. It is
// nudged, since the peer seems not to know yet.
func (e *Endpoint) settled(p *handshake.Pending) bool {
	for _, s := range e.peers[p.Peer] {
		if s.peerParams.ConnID == p.Params.Crosses || s.ignored == p.Params.ConnID {
			s.pingNow = true
			e.touch(s)
			return true
		}
	}
	return false
}

// tieToHalfOpen has a dial that is about to begin take over the handshake that
// its peer began, should that complete first (SPEC §4.1). It reports whether
// there is one.
func (s *Session) tieToHalfOpen(app string, p *wire.Params) bool {
	if app != s.e.cfg.App {
		return false // what the peer began is for another application
	}
	halves := s.e.accepts.byPeer[s.peer]
	for _, h := range halves {
		h.half.crossed = s
		p.Crosses = h.local.live[0].id
	}
	return len(halves) > 0
}

// ignoreCrossed notes, from the answer to our dial, the dial of the peer that
// crossed it. That one has lost, whether its INIT is answered already or still
// to come.
func (s *Session) ignoreCrossed(id wire.ConnID) {
	if id == (wire.ConnID{}) {
		return
	}
	s.ignored = id
	for _, h := range s.e.accepts.byPeer[s.peer] {
		if h.peerParams.ConnID == id {
			s.e.silence(h)
			return
		}
	}
}

// confirm ends the handshake of a half-open session: the initiator has shown
// that it holds the keys. It returns the session that carries on, which is our
// own dial to the same peer if the two crossed, or nil if s gave way to one.
func (s *Session) confirm(now Time) *Session {
	dialed := s.half.crossed
	if s.half.sends == 1 {
		s.active.rec.RTT.Update(now.Sub(s.half.sentAt), 0, 0)
	} else {
		s.active.rec.RTT.Assume(now.Sub(s.half.first))
	}
	s.e.leaveHalfOpen(s)
	s.confirmed = true
	switch {
	case dialed == nil || !dialed.initiator || dialed.state != stateDialing && dialed.state != stateEstablished:
		// A dial gives way to one handshake only: where the peer has begun
		// several, it wants several sessions.
		s.established(now)
		return s
	case dialed.state == stateEstablished && s.e.designated(s.peer):
		// Both handshakes completed. The one that the smaller key began
		// stays; the peer decides the same way.
		s.e.silence(s)
		return nil
	}
	dialed.adopt(now, s)
	return dialed
}

// adopt continues s with the keys of x, which has just been confirmed and has
// carried nothing yet. Messages queued on s stay queued; whatever flew under the
// old keys is sent again.
func (s *Session) adopt(now Time, x *Session) {
	s.wake()
	wasUp := s.state == stateEstablished
	s.e.forgetDial(s)
	for _, l := range s.local.live {
		s.e.forgetID(l.id, s)
	}
	if wasUp {
		s.takeAllBack(now)
		s.bequeathProofs(x)
		delete(s.e.byToken, s.remote.current().token)
	}
	s.takeTransport(x)
	if s.congestion != x.congestion {
		s.chooseAgain()
	}
	for _, l := range s.local.live {
		s.e.byID[l.id] = s
	}
	s.e.byToken[s.remote.current().token] = s
	s.e.accepts.byMAC[s.initMAC] = s
	s.initiator, s.confirmed = false, true
	s.enterEstablished()
	s.e.discard(x)
	s.replenish()
	if !wasUp {
		s.e.emit(Event{Kind: Established, Session: s, Path: s.Path()})
	}
	s.e.touch(s)
}

// chooseAgain gives the paths that s has taken over, on which nothing was sent yet, the
// congestion control that s was dialled with.
func (s *Session) chooseAgain() {
	for _, p := range s.paths {
		rtt := p.rec.RTT
		p.rec.Init(s.congestion, p.mtu.Current())
		p.rec.RTT = rtt
	}
	s.loss.Activate(s.active.rec)
}

// takeAllBack queues whatever is in flight on any path once more.
func (s *Session) takeAllBack(now Time) {
	for _, p := range s.paths {
		s.loss.Requeue(p.rec, Never, &s.e.result)
		s.sendAgain(now)
	}
}

// bequeathProofs validates those paths of x that s has validated: they lead to
// the same peer.
func (s *Session) bequeathProofs(x *Session) {
	for _, p := range s.paths {
		if y := x.findPath(p.Path); y != nil && p.validated {
			y.validated, y.validatedAt = true, p.validatedAt
		}
	}
}

// discard ends the life of x, whose keys, paths and connection IDs another
// session has taken over.
func (e *Endpoint) discard(x *Session) {
	x.state, x.deadline = stateClosed, Never
	x.paths, x.active, x.keys = nil, nil, nil
	e.timers.fix(x)
	e.sessions--
}

// silence ends a handshake that gave way to another with the same peer. Its
// connection ID goes on being known for a while: a RESET in answer to what the
// peer still sends there would end the session that it is about to merge.
func (e *Endpoint) silence(s *Session) {
	e.leaveHalfOpen(s)
	s.state, s.closing.next = stateDraining, Never
	e.touch(s)
}
