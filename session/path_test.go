package session

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// RFC 9000 §9.3: an endpoint only changes the address to which it sends packets
// in response to the highest-numbered non-probing packet.
func TestOldFrameFromElsewhereDoesNotMoveTheSession(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
	w.connect(a, b)
	w.run(time.Second, nil)
	held := w.record(func(c capture) bool { return c.to == b })
	a.mustPost(a.session(), Message{}, 60)
	w.run(6*time.Millisecond, nil)
	w.onCatch = nil
	a.mustPost(a.session(), Message{}, 60)
	w.run(6*time.Millisecond, nil)
	if len(*held) == 0 {
		t.Fatal("no frame was held back")
	}
	stranger := netip.MustParseAddrPort("192.0.2.1:9")
	b.received(stranger, make([]byte, 1500))
	b.change(func(now Time) { b.ep.HandleDatagram(now, Path{Remote: stranger}, wire.NotECT, (*held)[0].data) })
	if got := b.session().Path(); got != a.path() {
		t.Errorf("bob sends to %v, alice is at %v", got, a.path())
	}
}

// inSession returns a victim and a raw peer that are in session and quiet.
func inSession(t *testing.T) (w *world, b *peer, m *rawPeer) {
	w = newWorld(t, 1)
	b = w.peer("bob", nil, Config{})
	b.host.SetLink(wiretest.Link{Delay: 5 * time.Millisecond})
	m = w.rawPeer(b, 1)
	m.dial()
	w.want("the raw peer is in session", time.Second, func() bool { return b.session() != nil })
	w.run(20*time.Millisecond, nil)
	return w, b, m
}

func validated(s *Session, p Path) bool {
	for _, x := range s.Paths(nil) {
		if x.Path == p {
			return x.Validated
		}
	}
	return false
}

// The first datagram to a new address carries the challenge: had it to wait,
// every rebinding would cost a round trip more.
func TestNewPathIsChallengedInTheFirstDatagram(t *testing.T) {
	w, b, m := inSession(t)
	m.port++
	var got []wire.ChunkType
	m.heardOf = func(to netip.AddrPort, c *wire.Chunk) {
		if to == m.addr() {
			got = append(got, c.Type)
		}
	}
	m.sendChunks([]byte{byte(wire.TypePing)})
	w.run(30*time.Millisecond, nil)
	if len(got) == 0 || got[0] != wire.TypePathChallenge {
		t.Errorf("the first datagram to the new address holds %v", got)
	}
	if b.session().Path().Remote != m.addr() {
		t.Errorf("bob sends to %v, the peer is at %v", b.session().Path(), m.addr())
	}
}

// RFC 9000 §8.2.3: a path is validated by the data of the challenge and nothing else.
func TestPathIsValidatedByItsChallengeAlone(t *testing.T) {
	w, b, m := inSession(t)
	m.port++
	moved := Path{Remote: m.addr()}
	var challenge [8]byte
	m.heardOf = func(to netip.AddrPort, c *wire.Chunk) {
		if c.Type == wire.TypePathChallenge && to == m.addr() {
			challenge = c.Path
		}
	}
	m.sendChunks([]byte{byte(wire.TypePing)})
	w.run(20*time.Millisecond, nil)
	wrong := challenge
	wrong[7] ^= 1
	for range 3 { // as many as there are paths that were challenged
		m.sendChunks(wire.AppendPath(nil, wire.TypePathResponse, wrong))
	}
	m.acknowledge() // of the challenge too, which proves nothing
	w.run(20*time.Millisecond, nil)
	if validated(b.session(), moved) {
		t.Fatal("a wrong answer validated the path")
	}
	m.sendChunks(wire.AppendPath(nil, wire.TypePathResponse, challenge))
	w.run(20*time.Millisecond, nil)
	if !validated(b.session(), moved) {
		t.Error("the right answer did not validate the path")
	}
}

// RFC 9000 §8.2.2: the answer goes back on the path that the challenge came by,
// and each challenge is answered.
func TestEveryChallengeIsAnswered(t *testing.T) {
	w, _, m := inSession(t)
	answered := make(map[[8]byte]netip.AddrPort)
	m.heardOf = func(to netip.AddrPort, c *wire.Chunk) {
		if c.Type == wire.TypePathResponse {
			answered[c.Path] = to
		}
	}
	for n := range byte(4) {
		m.port = rawPort + uint16(n)
		m.sendChunks(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{n}))
		w.run(20*time.Millisecond, nil)
		if answered[[8]byte{n}] != m.addr() {
			t.Errorf("challenge %d from %v was answered to %v", n, m.addr(), answered[[8]byte{n}])
		}
	}
}

// Probing frames alone do not move the session (RFC 9000 §9.1).
func TestProbingDoesNotMoveTheSession(t *testing.T) {
	w, b, m := inSession(t)
	before := b.session().Path()
	m.port++
	m.sendChunks(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{1}))
	w.run(100*time.Millisecond, nil)
	if got := b.session().Path(); got != before {
		t.Errorf("bob went from %v to %v", before, got)
	}
}

// A stranger who sends the answer to our INIT on from an address of its choice
// must not make that address look like the peer's.
func TestAnswerFromElsewhereProvesNothing(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	victim := netip.MustParseAddrPort("192.0.2.13:32222")
	flooded := 0
	w.onTap = func(_, to netip.AddrPort, data []byte) {
		if to == victim {
			flooded += len(data)
		}
	}
	w.onCatch = func(d wiretest.Packet) bool {
		if wire.Classify(d.Data) != wire.KindResp || d.From == victim {
			return false
		}
		w.net.Inject(w.vtime(), victim, a.addr(), d.Data)
		return true
	}
	a.dial(b)
	w.want("the answer arrives", time.Second, func() bool { return a.session() != nil })
	if validated(a.session(), Path{Remote: victim}) {
		t.Error("the stranger's address is taken for validated")
	}
	w.want("data finds the peer all the same", 5*time.Second, a.stream(Message{}, 1000, 50).done)
	if flooded > 3*wire.RespLen+1500 {
		t.Errorf("%d bytes went to the victim", flooded)
	}
	if got := a.session().Path(); got != b.path() {
		t.Errorf("alice sends to %v, bob is at %v", got, b.path())
	}
}

func TestCloseIsRepeatedWhenLost(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 15 * time.Millisecond})
	s, _ := w.connect(a, b)
	w.run(time.Second, nil)
	lost := false
	a.host.Up.Drop = func(time.Duration, []byte) bool {
		was := lost
		lost = true
		return !was
	}
	a.change(func(now Time) { s.Close(now, 5, "bye") })
	w.want("the peer hears of the end", time.Second, func() bool { return b.counts[Closed] == 1 })
	w.run(5*time.Second, nil)
	if a.ep.Stats().Sessions+b.ep.Stats().Sessions != 0 {
		t.Error("a closed session is still held")
	}
}

// A peer that pads its challenges with many more of them gets one answer for
// each datagram, so that it cannot make memory or traffic grow.
func TestChallengeFloodIsBounded(t *testing.T) {
	w, b, m := inSession(t)
	before := b.session().Stats().Sent
	var body []byte
	for n := range byte(100) {
		body = wire.AppendPath(body, wire.TypePathChallenge, [8]byte{n})
	}
	for range 50 {
		m.sendChunks(body)
	}
	w.run(500*time.Millisecond, nil)
	if n := b.session().Stats().Sent - before; n > 110 {
		t.Errorf("50 datagrams of challenges brought forth %d", n)
	}
}
