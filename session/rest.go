package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/channels"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

const (
	defaultRestAfter = time.Second     // of no messages (SPEC §9.1)
	restCheck        = 2 * time.Second // how often the sessions that are awake are looked at
)

// A session in which nothing is going on is at rest: what it needs only while it
// is in use has been given back, until it is next touched. Most of the sessions
// of a large node are at rest most of the time.
//
// Those awake are in a list, in the order in which they were last looked at. One
// timer looks at them, and not one for each. A keepalive does not wake a session
// (atrest.go).
type awakeList struct {
	first, last *Session
}

// awakeLinks is the place of a session in the list.
type awakeLinks struct {
	prev, next *Session
	since      Time // when it was last looked at
	listed     bool
}

func (l *awakeList) push(s *Session, now Time) {
	s.awake = awakeLinks{prev: l.last, since: now, listed: true}
	if l.last == nil {
		l.first = s
	} else {
		l.last.awake.next = s
	}
	l.last = s
}

// remove takes s from the list, if it is there.
func (l *awakeList) remove(s *Session) {
	a := s.awake
	if !a.listed {
		return
	}
	s.awake = awakeLinks{}
	if a.prev == nil {
		l.first = a.next
	} else {
		a.prev.awake.next = a.next
	}
	if a.next == nil {
		l.last = a.prev
	} else {
		a.next.awake.prev = a.prev
	}
}

// deadline is when the first of the list is to be looked at.
func (l *awakeList) deadline() Time {
	if l.first == nil {
		return Never
	}
	return l.first.awake.since.Add(restCheck)
}

// restSome looks at the sessions whose time it is.
func (e *Endpoint) restSome() {
	for e.awake.deadline() <= e.now {
		s := e.awake.first
		e.awake.remove(s)
		if !s.rest(e.now) {
			e.awake.push(s, e.now)
		}
	}
}

// work is what a session at rest has none of.
type work struct {
	left   leftBehind
	outage outage
	copies copyBudget

	closing   closeState
	fallback  *path // validated path to return to if the active one proves false
	holdUntil Time  // until when messages wait for others
	paceAt    Time  // when the pacer allows the next frame; Never or past if it is not in the way
}

// spares are records that sessions at rest have given back. The last is the first
// to be used again.
type spares[T any] struct{ free []*T }

const sparesMax = 64

func (p *spares[T]) get() *T {
	n := len(p.free)
	if n == 0 {
		return new(T)
	}
	x := p.free[n-1]
	p.free = p.free[:n-1]
	return x
}

// put takes back a record to which nothing points any more.
func (p *spares[T]) put(x *T) {
	if len(p.free) < sparesMax {
		var none T
		*x = none
		p.free = append(p.free, x)
	}
}

// wake makes s fit for use. It is called before anything about s is changed.
func (s *Session) wake() {
	if s.resting == nil {
		return
	}
	s.msgs = channels.Wake(s.e.channelsConfig(), s.resting)
	s.resting = nil
	s.work = s.e.works.get()
	s.e.awake.push(s, s.e.now)
	for _, x := range s.paths {
		if x.rec == nil {
			x.rec = s.e.recs.get()
			x.rec.Wake(&x.memory, s.congestion, x.mtu.Current())
		}
	}
	pn := s.loss.NextPN() // of the PING, if there is one
	s.loss.Wake(s.active.rec)
	if ping := s.asked; ping.at != 0 {
		s.asked = asked{}
		s.e.refs = append(s.e.refs[:0], recovery.Ref{Kind: wire.TypePing})
		s.loss.OnSent(ping.at, s.active.rec, pn, int(ping.size), recovery.AckEliciting, s.e.refs)
	}
}

// rest gives back what s needs only while it is in use. It reports false if s is
// in use.
func (s *Session) rest(now Time) bool {
	if !s.quiet(now) || !s.loss.Rest(now) {
		return false
	}
	memory, ok := s.msgs.Rest()
	if !ok {
		s.loss.Wake(s.active.rec)
		return false
	}
	s.resting, s.msgs = memory, nil
	s.e.awake.remove(s)
	s.keys.Rest()
	s.replay.Rest()
	s.acks.Rest()
	s.restPaths(now)
	s.e.works.put(s.work)
	s.work = nil
	return true
}

// restPaths forgets what is known of paths as far as it would be out of date
// anyway. Paths that share it keep it, since they are to share it afterwards too.
func (s *Session) restPaths(now Time) {
	for i, x := range s.paths {
		for _, y := range s.paths[i+1:] {
			if x.rec == y.rec {
				return
			}
		}
	}
	for _, x := range s.paths {
		if x.rec == nil {
			continue
		}
		var ok bool
		if x.memory, ok = x.rec.Rest(now, maxAckDelay); ok {
			s.e.recs.put(x.rec)
			x.rec = nil
		}
	}
}

// quiet reports whether nothing is going on but keepalives: no message for a
// while, nothing in flight or owed, no path in question.
func (s *Session) quiet(now Time) bool {
	if now.Sub(s.used) < s.e.restAfter || s.state != stateEstablished || s.queued {
		return false
	}
	if s.closing.whenSent || s.left.rec != nil || s.fallback != nil || s.suspect() || s.outage.stranded != 0 || s.outage.escort.path != nil {
		return false
	}
	if s.wantPing() || s.acks.Pending() || s.connIDsToSend() || s.keys.OldKeysExpiry() != Never || s.paceAt != Never && s.paceAt > now || s.holdUntil > now {
		return false
	}
	for _, x := range s.paths {
		if v := &x.validation; x.hasResponse || v.asking() || v.next != Never || v.retry != Never {
			return false
		}
	}
	return true
}
