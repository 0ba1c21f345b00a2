package session

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// What somebody with keys of their own, or with captured frames and forged
// sources, can make an endpoint hold, send or compute.

// An initMaker makes INITs to an endpoint, each with a key of its own.
type initMaker struct {
	e   *Endpoint
	app string
	n   byte
	hi  byte
}

func (s *initMaker) init() *handshake.Initiator {
	if s.n++; s.n == 0 {
		s.hi++
	}
	id, err := handshake.NewIdentity([32]byte{3, s.n, s.hi})
	if err != nil {
		panic(err)
	}
	hs, err := id.Initiate(s.e.ID(), s.app, &wire.Params{ConnID: wire.ConnID{1, s.n, s.hi}}, handshake.Prepare(s.e.ID(), handshake.NewKeypair([32]byte{4, s.n, s.hi})))
	if err != nil {
		panic(err)
	}
	return hs
}

// sources yields addresses of different hosts.
func sources() func() netip.AddrPort {
	n := 0
	return func() netip.AddrPort {
		n++
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 9)
	}
}

func newEndpoint(t *testing.T, cfg Config) *Endpoint {
	t.Helper()
	cfg.Key = [32]byte{9}
	e, err := NewEndpoint(&cfg, [32]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// put gives e a datagram and returns what it answers.
func put(e *Endpoint, now Time, from netip.AddrPort, data []byte) (out [][]byte) {
	buf := make([]byte, 1500)
	e.HandleDatagram(now, Path{Remote: from}, wire.NotECT, bytes.Clone(data))
	for d, ok := e.NextDatagram(now, buf); ok; d, ok = e.NextDatagram(now, buf) {
		out = append(out, bytes.Clone(d.Data))
	}
	return out
}

// INITs that are refused leave no half-open session behind. They cost two
// scalar multiplications all the same, and must count as load.
func TestRefusedHandshakesAreLoad(t *testing.T) {
	for name, c := range map[string]struct {
		cfg Config
		app string
	}{
		"by the application": {cfg: Config{Allow: func(wire.PeerID) bool { return false }}},
		"as unreadable":      {app: "another"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, c.cfg)
			s, from := initMaker{e: e, app: c.app}, sources()
			const flood = wastedPerSecond + 600
			for range flood {
				put(e, epoch, from(), s.init().Frame())
			}
			st := e.Stats()
			if st.DroppedHandshake > wastedPerSecond+1 || st.CookiesSent < 500 {
				t.Errorf("of %d INITs %d were read, %d met a cookie", flood, st.DroppedHandshake, st.CookiesSent)
			}
		})
	}
}

// Those that are completed at once are no load, however many come from one host.
func TestHandshakesThatSucceedAreNoLoad(t *testing.T) {
	e := newEndpoint(t, Config{})
	clients, err := NewEndpoint(&Config{Key: [32]byte{1: 8}}, [32]byte{8})
	if err != nil {
		t.Fatal(err)
	}
	here, there := sources()(), sources()()
	buf := make([]byte, 1500)
	const n = wastedPerSecond + 100
	for range n {
		if _, err := clients.Dial(epoch, DialOptions{Peer: e.ID(), Paths: []Path{{Remote: there}}}); err != nil {
			t.Fatal(err)
		}
		for d, ok := clients.NextDatagram(epoch, buf); ok; d, ok = clients.NextDatagram(epoch, buf) {
			for _, answer := range put(e, epoch, here, d.Data) {
				clients.HandleDatagram(epoch, Path{Remote: there}, wire.NotECT, answer)
			}
		}
	}
	if st := e.Stats(); st.Sessions != n || st.HalfOpen != 0 || st.CookiesSent != 0 {
		t.Errorf("of %d handshakes at once %d succeeded, %d are half open, %d cookies were sent", n, st.Sessions, st.HalfOpen, st.CookiesSent)
	}
}

// A source that is genuine, and shows its cookie, has its share and no more.
func TestOneSourceCannotUseUpTheProcessor(t *testing.T) {
	e := newEndpoint(t, Config{Allow: func(wire.PeerID) bool { return false }})
	e.accepts.loadUntil = epoch.Add(time.Minute)
	s, from := initMaker{e: e}, sources()()
	for range 200 {
		hs := s.init()
		for _, answer := range put(e, epoch, from, hs.Frame()) {
			hs.HandleCookie(answer)
		}
		put(e, epoch, from, hs.Frame())
	}
	if n := e.Stats().DroppedHandshake; n != wastedPerHost {
		t.Errorf("%d INITs of one source were read in a second, want %d", n, wastedPerHost)
	}
}

