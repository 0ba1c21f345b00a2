package session

import (
	"errors"
	"time"

	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// drainPTOs is how many probe timeouts an ended session is remembered, and old
// keys are kept, for what is still under way (RFC 9000 §10.2, RFC 9001 §6.5).
const drainPTOs = 3

// closeState is how a session ends.
type closeState struct {
	err      error // why the session has ended; nil while it has not
	whenSent bool  // close once everything sent is stored
	answers  bool  // the peer closed: each CLOSE of its is answered with one
	code     uint64
	reason   string
	next     Time // when CLOSE goes out (again); Never if it does not
	gap      time.Duration
}

// Close ends the session at once. The peer gets code and reason; messages not
// yet stored meet the fate Unknown. The event Closed follows.
func (s *Session) Close(now Time, code uint64, reason string) {
	s.e.enter(now)
	now = s.e.now
	s.wake()
	if s.closing.err != nil {
		return
	}
	if s.state != stateEstablished {
		s.fail(now, &CloseError{Code: code, Reason: reason})
		return
	}
	s.closing.code, s.closing.reason = code, reason
	s.end(&CloseError{Code: code, Reason: reason})
	s.sayClose(now)
}

// CloseWhenSent refuses further messages, waits until the peer has stored every
// reliable one, and then closes.
func (s *Session) CloseWhenSent(now Time, code uint64, reason string) {
	s.e.enter(now)
	s.wake()
	if s.closing.err != nil || s.closing.whenSent {
		return
	}
	if s.msgs.Drained() {
		s.Close(now, code, reason)
		return
	}
	s.closing.whenSent, s.closing.code, s.closing.reason = true, code, reason
}

// sayClose begins to tell the peer, and goes on until it is likely to know.
func (s *Session) sayClose(now Time) {
	pto := s.active.pto()
	s.state = stateClosing
	s.e.closing++
	s.closing.next, s.closing.gap = now, pto
	s.expires = now.Add(drainPTOs * pto)
	s.e.touch(s)
}

func (s *Session) nextClose(now Time, buf []byte) (Datagram, bool) {
	x := s.active
	if s.closing.next > now || !x.mayEmit() {
		return Datagram{}, false
	}
	s.closing.next = Never
	if !s.closing.answers {
		s.closing.next = now.Add(s.closing.gap)
		s.closing.gap *= 2
	}
	f := s.openFrame(buf, x, min(x.mtu.Current(), len(buf)))
	c := wire.Close{Code: s.closing.code, Reason: []byte(s.closing.reason)}
	f.b = s.acks.Append(now, f.b, f.limit)
	f.b = c.Append(f.b)
	f.refs = append(f.refs, recovery.Ref{Kind: wire.TypeClose})
	n := s.sealFrame(now, &f)
	return Datagram{Path: x.Path, Data: buf[:n], Segment: n}, true
}

// answerClosing repeats CLOSE to a peer that evidently has not heard it; the
// doubling gap bounds how often.
func (s *Session) answerClosing(now Time) {
	if s.closing.next > now.Add(s.closing.gap/4) {
		s.closing.next = now.Add(s.closing.gap / 4)
	}
}

// closeArrived ends the wait: the peer has heard, or closes too. Nothing more is
// said, also not in answer.
func (s *Session) closeArrived() {
	s.state, s.closing.next = stateDraining, Never
	s.e.closing--
}

// bringsClose reports whether a frame holds a CLOSE.
func (s *Session) bringsClose(b []byte) bool {
	for len(b) > 0 {
		rest, err := wire.ConsumeChunk(b, &s.e.chunk)
		if err != nil {
			return false
		}
		if s.e.chunk.Type == wire.TypeClose {
			return true
		}
		b = rest
	}
	return false
}

// Closing returns how many sessions this side has closed whose peers have not
// shown yet that they heard. It falls to zero in three probe timeouts at most;
// whoever wants its goodbyes heard keeps the sockets open until then.
func (e *Endpoint) Closing() int { return e.closing }

// closeDeadline is when CLOSE is repeated, or the wait is over. An address that
// may be sent nothing more is only waited for.
func (s *Session) closeDeadline(now Time) Time {
	if !s.active.mayEmit() {
		return s.expires
	}
	return min(s.expires, after(now, s.closing.next))
}

// peerClosed obeys the peer's CLOSE: everything ends. One CLOSE in answer lets
// the peer know that it was heard (RFC 9000 §10.2.2); nothing else is sent.
func (s *Session) peerClosed(now Time, c *wire.Close) {
	if s.closing.whenSent && s.msgs.Drained() {
		// Both sides have closed, and the peer has everything: this side's close
		// has come to its end as well.
		s.end(&CloseError{Code: s.closing.code, Reason: s.closing.reason})
	}
	s.end(&CloseError{Code: c.Code, Reason: string(c.Reason), Remote: true})
	s.state = stateDraining
	s.closing.code, s.closing.reason = 0, ""
	s.closing.answers, s.closing.next = true, now
	s.expires = now.Add(drainPTOs * s.active.pto())
}

// violated ends a session whose peer broke the protocol, and tells it so.
func (s *Session) violated(now Time, err error) {
	var p *ProtocolError
	if !errors.As(err, &p) {
		p = &ProtocolError{err.Error()}
	}
	s.wake()
	if s.closing.err != nil {
		return
	}
	s.closing.code, s.closing.reason = CodeProtocol, p.What
	s.end(p)
	s.sayClose(now)
}

// fail ends a session without a word to the peer, which is gone or must not
// hear one.
func (s *Session) fail(now Time, err error) {
	s.end(err)
	s.e.drop(s)
}

// end reports the end of the session, and of every message on it, to the caller.
func (s *Session) end(err error) {
	s.wake()
	if s.closing.err != nil {
		return
	}
	s.e.awake.remove(s)
	s.closing.err = err
	if s.state == stateEstablished {
		forget(s.e.peers, s.peer, s)
	}
	s.msgs.Abort()
	s.report()
	if s.state == stateHalfOpen {
		return // the caller has never heard of it
	}
	s.e.emit(Event{Kind: Closed, Session: s, Err: err})
}

// drop takes s out of the endpoint. What it has received can still be read.
func (e *Endpoint) drop(s *Session) {
	if s.state == stateClosed {
		return
	}
	e.forgetDial(s)
	e.leaveHalfOpen(s)
	if e.accepts.byMAC[s.initMAC] == s {
		delete(e.accepts.byMAC, s.initMAC)
	}
	for _, l := range s.local.live {
		e.forgetID(l.id, s)
	}
	if len(s.remote.live) > 0 {
		if t := s.remote.current().token; e.byToken[t] == s {
			delete(e.byToken, t)
		}
	}
	if s.state == stateClosing {
		e.closing--
	}
	if s.keys != nil {
		s.keys.Zero()
	}
	e.awake.remove(s)
	s.state, s.keys, s.paths, s.active, s.fallback = stateClosed, nil, nil, nil, nil
	s.left, s.local, s.remote = leftBehind{}, localIDs{}, remoteIDs{}
	s.deadline = Never
	e.timers.fix(s)
	e.sessions--
}
