package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/channels"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/session/seal"
	"github.com/seed-67dce94e/holdfast/wire"
)

// handleFrame takes in a DATA frame addressed to id, which is one of ours, from a
// datagram with an ECN codepoint. Only
// after the frame has authenticated, and is no repeat, may it change anything.
func (s *Session) handleFrame(now Time, p Path, mark wire.ECN, id wire.ConnID, b []byte) {
	pn, body, ok := s.open(now, b)
	if !ok {
		return
	}
	s.stats.Received++
	s.stats.ReceivedBytes += uint64(len(b))
	in := inbound{now: now, mark: mark, id: id, rested: s.resting != nil}
	if in.rested && s.hearAtRest(&in, p, len(b), pn, body) {
		return
	}
	s.replay.Mark(pn)
	s.e.touch(s)
	switch s.state {
	case stateHalfOpen:
		if s = s.confirm(now); s == nil {
			return
		}
	case stateClosing:
		if s.bringsClose(body) {
			s.closeArrived()
		} else {
			s.answerClosing(now)
		}
		return
	case stateDraining:
		if s.closing.answers && s.bringsClose(body) {
			s.closing.next = now
		}
		return
	case stateClosed:
		return
	}
	in.path = s.obtainPath(p)
	in.path.received += uint64(len(b))
	s.takeIn(in, pn, body)
}

// open returns the chunks of a frame that is authentic and new. It is for the
// caller to mark its number.
func (s *Session) open(now Time, b []byte) (pn uint64, body []byte, ok bool) {
	pn, body, err := s.keys.Open(now, b, s.largest, s.heardPN)
	switch {
	case err == seal.ErrKeyUpdate:
		s.violated(now, &ProtocolError{err.Error()})
	case err != nil:
		s.forged(now)
	case s.replay.Seen(pn):
		s.e.stats.DroppedReplay++
		s.stats.Duplicates++
	default:
		return pn, body, true
	}
	return 0, nil, false
}

// outstandingMax is more frames than messages and probes can have in flight
// (package recovery). Only a peer that makes us repeat connection IDs, and
// acknowledges none, comes so far.
const outstandingMax = 28000

// takeIn handles the chunks of a frame that arrived on x, and then the frame
// itself: only what was taken in is acknowledged [S3].
func (s *Session) takeIn(in inbound, pn uint64, body []byte) {
	now, x, id := in.now, in.path, in.id
	newest := !s.heardPN || pn > s.largest
	if newest {
		s.largest, s.heardPN = pn, true
	}
	if err := s.handleChunks(&in, body); err != nil {
		s.violated(now, err)
		return
	}
	if s.state != stateEstablished {
		return
	}
	if s.loss.Outstanding() > outstandingMax {
		s.violated(now, &ProtocolError{"nothing is acknowledged"})
		return
	}
	// A keepalive is answered at once: nothing is about to go the other way, and
	// the caller is awake now.
	s.acks.OnReceived(now, pn, in.mark, in.eliciting, in.urgent || in.rested && !in.message)
	s.pathAlive(now, x)
	if in.message {
		s.used = now
	}
	s.idle.received(now, in.message, 2*s.active.rec.RTT.Smoothed())
	if !in.probing && newest {
		s.follow(now, x, s.noteUsedID(id))
	}
	s.active.rec.SetCalm(now, s.msgs.AsksLowLatency(now))
	s.msgs.SetPath(s.active.rec.RTT.Smoothed(), s.active.rec.Window(), s.active.mtu.Current())
}

// inbound is what handling the chunks of one frame finds out.
type inbound struct {
	now       Time
	path      *path
	mark      wire.ECN
	id        wire.ConnID // the frame was addressed to it
	eliciting bool
	urgent    bool
	probing   bool // nothing but probing chunks
	rested    bool // the session was at rest
	message   bool // brought application data
	acked     bool // brought an acknowledgement
}

func (s *Session) handleChunks(in *inbound, b []byte) error {
	if len(b) == 0 {
		return &ProtocolError{"frame without chunks"}
	}
	in.probing = true
	c := &s.e.chunk
	for len(b) > 0 {
		rest, err := wire.ConsumeChunk(b, c)
		if err != nil {
			return &ProtocolError{err.Error()}
		}
		b = rest
		in.eliciting = in.eliciting || c.Type.AckEliciting()
		in.probing = in.probing && c.Type.Probing()
		if err := s.handleChunk(in, c); err != nil {
			return err
		}
		if s.state != stateEstablished {
			return nil
		}
	}
	return nil
}

func (s *Session) handleChunk(in *inbound, c *wire.Chunk) error {
	switch c.Type {
	case wire.TypeAck, wire.TypeAckECN:
		if in.acked {
			// Each may cost a walk over all that is in flight, for six bytes.
			return &ProtocolError{"two acknowledgements in one frame"}
		}
		in.acked = true
		return s.handleAck(in.now, &c.Ack)
	case wire.TypePathChallenge:
		in.path.response, in.path.hasResponse = c.Path, true
	case wire.TypePathResponse:
		s.handlePathResponse(in.now, c.Path)
	case wire.TypeNewConnID:
		return s.handleNewConnID(&c.NewConnID)
	case wire.TypeRetireConnID:
		return s.handleRetireConnID(c.Retire, in.id)
	case wire.TypeCredit:
		return s.msgs.HandleCredit(in.now, &c.Credit)
	case wire.TypeSkip:
		return s.msgs.HandleSkip(in.now, &c.Skip)
	case wire.TypeRead:
		return s.msgs.HandleRead(in.now, &c.Read)
	case wire.TypeMessage:
		in.urgent = in.urgent || c.Message.Urgent
		in.message = true
		return s.msgs.HandleMessage(in.now, &c.Message)
	case wire.TypeClose:
		s.peerClosed(in.now, &c.Close)
	}
	return nil
}