// Many peers may be behind one address, and begin at once. Sources that take all they can,
// and confirm nothing, leave another two thirds of what each of them has.
func TestSourcesLeaveRoomForHalfOpenSessions(t *testing.T) {
	for _, test := range []struct{ sources, sessions, each int }{
		{1, 0, maxHalfOpen / 3},
		{2, 0, maxHalfOpen / 4},
		{8, 0, maxHalfOpen / 10},
		{1, 300, 100},
		{60, 0, halfOpenPerHost},
	} {
		e := newEndpoint(t, Config{MaxSessions: test.sessions})
		s, next := initMaker{e: e}, sources()
		open := func(from netip.AddrPort) (opened bool) {
			e.accepts.loadUntil = epoch.Add(time.Minute)
			hs, before := s.init(), e.accepts.n
			for _, answer := range put(e, epoch, from, hs.Frame()) {
				hs.HandleCookie(answer)
			}
			put(e, epoch, from, hs.Frame())
			return e.accepts.n > before
		}
		from := make([]netip.AddrPort, test.sources)
		for i := range from {
			from[i] = next()
		}
		for opened := true; opened; {
			opened = false
			for _, f := range from {
				opened = open(f) || opened
			}
		}
		for _, f := range from {
			if n := e.accepts.perSource[sourceOf(Path{Remote: f})]; n < test.each-1 || n > test.each+1 {
				t.Errorf("%d sources: one has %d half-open sessions, want %d", test.sources, n, test.each)
			}
		}
		late, n := next(), 0
		for open(late) {
			n++
		}
		if want := max(test.each*2/3-1, halfOpenPerHost); n < want {
			t.Errorf("%d sources leave room for %d half-open sessions of another, want %d", test.sources, n, want)
		}
	}
}

// The reset token of a connection ID that another shard has issued would end
// the session there.
func TestShardGivesNoTokenOfAnotherAway(t *testing.T) {
	e := newEndpoint(t, Config{Shard: 1, Shards: 4})
	for first := range byte(8) {
		frame := wire.AppendDataHeader(nil, wire.ConnID{first, 7}, false, 0, 1)
		frame = append(frame, make([]byte, 60)...)
		resets := len(put(e, epoch, sources()(), frame))
		if want := first%4 == 1; (resets == 1) != want {
			t.Errorf("a frame for an ID that begins with %d drew %d resets", first, resets)
		}
	}
}

// An INIT has no date: one captured long ago can be sent again from anywhere
// while its author is being dialled. It must not draw more than itself.
func TestReplayedINITDrawsNoMoreThanItself(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
	if !a.ep.designated(b.ep.ID()) {
		a, b = b, a // the one whose dial does not give way
	}
	frames := w.record(nil)
	b.dial(a)
	w.run(time.Second, nil)
	init := (*frames)[0].data
	if wire.Classify(init) != wire.KindInit {
		t.Fatal("no INIT was captured")
	}
	a.restart()
	b.host.Up.Blackhole, b.host.Down.Blackhole = true, true
	a.dial(b)
	from, in, out := sources(), 0, 0
	victims := make(map[netip.AddrPort]bool)
	w.onTap = func(_, to netip.AddrPort, data []byte) {
		if victims[to] {
			out += len(data)
		}
	}
	for range 100 {
		victim := from()
		victims[victim] = true
		in += len(init)
		w.net.Inject(w.vtime(), victim, a.addr(), init)
		w.run(50*time.Millisecond, nil)
	}
	w.run(4*time.Second, nil)
	if out > in {
		t.Errorf("%d bytes of replayed INITs drew %d", in, out)
	}
}

// Whoever sees an INIT, and knows whom it is for, can make cookies for it.
func TestForgedCookiesHurryNoFlood(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
	inits := 0
	all := w.record(func(c capture) bool {
		if c.to == b && wire.Classify(c.data) == wire.KindInit {
			inits++
			return true
		}
		return false
	})
	a.dial(b)
	w.run(10*time.Millisecond, nil)
	init := (*all)[0]
	for n := range byte(250) {
		var key [22]byte
		c, ok := b.ep.resp.Cookie(w.now, init.data, pathKey(Path{Remote: init.from}, &key), [24]byte{n})
		if !ok {
			t.Fatal("no cookie")
		}
		w.net.Inject(w.vtime(), b.addr(), a.addr(), c.Append(nil))
		w.run(time.Millisecond, nil)
	}
	if inits > 2+250/20 {
		t.Errorf("250 cookies in 250 ms drew %d INITs", inits)
	}
}

