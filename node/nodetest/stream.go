package nodetest

import (
	"math"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// StreamTimeout is how long a stream outlives that nothing passes between its
// hosts.
const StreamTimeout = 15 * time.Second

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// A stream is both ends of a TCP connection and what is between them. It is
// guarded by the lock of its Net.
type stream struct {
	net               *Net
	course            *wiretest.Course
	dialled, accepted *Conn
	there, back       half
	err               error       // of both ends, once nothing passed for too long
	doom              *time.Timer // nil while the course is open
}

func (n *Net) newStream(course *wiretest.Course, port uint16) *stream {
	s := &stream{net: n, course: course}
	s.there = half{wire: course.There, wake: make(chan struct{})}
	s.back = half{wire: course.Back, wake: make(chan struct{})}

	inside, _ := course.From.Addr(course.Target)
	from := netip.AddrPortFrom(inside, n.randomEphemeral())
	seen := from
	if course.Source != inside {
		seen = netip.AddrPortFrom(course.Source, n.randomEphemeral())
	}
	to := netip.AddrPortFrom(course.Target, port)
	s.dialled = &Conn{stream: s, in: &s.back, out: &s.there, local: from, remote: to}
	s.accepted = &Conn{stream: s, in: &s.there, out: &s.back, local: to, remote: seen}
	n.streams[s] = true
	return s
}

func (n *Net) randomEphemeral() uint16 {
	return uint16(ephemeralFirst + n.rng.IntN(ephemeralCount))
}

// notice stops and resumes what is on the way when the course has closed or
// opened.
func (s *stream) notice() {
	now := s.net.Now()
	switch open := s.course.Open(now); {
	case !open && s.doom == nil:
		s.there.hold(now)
		s.back.hold(now)
		s.doom = time.AfterFunc(StreamTimeout, s.expire)
	case open && s.doom != nil:
		s.doom.Stop()
		s.doom = nil
		s.there.release(s.net)
		s.back.release(s.net)
	}
}

func (s *stream) expire() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.doom != nil && !s.course.Open(s.net.Now()) {
		s.err = os.NewSyscallError("tcp", syscall.ETIMEDOUT)
		s.end()
	}
}

// end forgets a stream that will not change any more.
func (s *stream) end() {
	delete(s.net.streams, s)
	if s.doom != nil {
		s.doom.Stop()
	}
	s.there.wake, s.back.wake = broadcast(s.there.wake), broadcast(s.back.wake)
}

// A half is one direction of a stream.
type half struct {
	wire     func() wiretest.Wire
	segments []segment
	size     int           // bytes in segments
	free     time.Duration // when the last byte has left for the wire
	last     time.Duration // when it arrives
	finished bool          // nothing more is written
	wake     chan struct{} // closed when the half has changed
}

// A segment is what one write has put on the way.
type segment struct {
	data []byte // none: the end
	at   time.Duration
}

const (
	windowSize  = 256 << 10 // bytes that may be unread
	segmentSize = 1400      // bytes that are lost together
	headerSize  = 40
	retransmit  = 200 * time.Millisecond // after a loss, beyond the round trip
)

// send puts data, or the end of the stream, on the way.
func (h *half) send(s *stream, data []byte) {
	at := never
	if s.doom == nil {
		at = h.arrival(s.net, len(data))
	}
	h.segments = append(h.segments, segment{data, at})
	h.size += len(data)
	h.wake = broadcast(h.wake)
}

// arrival returns when size bytes arrive that are sent now.
func (h *half) arrival(n *Net, size int) time.Duration {
	w, now := h.wire(), n.Now()
	packets := max(1, (size+segmentSize-1)/segmentSize)
	h.free = max(h.free, now)
	if w.Rate > 0 {
		bits := int64(size+packets*headerSize) * 8
		h.free += time.Duration(bits * int64(time.Second) / int64(w.Rate))
	}
	h.last = max(h.last, h.free+w.Delay+lateness(n, w, packets))
	return h.last
}

// lateness is that of the unluckiest of some packets.
func lateness(n *Net, w wiretest.Wire, packets int) (worst time.Duration) {
	for range packets {
		var late time.Duration
		for w.Loss > 0 && n.rng.Float64() < w.Loss {
			late += 2*w.Delay + retransmit
		}
		worst = max(worst, late)
	}
	return worst
}

// hold keeps what has not arrived by now.
func (h *half) hold(now time.Duration) {
	for i := range h.segments {
		if h.segments[i].at > now {
			h.segments[i].at = never
		}
	}
	h.wake = broadcast(h.wake)
}

// release sends again what was held.
func (h *half) release(n *Net) {
	h.free, h.last = 0, 0
	for i := range h.segments {
		if s := &h.segments[i]; s.at == never {
			s.at = h.arrival(n, len(s.data))
		}
	}
	h.wake = broadcast(h.wake)
}

// next returns when the next segment arrives.
func (h *half) next() time.Duration {
	if len(h.segments) == 0 {
		return never
	}
	return h.segments[0].at
}

// read takes what has arrived. The end stays.
func (h *half) read(b []byte, now time.Duration) (n int, end bool) {
	for n < len(b) && h.next() <= now {
		s := &h.segments[0]
		if len(s.data) == 0 {
			return n, true
		}
		k := copy(b[n:], s.data)
		n += k
		h.size -= k
		if s.data = s.data[k:]; len(s.data) == 0 {
			h.segments = h.segments[1:]
		}
	}
	if n > 0 {
		h.wake = broadcast(h.wake)
	}
	return n, false
}
