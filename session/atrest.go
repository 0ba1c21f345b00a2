package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A keepalive passes at rest: to ask for a sign of life, to give one and to hear
// it takes keys, numbers and a round-trip time, and a session keeps those. All
// else wakes it first, the keepalive that nobody answers included:
//
//	         keepalive is due: PING            ACK of it
//	at rest ------------------------> asked -------------> at rest
//	    PING: ACK |  ^                  | probe timeout, or any other frame
//	              +--+                  v
//	                     awake, with the PING in flight

// asked is the PING that went out at rest and is not answered. Its packet number
// is the next one still.
type asked struct {
	at   Time // 0 if there is none
	size int32
	acks bool // it acknowledged something too
}

// settled reports whether a keepalive is all that there may be to say: the
// session rests on the one path it has, which works, under keys that will do.
func (s *Session) settled(now Time) bool {
	return s.resting != nil && len(s.paths) == 1 && s.active.validated && !s.rekeyDue(now) && !s.keys.Exhausted()
}

// askAtRest makes a keepalive due. It reports false if s has to be awake for what
// is due.
func (s *Session) askAtRest(now Time) bool {
	if !s.settled(now) || s.asked.at != 0 || s.pingNow {
		return false
	}
	s.pingNow = true
	return true
}

// timeoutAtRest runs what was due by now, or reports false if that is more than a
// keepalive.
func (s *Session) timeoutAtRest(now Time) bool {
	if s.resting == nil {
		return false
	}
	idle, _ := s.idleTimeout()
	return now < min(idle, s.idle.nextProbe) && now >= s.keepAliveAt() && s.askAtRest(now)
}

// hearAtRest takes in a frame of a keepalive: a PING, or the answer to ours. It
// reports false, and has changed nothing, if the frame is another, or did not come
// where and when it should.
func (s *Session) hearAtRest(in *inbound, p Path, size int, pn uint64, body []byte) bool {
	x := s.active
	if !s.settled(in.now) || p != x.Path || !s.heardPN || pn <= s.largest || s.keys.OldKeysExpiry() != Never {
		return false
	}
	ask, answer, ok := s.e.readKeepAlive(body)
	switch {
	case !ok, answer == nil && s.asked.at != 0, answer != nil && (s.asked.at == 0 || answer.Largest != s.loss.NextPN()):
		return false
	case answer != nil:
		s.answered(in.now, answer)
	}
	s.largest = pn
	s.replay.MarkTo(pn)
	s.noteUsedID(in.id)
	s.acks.OnReceived(in.now, pn, in.mark, ask, true)
	s.idle.received(in.now, false, 2*x.rtt().Smoothed())
	x.heard = in.now
	x.received += uint64(size)
	s.e.enqueue(s)
	return true
}

// readKeepAlive reads a frame that holds nothing but PING and ACK, one at most of
// the latter.
func (e *Endpoint) readKeepAlive(body []byte) (ask bool, answer *wire.Ack, ok bool) {
	for c := &e.chunk; len(body) > 0; {
		rest, err := wire.ConsumeChunk(body, c)
		switch {
		case err != nil:
			return false, nil, false
		case c.Type == wire.TypePing:
			ask = true
		case (c.Type == wire.TypeAck || c.Type == wire.TypeAckECN) && answer == nil:
			answer = &c.Ack
		case c.Type != wire.TypePadding:
			return false, nil, false
		}
		body = rest
	}
	return ask, answer, ask || answer != nil
}

// answered learns that the peer has heard the PING.
func (s *Session) answered(now Time, a *wire.Ack) {
	maxDelay := time.Duration(s.peerParams.MaxAckDelay) * time.Millisecond
	s.active.rtt().Update(now.Sub(s.asked.at), time.Duration(a.Delay)*time.Microsecond, maxDelay)
	s.keys.OnAck(s.loss.NextPN())
	s.loss.Answered()
	if largest, ok := s.acks.Largest(); ok && s.asked.acks {
		s.acks.OnAckAcked(largest)
	}
	s.asked = asked{}
}

// nextAtRest writes a PING, or the answer to one.
func (s *Session) nextAtRest(now Time, buf []byte) (Datagram, bool) {
	if !s.pingNow && !s.acks.Due(now) {
		return Datagram{}, false
	}
	x := s.active
	f := s.openFrame(buf, x, min(baseMTU, len(buf)))
	s.addAck(now, &f)
	acks := !f.empty()
	if s.wantPing() {
		f.addPing()
	}
	s.noteSpoken(&f)
	n := s.protect(now, &f)
	if f.eliciting {
		s.asked = asked{now, int32(n), acks}
	} else {
		s.loss.OnSent(now, nil, f.pn, n, 0, nil)
	}
	return Datagram{Path: x.Path, Data: buf[:n], Segment: n}, true
}

// settleAtRest is what settle does for a session that has not woken.
func (s *Session) settleAtRest(now Time) {
	s.restPaths(now) // what a path had to keep may be out of date by now
	idle, _ := s.idleTimeout()
	s.deadline = min(idle, s.keepAliveAt(), s.idle.nextProbe)
	if s.asked.at != 0 {
		s.deadline = min(s.deadline, s.asked.at.Add(max(s.active.pto(), silenceMin)))
	} else {
		s.keys.Rest()
	}
	s.e.timers.fix(s)
}