// Peers that dial each other at the same moment, one of them twice, want two
// sessions: the one dial of the other side gives way to one of them only.
func TestTwoDialsThatCrossOneAreTwoSessions(t *testing.T) {
	eachSeed(t, 0.1, func(w *world) {
		a, b := w.pair(wiretest.Link{Delay: 20 * time.Millisecond})
		if !a.ep.designated(b.ep.ID()) {
			a, b = b, a
		}
		a.dial(b)
		a.dial(b)
		b.dial(a)
		w.run(2*time.Second, nil)
		if len(a.sessions) != 2 || len(b.sessions) != 2 || a.counts[Closed]+b.counts[Closed] > 0 {
			w.fatalf("%d and %d sessions, %d and %d closed", len(a.sessions), len(b.sessions), a.counts[Closed], b.counts[Closed])
		}
		for _, p := range []*peer{a, b} {
			for _, s := range p.sessions {
				p.mustPost(s, Message{}, 100)
			}
		}
		w.run(time.Second, nil)
		if err := w.ledger.settled(); err != nil {
			w.fatalf("%v", err)
		}
	})
}

// Each side has answered the other's INIT when both answers arrive. Until the
// loser of the two handshakes is merged, frames sent under it must not be
// answered with a RESET: it would end the session of an honest application.
func TestCrossedDialSurvivesTheLossOfItsFirstFrames(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 20 * time.Millisecond})
	if !a.ep.designated(b.ep.ID()) {
		a, b = b, a
	}
	// a answers b before it dials, and b hears of that only after it has
	// answered a. The first frames of a are lost.
	var answer *capture
	late := true
	w.record(func(c capture) bool {
		if c.to == b && wire.Classify(c.data) == wire.KindResp && late {
			answer = &c
			return true
		}
		return c.to == b && isData(c.data) && w.vtime() < 600*time.Millisecond
	})
	b.dial(a)
	w.want("a answers", time.Second, func() bool { return answer != nil })
	a.dial(b)
	w.want("a has its session", 2*time.Second, func() bool { return a.session() != nil })
	late = false
	w.net.Inject(w.vtime(), a.addr(), b.addr(), answer.data)
	w.want("b has its session", time.Second, func() bool { return b.session() != nil })
	b.mustPost(b.session(), Message{}, 100)
	w.run(5*time.Second, nil)
	if a.counts[Closed]+b.counts[Closed] > 0 || len(a.sessions) != 1 || len(b.sessions) != 1 {
		w.fatalf("%d and %d sessions, %d and %d closed: %v", len(a.sessions), len(b.sessions), a.counts[Closed], b.counts[Closed], b.lastClosed.Err)
	}
	if err := w.ledger.settled(); err != nil {
		w.fatalf("%v", err)
	}
}

// inSessionWith brings up a session of a hostile peer with b.
func hostileSession(t *testing.T) (w *world, b *peer, m *rawPeer) {
	w = newWorld(t, 1)
	_, b = w.pair(wiretest.Link{Delay: time.Millisecond})
	m = w.rawPeer(b, 1)
	m.dial()
	w.want("the session comes up", time.Second, func() bool { return b.session() != nil })
	return w, b, m
}

func TestOnePeerHasItsShareOfSessions(t *testing.T) {
	const all, share = 80, 80 / peerShare
	w := newWorld(t, 1)
	a, b := w.peer("alice", nil, Config{}), w.peer("bob", nil, Config{MaxSessions: all})
	m := w.rawPeer(b, 200)
	m.heardOf = func(_ netip.AddrPort, c *wire.Chunk) {
		if c.Type == wire.TypePathChallenge {
			m.sendChunks(wire.AppendPath(nil, wire.TypePathResponse, c.Path))
		}
	}
	for range all {
		m.dial()
		w.run(5*time.Millisecond, nil)
	}
	if n := len(b.sessions); n != share {
		t.Errorf("one peer has %d sessions of %d, want %d", n, all, share)
	}
	w.connect(a, b)
	w.transfer(a, 10<<10, time.Second)
}

