package session

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// What somebody without keys can do with datagrams: nothing.

// A capture is a datagram that was on its way to a peer.
type capture struct {
	to   *peer
	from netip.AddrPort
	data []byte
}

// record keeps every datagram from now on, and holds those back that hold says.
func (w *world) record(hold func(capture) bool) *[]capture {
	var got []capture
	w.onCatch = func(d wiretest.Packet) bool {
		for _, p := range w.peers {
			if p.host == d.Host {
				c := capture{p, d.From, bytes.Clone(d.Data)}
				got = append(got, c)
				return hold != nil && hold(c)
			}
		}
		return false
	}
	return &got
}

// feed gives a peer a datagram and returns what that brought forth beside
// RESETs, which answer connection IDs that nobody has.
func (p *peer) feed(from netip.AddrPort, data []byte) (datagrams, events int) {
	p.ep.HandleDatagram(p.now, Path{Remote: from}, wire.NotECT, bytes.Clone(data))
	for d, ok := p.ep.NextDatagram(p.now, p.buf); ok; d, ok = p.ep.NextDatagram(p.now, p.buf) {
		if wire.Classify(d.Data) != wire.KindReset {
			datagrams++
		}
	}
	for _, ok := p.ep.NextEvent(); ok; _, ok = p.ep.NextEvent() {
		events++
	}
	return datagrams, events
}

// wantIgnored feeds a datagram from where the genuine one came from and from a
// stranger, and wants nothing to come of it.
func (c *capture) wantIgnored(what string, data []byte) {
	for _, from := range []netip.AddrPort{c.from, netip.MustParseAddrPort("192.0.2.1:9")} {
		if datagrams, events := c.to.feed(from, data); datagrams+events > 0 {
			c.to.fatalf("%s, sent to %s from %v: %d datagrams and %d events came of it\n%x", what, c.to.name, from, datagrams, events, data)
		}
	}
}

func (c *capture) wantState(what string, before uint64) {
	if stateHash(c.to.ep) != before {
		c.to.fatalf("%s, sent to %s, changed its state (kind %d, %d bytes)", what, c.to.name, wire.Classify(c.data), len(c.data))
	}
}

// conversation makes two peers exchange every kind of chunk.
func conversation(w *world, a, b *peer) {
	for i := range 4 {
		m := Message{Channel: uint16(i), Mode: wire.Mode(i), Receipt: true}
		a.mustPost(a.session(), m, 60)
		b.mustPost(b.session(), m, 60)
		w.run(20*time.Millisecond, nil)
	}
	a.mustPost(a.session(), Message{Channel: 1, Deadline: w.now.Add(time.Millisecond)}, 60)
	w.run(200*time.Millisecond, nil)
}

func TestMutatedFramesChangeNothing(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
	handshake := w.record(nil)
	w.connect(a, b)
	w.run(2*time.Second, nil) // path sizes are settled, so that frames are small
	conversationFrames := w.record(nil)
	conversation(w, a, b)
	w.run(2*time.Second, nil)
	// Frames that have not arrived: the genuine ones would be accepted now.
	held := w.record(func(c capture) bool { return isData(c.data) })
	a.mustPost(a.session(), Message{}, 60)
	b.mustPost(b.session(), Message{}, 60)
	w.run(6*time.Millisecond, nil)

	frames := append(append(*handshake, *conversationFrames...), *held...)
	kinds := make(map[wire.Kind]int)
	for _, c := range frames {
		if len(c.data) > 400 || kinds[wire.Classify(c.data)] > 24 {
			continue
		}
		kinds[wire.Classify(c.data)]++
		c.mutate()
	}
	if kinds[wire.KindInit] == 0 || kinds[wire.KindResp] == 0 || kinds[wire.KindData] < 20 || len(*held) < 2 {
		t.Fatalf("too few frames were tried: %v, held back %d", kinds, len(*held))
	}
	w.onCatch = nil
	w.run(5*time.Second, nil)
	w.transfer(a, 10<<10, 5*time.Second)
	w.transfer(b, 10<<10, 5*time.Second)
	if err := w.ledger.settled(); err != nil {
		w.fatalf("%v", err)
	}
}

