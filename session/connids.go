package session

import (
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Limits on connection IDs (SPEC §7).
const (
	issuedIDs     = 3  // IDs the peer may use at a time: one in use, two spare
	activeIDs     = 4  // IDs of the peer that we hold at most
	pendingRetire = 50 // RETIRE_CONNECTION_ID chunks not yet acknowledged
)

// localIDs are the connection IDs that this side issued: what the peer
// addresses its frames to.
type localIDs struct {
	live []localID
	next uint64 // sequence number of the next one
}

type localID struct {
	seq   uint64
	id    wire.ConnID
	state sendState
}

// sendState follows one fact that the peer must come to know.
type sendState uint8

const (
	unsent sendState = iota
	inFlight
	known
)

// issue adds id under the next sequence number.
func (l *localIDs) issue(id wire.ConnID, s sendState) {
	l.live = append(l.live, localID{seq: l.next, id: id, state: s})
	l.next++
}

// retire removes the ID numbered seq. It reports false if it was never issued.
func (l *localIDs) retire(seq uint64) (id wire.ConnID, removed, ok bool) {
	for i := range l.live {
		if l.live[i].seq == seq {
			id = l.live[i].id
			l.live = append(l.live[:i], l.live[i+1:]...)
			return id, true, true
		}
	}
	return id, false, seq < l.next
}

// seqOf returns the sequence number of id.
func (l *localIDs) seqOf(id wire.ConnID) (uint64, bool) {
	for i := range l.live {
		if l.live[i].id == id {
			return l.live[i].seq, true
		}
	}
	return 0, false
}

// fate records what became of the NEW_CONNECTION_ID numbered seq.
func (l *localIDs) fate(seq uint64, acked bool) {
	for i := range l.live {
		if l.live[i].seq == seq && l.live[i].state == inFlight {
			l.live[i].state = unsent
			if acked {
				l.live[i].state = known
			}
		}
	}
}

// remoteIDs are the connection IDs that the peer issued: what this side
// addresses its frames to.
type remoteIDs struct {
	live     []remoteID // live[0] is in use
	retireTo uint64     // the peer wants all below this number retired
	retired  []retirement
	largest  uint64 // highest sequence number seen
}

type remoteID struct {
	seq   uint64
	id    wire.ConnID
	token wire.ResetToken
}

type retirement struct {
	seq   uint64
	state sendState
}

// current is the ID in use.
func (r *remoteIDs) current() *remoteID { return &r.live[0] }

// add takes in a NEW_CONNECTION_ID. Repeats of one already seen change nothing;
// breaking a limit is the peer's fault.
func (r *remoteIDs) add(n *wire.NewConnID) error {
	for i := range r.live {
		if r.live[i].seq == n.Seq {
			if r.live[i].id != n.ID || r.live[i].token != n.Token {
				return &ProtocolError{"connection ID changed under its number"}
			}
			return r.obeyRetireTo(n.RetireTo)
		}
	}
	if n.Seq <= r.largest && r.isRetired(n.Seq) {
		return r.obeyRetireTo(n.RetireTo)
	}
	r.largest = max(r.largest, n.Seq)
	if n.Seq < r.retireTo {
		return r.pushRetired(n.Seq)
	}
	r.live = append(r.live, remoteID{n.Seq, n.ID, n.Token})
	if err := r.obeyRetireTo(n.RetireTo); err != nil {
		return err
	}
	if len(r.live) > activeIDs {
		return &ProtocolError{"too many connection IDs"}
	}
	return nil
}

// isRetired tells whether the ID numbered seq was live once: every number up to
// the largest that is not live now either was retired or has not arrived yet,
// and those on the retired list are the former. One that was retired and
// acknowledged long ago would be taken again, and retired again by the limit.
func (r *remoteIDs) isRetired(seq uint64) bool {
	for _, x := range r.retired {
		if x.seq == seq {
			return true
		}
	}
	return seq < r.live[0].seq
}

func (r *remoteIDs) obeyRetireTo(to uint64) error {
	r.retireTo = max(r.retireTo, to)
	// The last ID stays in use until another arrives: a session never stalls
	// for want of one.
	for i := 0; i < len(r.live) && len(r.live) > 1; {
		if r.live[i].seq >= r.retireTo {
			i++
			continue
		}
		if err := r.pushRetired(r.live[i].seq); err != nil {
			return err
		}
		r.live = append(r.live[:i], r.live[i+1:]...)
	}
	return nil
}

// rotate moves to a fresh ID and retires the old one; it reports false, and
// keeps the old one, if there is no other.
func (r *remoteIDs) rotate() bool {
	if len(r.live) < 2 || r.pushRetired(r.live[0].seq) != nil {
		return false
	}
	r.live = append(r.live[:0], r.live[1:]...)
	return true
}

func (r *remoteIDs) pushRetired(seq uint64) error {
	if len(r.retired) >= pendingRetire {
		return &ProtocolError{"too many connection IDs retired"}
	}
	r.retired = append(r.retired, retirement{seq: seq})
	return nil
}

// fate records what became of the RETIRE_CONNECTION_ID for seq.
func (r *remoteIDs) fate(seq uint64, acked bool) {
	for i := range r.retired {
		if r.retired[i].seq == seq {
			if acked {
				r.retired = append(r.retired[:i], r.retired[i+1:]...)
			} else {
				r.retired[i].state = unsent
			}
			return
		}
	}
}

// appendConnIDs appends what the peer has yet to hear about connection IDs.
func (s *Session) appendConnIDs(b []byte, limit int, refs []recovery.Ref) ([]byte, []recovery.Ref) {
	for i := range s.local.live {
		l := &s.local.live[i]
		if l.state != unsent || len(b)+wire.NewConnIDLenMax > limit {
			continue
		}
		n := wire.NewConnID{Seq: l.seq, ID: l.id, Token: s.e.id.ResetToken(l.id)}
		b = n.Append(b)
		refs = append(refs, recovery.Ref{Kind: wire.TypeNewConnID, Seq: l.seq})
		l.state = inFlight
	}
	for i := range s.remote.retired {
		r := &s.remote.retired[i]
		if r.state != unsent || len(b)+wire.ControlLenMax > limit {
			continue
		}
		b = wire.AppendRetireConnID(b, r.seq)
		refs = append(refs, recovery.Ref{Kind: wire.TypeRetireConnID, Seq: r.seq})
		r.state = inFlight
	}
	return b, refs
}

// replenish issues IDs until the peer has all it may hold.
func (s *Session) replenish() {
	for len(s.local.live) < issuedIDs {
		id := s.e.newConnID()
		s.e.byID[id] = s
		s.local.issue(id, unsent)
	}
}

func (s *Session) handleNewConnID(n *wire.NewConnID) error {
	was := s.remote.current().token
	if err := s.remote.add(n); err != nil {
		return err
	}
	s.followToken(was)
	return nil
}

func (s *Session) handleRetireConnID(seq uint64, arrivedBy wire.ConnID) error {
	id, removed, ok := s.local.retire(seq)
	switch {
	case !ok:
		return &ProtocolError{"retired a connection ID that was never issued"}
	case !removed:
		return nil
	}
	s.e.forgetID(id, s)
	if id == arrivedBy { // RFC 9000 §19.16
		return &ProtocolError{"retired the connection ID it was using"}
	}
	s.replenish()
	return nil
}

// rotateRemote addresses the peer by a fresh connection ID, so that whoever
// watches two networks cannot tell that they carry one session.
func (s *Session) rotateRemote() {
	was := s.remote.current().token
	if s.remote.rotate() {
		s.followToken(was)
	}
}

// followToken keeps the endpoint's index of reset tokens in step with the
// connection ID in use.
func (s *Session) followToken(was wire.ResetToken) {
	if is := s.remote.current().token; is != was {
		delete(s.e.byToken, was)
		s.e.byToken[is] = s
	}
}