func (s *Session) handleAck(now Time, a *wire.Ack) error {
	r := &s.e.result
	delay := time.Duration(s.peerParams.MaxAckDelay) * time.Millisecond
	if err := s.loss.OnAck(now, a, delay, r); err != nil {
		return &ProtocolError{err.Error()}
	}
	s.active.queue.sample(now, s.active.rec.RTT.Latest())
	s.applyResult(now)
	return nil
}

// applyResult passes on the fate of sent frames, chunk by chunk, to the parts
// that sent them.
func (s *Session) applyResult(now Time) {
	r := &s.e.result
	s.stats.Spurious += uint64(r.Spurious)
	s.stats.Marked += r.Marked
	var run recovery.Ref // chunks that are taken for one; none yet, which is padding to chunkAcked
	for _, f := range r.Acked {
		s.keys.OnAck(f.PN)
		s.sizeAcked(now, f)
		s.escortAcked(f)
		for j := range f.Refs {
			if ref := &f.Refs[j]; !channels.Join(&run, ref) {
				s.chunkAcked(now, &run)
				run = *ref
			}
		}
	}
	s.chunkAcked(now, &run)
	for _, f := range r.Lost {
		s.sizeLost(now, f)
	}
	s.sendAgain(now)
}

// sendAgain queues what the frames in r.Lost held, and clears the result. The
// frames need not be lost: their path may have been left, or they may be sent
// twice to probe it.
func (s *Session) sendAgain(now Time) {
	r := &s.e.result
	for _, f := range r.Lost {
		for j := range f.Refs {
			s.chunkLost(now, &f.Refs[j])
		}
	}
	r.Reset()
}

// sizeAcked and sizeLost tell the search for the path's MTU, and the congestion
// controller, which counts in datagrams, of its outcome.
func (s *Session) sizeAcked(now Time, f *recovery.Sent) {
	s.eachPathOf(f, func(x *path) {
		if f.Flags&recovery.MTUProbe != 0 {
			x.mtu.OnProbeAcked(now, f.Size)
			x.rec.SetMDS(x.mtu.Current())
		} else {
			x.mtu.OnAcked(f.Size)
		}
	})
}

func (s *Session) sizeLost(now Time, f *recovery.Sent) {
	if f.Flags&recovery.MTUProbe == 0 {
		s.stats.Lost++
	}
	s.eachPathOf(f, func(x *path) {
		if f.Flags&recovery.MTUProbe != 0 {
			x.mtu.OnProbeLost(now, f.Size)
		} else {
			x.mtu.OnLoss(now, f.Size)
			x.rec.SetMDS(x.mtu.Current())
		}
	})
}

// eachPathOf calls do for the path that a sent frame took; none if it is gone.
func (s *Session) eachPathOf(f *recovery.Sent, do func(*path)) {
	for _, x := range s.paths {
		if x.rec == f.Path {
			do(x)
		}
	}
}

func (s *Session) chunkAcked(now Time, r *recovery.Ref) {
	switch r.Kind {
	case wire.TypeAck:
		s.acks.OnAckAcked(r.Seq)
	case wire.TypeNewConnID:
		s.local.fate(r.Seq, true)
	case wire.TypeRetireConnID:
		s.remote.fate(r.Seq, true)
	case wire.TypePadding, wire.TypePing, wire.TypePathChallenge, wire.TypePathResponse:
	default:
		s.msgs.OnAcked(now, r)
	}
}

// chunkAgain has a chunk sent again that is not known to be lost.
func (s *Session) chunkAgain(now Time, r *recovery.Ref) {
	if r.Kind == wire.TypeMessage {
		s.msgs.SendAgain(now, r)
		return
	}
	s.chunkLost(now, r)
}

func (s *Session) chunkLost(now Time, r *recovery.Ref) {
	switch r.Kind {
	case wire.TypeNewConnID:
		s.local.fate(r.Seq, false)
	case wire.TypeRetireConnID:
		s.remote.fate(r.Seq, false)
	case wire.TypeAck, wire.TypePing, wire.TypePathChallenge, wire.TypePathResponse:
	default:
		s.msgs.OnLost(now, r)
	}
}

// noteUsedID reports whether the peer addresses this side by a fresher
// connection ID than before: it moved on purpose.
func (s *Session) noteUsedID(id wire.ConnID) bool {
	seq, ok := s.local.seqOf(id)
	if !ok || seq <= s.usedID {
		return false
	}
	s.usedID = seq
	return true
}

// report turns what happened to messages into events.
func (s *Session) report() {
	for ch, ok := s.msgs.NextReadable(); ok; ch, ok = s.msgs.NextReadable() {
		s.e.emit(Event{Kind: Readable, Session: s, Channel: ch})
	}
	for id, fate, ok := s.msgs.NextOutcome(); ok; id, fate, ok = s.msgs.NextOutcome() {
		s.e.emit(Event{Kind: Outcome, Session: s, Message: id, Fate: fate})
	}
	if s.msgs.TakeWritable() {
		s.e.emit(Event{Kind: Writable, Session: s})
	}
}

// forged counts a frame that failed to authenticate. Nobody is told, and
// nothing changes until the limit on forgeries of RFC 9001 §6.6.
func (s *Session) forged(now Time) {
	s.e.stats.DroppedAuth++
	s.stats.DroppedAuth++
	if s.keys.Exhausted() {
		s.fail(now, ErrKeysExhausted)
	}
}