// mutate tries every flipped bit and every length of a frame.
func (c *capture) mutate() {
	before := stateHash(c.to.ep)
	bits := c.data
	if wire.Classify(c.data) == wire.KindInit {
		bits = bits[:len(bits)-wire.MACLen] // the second MAC counts under load only
	}
	for i := range bits {
		for bit := range 8 {
			c.data[i] ^= 1 << bit
			c.wantIgnored("a flipped bit", c.data)
			c.data[i] ^= 1 << bit
		}
		c.wantState("a flipped bit", before)
	}
	for n := range c.data {
		c.wantIgnored("a truncated frame", c.data[:n])
	}
	c.wantIgnored("an extended frame", append(bytes.Clone(c.data), 0))
	c.wantState("a truncated frame", before)
}

func TestReplayedFramesChangeNothing(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
	all := w.record(nil)
	w.connect(a, b)
	conversation(w, a, b)
	w.run(5*time.Second, nil)
	for _, c := range *all {
		if wire.Classify(c.data) == wire.KindInit {
			continue
		}
		before := stateHash(c.to.ep)
		c.wantIgnored("a replayed frame", c.data)
		c.wantState("a replayed frame", before)
	}
	// An INIT may be answered again; only its author could do anything with
	// the answer, and what is remembered of it goes away.
	for _, c := range *all {
		if wire.Classify(c.data) != wire.KindInit {
			continue
		}
		for range 3 {
			if _, events := c.to.feed(c.from, c.data); events > 0 {
				t.Error("a replayed INIT was reported")
			}
		}
	}
	w.run(15*time.Second, nil)
	if n := b.ep.Stats().HalfOpen; n != 0 {
		t.Errorf("%d half-open sessions are left of a replayed INIT", n)
	}
	if a.counts[Established] != 1 || b.counts[Established] != 1 || a.counts[Closed]+b.counts[Closed] != 0 {
		t.Errorf("events: %v and %v", a.counts, b.counts)
	}
	w.transfer(a, 10<<10, 5*time.Second)
}

func TestMutatedCookieChangesNothing(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
	b.ep.accepts.loadUntil = w.now.Add(10 * time.Second)
	var cookie *capture
	all := w.record(func(c capture) bool {
		if wire.Classify(c.data) == wire.KindCookie && cookie == nil {
			cookie = &c
			return true
		}
		return false
	})
	a.dial(b)
	w.want("a cookie is asked for", time.Second, func() bool { return cookie != nil })
	cookie.mutate()
	w.want("the session comes up with a cookie", 5*time.Second, func() bool { return b.session() != nil })
	if b.ep.Stats().CookiesSent == 0 || len(*all) == 0 {
		t.Error("no cookie was sent")
	}
}

func TestMutatedResetChangesNothing(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
	w.connect(a, b)
	w.run(time.Second, nil)
	b.restart()
	var reset *capture
	w.record(func(c capture) bool {
		if wire.Classify(c.data) == wire.KindReset && reset == nil {
			reset = &c
		}
		return reset != nil
	})
	a.mustPost(a.session(), Message{}, 60)
	w.want("a reset is sent", time.Second, func() bool { return reset != nil })
	reset.mutate()
	if _, events := a.feed(reset.from, reset.data); events == 0 {
		t.Error("the genuine reset was ignored")
	}
}

// A peer with valid keys may end its own session, and nothing else.
func TestHostilePeerHarmsNobodyElse(t *testing.T) {
	eachSeed(t, 0.2, func(w *world) {
		a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
		w.connect(a, b)
		m := w.rawPeer(b, 1)
		up := a.beat(b, 10*time.Millisecond)
		m.dial()
		w.every(2*time.Millisecond, func() bool {
			switch {
			case m.keys == nil:
			case m.rng.IntN(40) == 0:
				m.dial() // the session has probably ended by now
			case m.rng.IntN(4) == 0:
				m.acknowledge()
			default:
				m.mischief()
			}
			return true
		})
		w.run(time.Second, nil)
		if n := up.missing(w.now); n > 0 || a.counts[Closed] > 0 {
			w.fatalf("the honest peer suffers: %d messages missing, events %v", n, a.counts)
		}
	})
}
