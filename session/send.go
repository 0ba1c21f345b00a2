package session

import (
	"slices"

	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// nextDatagram writes what s has to send, if it may send now.
func (s *Session) nextDatagram(now Time, buf []byte) (Datagram, bool) {
	switch s.state {
	case stateDialing:
		return s.nextInit(now, buf)
	case stateHalfOpen:
		return s.nextResp(now, buf)
	case stateClosing, stateDraining:
		return s.nextClose(now, buf)
	case stateEstablished:
		if s.resting != nil {
			return s.nextAtRest(now, buf)
		}
		if d, ok := s.nextCopy(buf); ok {
			return d, true
		}
		s.doubt(now)
		if d, ok := s.nextProbing(now, buf); ok {
			return d, true
		}
		return s.nextBatch(now, buf)
	}
	return Datagram{}, false
}

// nextProbing writes a frame of probing chunks for a path that carries no data.
func (s *Session) nextProbing(now Time, buf []byte) (Datagram, bool) {
	for _, x := range s.paths {
		if !s.probeDue(now, x) {
			continue
		}
		if x.hasResponse && !x.validated {
			x.validate(now, false) // answer and ask in one datagram
		}
		f := s.openFrame(buf, x, min(x.mtu.Current(), len(buf)))
		s.addPathChunks(now, &f)
		n := s.sealFrame(now, &f)
		return Datagram{Path: x.Path, Data: buf[:n], Segment: n}, true
	}
	return Datagram{}, false
}

// probeDue reports whether a frame of probing chunks is to go out on x. Frames
// for the active path carry them along, unless those are copied to an escort,
// where an answer would say nothing about the path; or the amplification limit stops
// those: then its challenge goes alone, a few times. Had it to wait for the peer,
// and the peer for us, both would be silent for ever.
func (s *Session) probeDue(now Time, x *path) bool {
	switch {
	case !x.mayEmit():
		if x.validation.next > now || x.overdrawn == overdrawnMax {
			return false
		}
		x.overdrawn++
		return true
	case x == s.active && !s.escorted():
		return false
	}
	return x.hasResponse || x.validation.next <= now
}

// nextBatch writes as many frames for the active path as fit in buf and may be
// sent, all of one size but the last. Small messages seldom fill the first one to
// the brim: the others then take its size, and those that come out a little shorter
// are padded. What falls short by more ends the batch. What is sent for a probe
// timeout leaves on its own: batches may be what does not pass.
func (s *Session) nextBatch(now Time, buf []byte) (Datagram, bool) {
	if d, ok := s.nextMTUProbe(now, buf); ok {
		return d, true
	}
	x := s.active
	d := Datagram{Path: x.Path}
	size, most := x.mtu.Current(), x.rec.BatchMax(now)
	probing := s.probes > 0
	if probing {
		most = 1
	}
	first, frames := s.loss.NextPN(), 0
	for at, pad := 0, 0; frames < most && (len(buf)-at >= size || at == 0); pad = padMax {
		var n int
		if at > 0 && s.steady(x) {
			n = s.another(now, buf[at:], size, pad, &d)
		} else {
			n = s.nextFrame(now, buf[at:], size, pad, &d)
		}
		if n == 0 {
			break
		}
		if at == 0 {
			d.Segment = n
			if size-n <= size/4 {
				size = n
			}
		}
		frames++
		at += n
		d.Data = buf[:at]
		if n < size || s.active != x || s.copied {
			break
		}
	}
	if frames > 1 || frames == most && !probing && s.msgs.Pending() {
		s.loss.OnBatch(first)
	}
	return d, frames > 0
}

// mark returns the ECN codepoint of the next frame for the active path (SPEC §5.3).
func (s *Session) mark(l leave) wire.ECN {
	x := s.active
	if s.hasMessages(l) && x.validated && !x.IsRelay() && s.probes == 0 && !s.escorted() && x.rec.Markable() {
		return wire.ECT0
	}
	return wire.NotECT
}

// padMax is by how much a frame is padded at most to be as long as the one before.
const padMax = 80

// nextFrame writes one frame of at most size bytes for the active path, and of just
// that size if no more than pad are missing. It returns 0 if there is nothing to
// say, or nothing may be said yet, or not in the batch d, which is marked otherwise.
func (s *Session) nextFrame(now Time, buf []byte, size, pad int, d *Datagram) int {
	x := s.active
	if !x.mayEmit() {
		return 0
	}
	s.rekeyIfDue(now)
	if s.keys.Exhausted() {
		s.fail(now, ErrKeysExhausted)
		return 0
	}
	if s.probes > 0 || !x.validated {
		// Too large a frame may be what does not pass.
		size = min(size, baseMTU)
	}
	twice := s.escorted()
	if twice {
		size = min(size, s.outage.escort.path.mtu.Current())
	}
	size = min(size, x.allowance())
	leave := s.leaveFor(now, x, size)
	if leave == forAll && s.probes == 0 && !s.msgs.Pending() {
		x.rec.OnLimited(s.msgs.Refused(now))
	}
	if !s.mustSpeak(now, x) && !s.hasMessages(leave) {
		return 0
	}
	if leave == overWindow {
		size = min(size, baseMTU)
	}
	mark := s.mark(leave)
	if len(d.Data) > 0 && mark != d.ECN {
		return 0
	}
	d.ECN = mark
	f := s.openFrame(buf, x, min(size, len(buf)))
	if mark == wire.ECT0 {
		f.flags = recovery.ECT0
	}
	s.addChunks(now, &f, leave)
	if f.empty() {
		return 0
	}
	f.padUpTo(pad, s.msgs.Pending())
	probe := s.probes > 0
	s.noteSpoken(&f)
	if twice = twice && f.eliciting; twice {
		f.flags |= recovery.Copied
	}
	n := s.sealFrame(now, &f)
	if twice {
		s.keepCopy(buf[:n], probe)
	}
	return n
}

// steady reports whether nothing but messages is left to say on the active path, once
// it has been sent a frame, and nothing but window and pacer can be in the way.
func (s *Session) steady(x *path) bool { return x.validated && s.probes == 0 && !s.escorted() }

// another is nextFrame for all frames of a batch but the first, while s is steady. Most
// of what nextFrame asks has the same answer as before.
func (s *Session) another(now Time, buf []byte, size, pad int, d *Datagram) int {
	x := s.active
	switch {
	case !s.msgs.Pending(), !s.loss.CanSend(x.rec, size), s.holdUntil > now,
		s.loss.PaceUntil(now, x.rec, true) > now,
		d.ECN == wire.ECT0 && !x.rec.Markable():
		return 0
	}
	s.rekeyIfDue(now)
	if s.keys.Exhausted() {
		return 0
	}
	f := s.openFrame(buf, x, min(size, len(buf)))
	if d.ECN == wire.ECT0 {
		f.flags = recovery.ECT0
	}
	if chunk, ref, ok := s.msgs.Fill(f.limit - f.start); ok {
		f.fill(chunk, ref)
	} else {
		f.b, f.refs = s.msgs.Append(now, f.b, f.limit, f.refs)
		s.copies.bytes = s.msgs.CopiesLeft()
		if f.empty() {
			return 0
		}
		f.padUpTo(pad, s.msgs.Pending())
	}
	f.eliciting = true
	s.noteSpoken(&f)
	n := s.sealFrame(now, &f)
	s.msgs.PutBack()
	return n
}

// addChunks fills a frame for the active path: what the path and the connection
// need first, then messages if there is leave for them.
func (s *Session) addChunks(now Time, f *frame, leave leave) {
	s.addPathChunks(now, f)
	s.addAck(now, f)
	acked := len(f.b)
	f.b, f.refs = s.appendConnIDs(f.b, f.limit, f.refs)
	if leave != forNone {
		s.addMessages(now, f, leave)
	}
	f.eliciting = f.eliciting || len(f.b) > acked
	if s.wantPing() && !f.eliciting && len(f.b) < f.limit {
		f.addPing()
	}
}

func (s *Session) addAck(now Time, f *frame) {
	b := s.acks.Append(now, f.b, f.limit)
	if len(b) == len(f.b) {
		return
	}
	f.b = b
	if largest, ok := s.acks.Largest(); ok {
		f.refs = append(f.refs, recovery.Ref{Kind: wire.TypeAck, Seq: largest})
	}
}

// nearlyFull is how few bytes stay free in a frame that is taken for full.
const nearlyFull = 32

// noteSpoken settles what a frame for the active path makes good.
func (s *Session) noteSpoken(f *frame) {
	s.fullMTU = s.fullMTU || len(f.b) >= f.limit-nearlyFull
	if !f.eliciting {
		s.onlyAcks++
		return
	}
	s.pingNow = false
	s.onlyAcks = 0
	s.probes = max(s.probes-1, 0)
}

// A leave is what messages the next frame may carry.
type leave uint8

const (
	forNone    leave = iota
	forUrgent        // the pacer or Hold is in the way of all but short low-latency messages
	overWindow       // so is the congestion window
	forAll
)

// leaveFor asks the congestion window and the pacer. Probe-timeout frames pass
// both (RFC 9002 §7.5). Short low-latency messages pass the pacer, and a little of
// them passes a full window [S48]: else they would wait behind what the window is
// full of, for half a round trip whenever it shrinks.
func (s *Session) leaveFor(now Time, x *path, size int) leave {
	s.paceAt = Never
	if s.probes > 0 {
		return forAll
	}
	if !s.loss.CanSend(x.rec, size) {
		if s.loss.CanExceed(x.rec, min(size, baseMTU)) {
			return overWindow
		}
		return forNone
	}
	if s.holdUntil > now {
		return forUrgent
	}
	if at := s.loss.PaceUntil(now, x.rec, s.msgs.Pending()); at > now {
		s.paceAt = at
		return forUrgent
	}
	return forAll
}

// hasMessages reports whether there are messages that the leave is for.
func (s *Session) hasMessages(l leave) bool {
	return l == forAll && s.msgs.Pending() || l != forNone && s.msgs.Urgent()
}

// mustSpeak reports whether there is something to send that waits for no window.
func (s *Session) mustSpeak(now Time, x *path) bool {
	return s.acks.Due(now) || s.wantPing() || x.hasResponse || x.validation.next <= now || s.connIDsToSend()
}

// ackOnlyRun is how many frames that elicit nothing may follow each other before
// one asks for an acknowledgement, so that old acknowledgement ranges can go.
const ackOnlyRun = 19

func (s *Session) wantPing() bool { return s.pingNow || s.probes > 0 || s.onlyAcks >= ackOnlyRun }

func (s *Session) connIDsToSend() bool {
	for i := range s.local.live {
		if s.local.live[i].state == unsent {
			return true
		}
	}
	for i := range s.remote.retired {
		if s.remote.retired[i].state == unsent {
			return true
		}
	}
	return false
}

// A frame is a DATA frame being written.
type frame struct {
	path      *path
	b         []byte
	filling   []byte // the one chunk, if it is not in b but elsewhere
	start     int    // where the chunks begin
	limit     int    // where they must end, leaving room for the tag
	pn        uint64
	refs      []recovery.Ref
	eliciting bool
	flags     recovery.Flags
}

func (f *frame) empty() bool { return len(f.b) == f.start }

// fill leaves the room for the chunk, which is as long, to Seal.
func (f *frame) fill(chunk []byte, ref recovery.Ref) {
	f.filling = chunk
	f.b = f.b[:f.limit]
	f.refs = append(f.refs, ref)
}

func (f *frame) addPing() {
	f.b = append(f.b, byte(wire.TypePing))
	f.refs = append(f.refs, recovery.Ref{Kind: wire.TypePing})
	f.eliciting = true
}

// padUpTo pads a frame that falls short by so many bytes at most, if more waits.
func (f *frame) padUpTo(most int, waits bool) {
	if short := f.limit - len(f.b); short > 0 && short <= most && waits {
		f.padTo(f.limit)
	}
}

// padTo makes the frame, without its tag, at least n bytes long.
func (f *frame) padTo(n int) {
	for len(f.b) < n {
		f.b = append(f.b, byte(wire.TypePadding))
	}
}

func (s *Session) openFrame(buf []byte, x *path, size int) frame {
	pn := s.loss.NextPN()
	largest, acked := s.loss.LargestAcked()
	n := wire.PacketNumberLen(pn, largest, acked)
	b := wire.AppendDataHeader(buf[:0], s.remote.current().id, s.keys.Phase(), pn, n)
	return frame{path: x, b: b, start: len(b), limit: size - wire.TagLen, pn: pn, refs: s.e.refs[:0]}
}

// addPathChunks appends the answer and the question that are due on the path.
func (s *Session) addPathChunks(now Time, f *frame) {
	x := f.path
	if x.hasResponse {
		f.b = wire.AppendPath(f.b, wire.TypePathResponse, x.response)
		f.refs = append(f.refs, recovery.Ref{Kind: wire.TypePathResponse})
		x.hasResponse = false
		f.eliciting = true
	}
	if x.validation.next <= now {
		f.b = wire.AppendPath(f.b, wire.TypePathChallenge, s.nextChallenge(now, x))
		f.refs = append(f.refs, recovery.Ref{Kind: wire.TypePathChallenge})
		f.eliciting = true
	}
}

// sealFrame pads, seals and records the frame and returns its size.
func (s *Session) sealFrame(now Time, f *frame) int {
	n := s.protect(now, f)
	flags := f.flags
	if s.awaitsAck(f) {
		flags |= recovery.AckEliciting
	}
	s.loss.OnSent(now, f.path.rec, f.pn, n, flags, f.refs)
	s.e.refs = f.refs[:0]
	return n
}

// payload is what is to be sealed.
func (f *frame) payload() []byte {
	if f.filling != nil {
		return f.filling
	}
	return f.b[f.start:]
}

// protect pads, seals and counts the frame and returns its size.
func (s *Session) protect(now Time, f *frame) int {
	f.padTo(wire.MinDataLen - wire.TagLen)
	n := len(s.keys.Seal(f.b[:f.start], f.payload(), f.pn))
	f.path.sent += uint64(n)
	s.countSent(n)
	s.idle.sent(now)
	return n
}

// unackedMax is how many frames the peer may leave unacknowledged until those
// that hold nothing to be sent again are forgotten at once. It makes us send
// such frames as it likes, and need not acknowledge any.
const unackedMax = 1024

// awaitsAck reports whether what becomes of the frame is to be followed. Frames
// on other paths than the active one are probes: their answer is a
// PATH_RESPONSE, and their loss says nothing.
func (s *Session) awaitsAck(f *frame) bool {
	return f.eliciting && f.path == s.active && (s.loss.Outstanding() < unackedMax || f.flags&recovery.MTUProbe != 0 || f.lasting())
}

// lasting reports whether the frame holds anything that would be sent again.
func (f *frame) lasting() bool {
	return slices.ContainsFunc(f.refs, func(r recovery.Ref) bool {
		switch r.Kind {
		case wire.TypeAck, wire.TypePing, wire.TypePathChallenge, wire.TypePathResponse:
			return false
		}
		return true
	})
}

// mtuSearchAfter is how many bytes a path carries before it is worth knowing
// whether it takes larger datagrams.
const mtuSearchAfter = 128 << 10

// wantsLargerFrames reports whether the size of datagrams is what limits s.
func (s *Session) wantsLargerFrames() bool { return s.fullMTU && s.active.sent >= mtuSearchAfter }

// nextMTUProbe writes a padded frame that tests whether the path carries more
// than it is known to. Its loss is no sign of congestion (RFC 8899 §3).
func (s *Session) nextMTUProbe(now Time, buf []byte) (Datagram, bool) {
	x := s.active
	if !s.wantsLargerFrames() || !x.validated || s.probes > 0 || s.escorted() {
		return Datagram{}, false
	}
	size, ok := x.mtu.NextProbe(now)
	if !ok || size > len(buf) || !s.loss.CanSend(x.rec, size) {
		return Datagram{}, false
	}
	f := s.openFrame(buf, x, size)
	f.addPing()
	f.flags = recovery.MTUProbe
	f.padTo(f.limit)
	x.mtu.OnProbeSent(size)
	n := s.sealFrame(now, &f)
	return Datagram{Path: x.Path, Data: buf[:n], Segment: n}, true
}
