package session

import "github.com/seed-67dce94e/holdfast/wire"

// punchBuffer is the room that Punch needs.
const punchBuffer = 64

// Punch writes one sealed probing frame into buf, which has room for at least 64
// bytes, and returns its size; 0 if the session is not established. The frame is
// for an address that the caller guesses, one of many: the session keeps no
// record of it, neither as a path nor as a frame in flight. If it reaches the
// peer, that answers to the source it sees and asks in its turn, and with that
// both sides know the path (SPEC §8.4).
func (s *Session) Punch(now Time, buf []byte) int {
	if len(buf) < punchBuffer {
		panic("session: buffer below 64 bytes")
	}
	s.e.enter(now)
	if s.state != stateEstablished || s.keys.Exhausted() {
		return 0
	}
	s.wake()
	f := s.openFrame(buf, s.active, punchBuffer)
	var token [8]byte // forgotten: an answer to it proves nothing of the path it comes by
	s.e.rng.Read(token[:])
	f.b = wire.AppendPath(f.b, wire.TypePathChallenge, token)
	f.padTo(wire.MinDataLen - wire.TagLen)
	n := len(s.keys.Seal(f.b[:f.start], f.b[f.start:], f.pn))
	s.loss.OnSent(s.e.now, s.active.rec, f.pn, n, 0, nil)
	s.countSent(n)
	s.e.touch(s)
	return n
}