// A peer that is everywhere at once, answers challenges from where it likes and
// retires what it holds: paths and connection IDs come and go with each datagram.
func TestPeerThatMovesWithEachFrameIsContained(t *testing.T) {
	eachSeed(t, 0.1, func(w *world) {
		w.deep = true
		a, b := w.pair(wiretest.Link{Delay: 3 * time.Millisecond})
		w.connect(a, b)
		m := w.rawPeer(b, 200)
		var owed [][8]byte
		retire := uint64(0)
		m.heardOf = func(_ netip.AddrPort, c *wire.Chunk) {
			if c.Type == wire.TypePathChallenge {
				owed = append(owed[max(0, len(owed)-20):], c.Path)
			}
		}
		up := a.beat(b, 10*time.Millisecond)
		m.dial()
		w.every(time.Millisecond, func() bool {
			m.port = rawPort + uint16(m.rng.IntN(40))
			switch {
			case m.keys == nil:
			case b.with(a) == nil || len(b.sessions) < 2:
				m.dial()
				retire = 0
			case m.rng.IntN(100) == 0:
				b.post(b.session(), Message{}, 5000)
			case m.rng.IntN(3) == 0 && len(owed) > 0:
				m.sendChunks(wire.AppendPath(nil, wire.TypePathResponse, owed[m.rng.IntN(len(owed))]))
			case m.rng.IntN(6) == 0:
				m.acknowledge()
			case m.rng.IntN(20) == 0:
				n := wire.NewConnID{Seq: retire + 1, RetireTo: retire + 1}
				m.rngRead(n.ID[:])
				m.rngRead(n.Token[:])
				retire++
				m.sendChunks(n.Append(nil))
			case m.rng.IntN(2) == 0:
				m.sendChunks(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{byte(m.pn)}))
			default:
				m.sendChunks([]byte{byte(wire.TypePing)})
			}
			return true
		})
		w.run(1500*time.Millisecond, nil)
		if n := up.missing(w.now); n > 0 || a.counts[Closed] > 0 {
			w.fatalf("the honest peer suffers: %d messages missing, events %v", n, a.counts)
		}
	})
}

// A peer that asks for answers and acknowledges none of them makes nothing grow.
func TestUnacknowledgedAnswersAreForgotten(t *testing.T) {
	w, b, m := hostileSession(t)
	s := b.session()
	for n := range uint64(5000) {
		m.sendChunks(wire.AppendPath(nil, wire.TypePathChallenge, [8]byte{byte(n), byte(n >> 8)}))
		w.run(time.Millisecond, nil)
		if s.state != stateEstablished {
			t.Fatalf("the session has ended: %v", b.lastClosed.Err)
		}
	}
	if n := s.loss.Outstanding(); n > unackedMax+64 {
		t.Errorf("%d frames are remembered", n)
	}
}

// Each acknowledgement may cost a walk over all that is in flight.
func TestFrameBringsOneAcknowledgement(t *testing.T) {
	w, b, m := hostileSession(t)
	ack := wire.AppendAck(nil, 0, []wire.Range{{Lo: 0, Hi: 0}}, 100)
	m.sendChunks(append(append([]byte(nil), ack...), ack...))
	w.run(10*time.Millisecond, nil)
	if b.counts[Closed] != 1 {
		t.Error("a frame with two acknowledgements was taken")
	}
}

// A peer forges the sources of its own frames, so that what it asked for goes to
// a victim, and has somebody there tell it what to acknowledge. Whatever it does,
// little more than three times what it sends comes.
func TestPeerCannotUseUsAsAnAmplifier(t *testing.T) {
	for _, ports := range []uint64{1, 20, 1000} {
		t.Run(fmt.Sprint(ports, " ports"), func(t *testing.T) {
			w, b, m := hostileSession(t)
			m.acknowledge()
			w.run(time.Second, nil)
			victim, in, out := w.address(), 0, 0
			var seen []uint64
			w.onTap = func(_, to netip.AddrPort, data []byte) {
				if to.Addr() != victim {
					return
				}
				out += len(data)
				if pn, _, err := m.keys.Open(w.now, bytes.Clone(data), m.largest, m.heard); err == nil {
					seen, m.largest = append(seen, pn), max(m.largest, pn)
				}
			}
			m.divert = func(data []byte) {
				in += len(data)
				port := 1000 + uint16(m.pn%ports)
				w.net.Inject(w.vtime(), netip.AddrPortFrom(victim, port), b.addr(), data)
			}
			b.stream(Message{}, 16<<10, 200)
			for range 2000 {
				if len(seen) > 0 {
					m.sendChunks(wire.AppendAck(nil, 0, rangesOf(seen), 100))
				} else {
					m.sendChunks([]byte{byte(wire.TypePing)})
				}
				w.run(2*time.Millisecond, nil)
			}
			w.run(5*time.Second, nil)
			if limit := 4*in + 32*48; out > limit || len(seen) == 0 {
				t.Errorf("%d bytes with the victim's address drew %d", in, out)
			} else {
				t.Logf("%d bytes with the victim's address drew %d", in, out)
			}
		})
	}
}

// rangesOf returns the last few of ascending numbers as ranges to acknowledge.
func rangesOf(pns []uint64) (out []wire.Range) {
	for _, pn := range slices.Backward(pns[max(0, len(pns)-16):]) {
		if n := len(out); n > 0 && out[n-1].Lo == pn+1 {
			out[n-1].Lo = pn
		} else {
			out = append(out, wire.Range{Lo: pn, Hi: pn})
		}
	}
	return out
}
