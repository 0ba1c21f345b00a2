package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A world is endpoints on a pretend network in virtual time. It obeys the law
// of the core: make one change, then drain everything. After each change it
// checks what must hold at every instant; see check_test.go.
type world struct {
	tb     testing.TB
	seed   uint64
	net    *wiretest.Net
	now    Time
	peers  []*peer
	plans  []plan // what the test does later, earliest first
	serial uint64 // of peers, for their seeds and addresses
	deep   bool   // look into every session after every change
	failed bool

	ledger  ledger // of all messages
	hostile map[wire.PeerID]bool
	onTap   func(from, to netip.AddrPort, data []byte)
	onCatch func(p wiretest.Packet) bool // takes a packet away from its peer
}

// A plan is something the test does at a time.
type plan struct {
	at   Time
	what func()
}

// A peer is an endpoint with its socket, its relay links, and an application
// that takes every message at once.
type peer struct {
	*world
	name  string
	cfg   Config
	ep    *Endpoint
	host  *wiretest.Host
	port  uint16
	links []link // relay links; Path.Link counts from 1

	sessions    []*Session // established and not yet closed, oldest first
	known       map[*Session]bool
	incarnation uint64
	slow        map[uint16]bool // channels whose messages the application leaves alone
	bulks       []*bulk
	onEvent     func(Event)
	onArrival   func(*entry)    // after the ledger has checked a message
	counts      [Closed + 1]int // events by kind
	lastClosed  Event
	traffic     map[netip.AddrPort]*traffic
	spins       int
	asleep      bool // the machine is suspended: it hears nothing, and no timer fires
	buf         []byte
}

// A link is a relay link: datagrams fly between two hosts that stand for the
// relay's servers.
type link struct {
	host   *wiretest.Host
	remote netip.AddrPort
}

const (
	peerPort = 4000
	linkPort = 7000
)

// epoch is when worlds begin: not at zero, which some fields take for never.
const epoch = Time(time.Hour)

func newWorld(tb testing.TB, seed uint64) *world {
	w := &world{tb: tb, seed: seed, net: wiretest.New(seed), now: epoch, hostile: make(map[wire.PeerID]bool)}
	w.ledger.init()
	w.net.Tap = w.tap
	return w
}

// address returns an address nobody has yet.
func (w *world) address() netip.Addr {
	w.serial++
	return netip.AddrFrom4([4]byte{203, 0, byte(w.serial >> 8), byte(w.serial)})
}

// peer adds a peer behind a NAT, or on the internet if behind is nil. With no
// address given it gets one.
func (w *world) peer(name string, behind *wiretest.NAT, cfg Config, addrs ...netip.Addr) *peer {
	if len(addrs) == 0 {
		addrs = []netip.Addr{w.address()}
	}
	w.serial++
	cfg.Key = [32]byte{1, byte(w.serial), byte(w.serial >> 8)}
	p := &peer{
		world: w, name: name, cfg: cfg, port: peerPort,
		host: w.net.Host(name, behind, addrs...),
		slow: make(map[uint16]bool), buf: make([]byte, 1<<16),
	}
	p.start()
	w.peers = append(w.peers, p)
	return p
}

// start gives the peer a new endpoint, as a new process would.
func (p *peer) start() {
	p.incarnation++
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], p.seed)
	binary.BigEndian.PutUint64(seed[8:], p.incarnation)
	copy(seed[16:], p.cfg.Key[:])
	ep, err := NewEndpoint(&p.cfg, seed)
	if err != nil {
		p.fatalf("NewEndpoint: %v", err)
	}
	p.ep, p.sessions, p.known = ep, nil, make(map[*Session]bool)
	p.traffic = make(map[netip.AddrPort]*traffic)
}

// restart kills the process and starts another with the same identity. What it
// held in memory is gone.
func (p *peer) restart() {
	p.net.Ladder().Note(p.vtime(), p.name+" restarts")
	p.ledger.crashed(p)
	p.start()
}

// pair adds two peers on the internet with the same link each.
func (w *world) pair(l wiretest.Link) (alice, bob *peer) {
	alice, bob = w.peer("alice", nil, Config{}), w.peer("bob", nil, Config{})
	alice.host.SetLink(l)
	return alice, bob
}

// relay joins two peers by a relay link of their own and returns its path,
// which is the same on both sides.
func (w *world) relay(a, b *peer, l wiretest.Link) (onA, onB Path) {
	addrA, addrB := w.address(), w.address()
	hostA := w.net.Host(a.name+" relay", nil, addrA)
	hostB := w.net.Host(b.name+" relay", nil, addrB)
	hostA.SetLink(l)
	a.links = append(a.links, link{hostA, netip.AddrPortFrom(addrB, linkPort)})
	b.links = append(b.links, link{hostB, netip.AddrPortFrom(addrA, linkPort)})
	return Path{Link: uint32(len(a.links))}, Path{Link: uint32(len(b.links))}
}

// addr is where the peer's socket is on its own network.
func (p *peer) addr() netip.AddrPort { return netip.AddrPortFrom(p.host.Addrs()[0], p.port) }

// path is a direct path to the peer for somebody who can reach it there.
func (p *peer) path() Path { return Path{Remote: p.addr()} }

// vtime is the time as the network counts it.
func (w *world) vtime() time.Duration { return w.now.Sub(epoch) }

// at plans something for a time from now.
func (w *world) at(d time.Duration, what func()) {
	when := w.now.Add(d)
	i, _ := slices.BinarySearchFunc(w.plans, when, func(p plan, t Time) int {
		if p.at <= t {
			return -1
		}
		return 1
	})
	w.plans = slices.Insert(w.plans, i, plan{when, what})
}

// every plans something at each interval while what returns true.
func (w *world) every(d time.Duration, what func() bool) {
	w.at(d, func() {
		if what() {
			w.every(d, what)
		}
	})
}

// change makes one change to the peer's endpoint and drains it.
func (p *peer) change(what func(now Time)) {
	what(p.now)
	p.drain()
}

// drainMax is more datagrams than any one change can bring forth, buffers and
// windows being bounded: an endpoint that exceeds it does not end.
const drainMax = 100_000

func (p *peer) drain() {
	for n := 0; ; n++ {
		if n > drainMax {
			p.fatalf("%s: no end of datagrams after one change", p.name)
		}
		if d, ok := p.ep.NextDatagram(p.now, p.buf); ok {
			p.send(d)
			continue
		}
		e, ok := p.ep.NextEvent()
		if !ok {
			break
		}
		p.handle(e) // may take a message, which is a change: drain again
	}
	p.check()
}

// send puts datagrams on the network, one for each segment.
func (p *peer) send(d Datagram) {
	data := d.Data
	for len(data) > 0 {
		n := len(data)
		if d.Segment > 0 {
			n = min(n, d.Segment)
		}
		p.sendOne(d.Path, data[:n])
		data = data[n:]
	}
}

func (p *peer) sendOne(to Path, data []byte) {
	p.checkPlaintext(data)
	if to.IsRelay() {
		l := p.links[to.Link-1]
		l.host.Send(p.vtime(), linkPort, l.remote, data)
		return
	}
	p.checkDestination(to.Remote, len(data))
	p.host.Send(p.vtime(), p.port, to.Remote, data)
}

// handle is the application: it takes messages and notes outcomes.
func (p *peer) handle(e Event) {
	p.counts[e.Kind]++
	switch e.Kind {
	case Established:
		p.sessions = append(p.sessions, e.Session)
		p.known[e.Session] = true
	case Readable:
		if !p.slow[e.Channel] {
			p.take(e.Session, e.Channel)
		}
	case Writable:
		// Not here: draining comes before the next change.
		p.at(0, func() {
			for _, b := range p.bulks {
				b.write()
			}
		})
	case Outcome:
		p.ledger.outcome(p, e)
	case Closed:
		p.checkEnd(e)
		p.sessions = slices.DeleteFunc(p.sessions, func(s *Session) bool { return s == e.Session })
		p.lastClosed = e
		p.ledger.closed(p, e.Session)
	}
	if p.onEvent != nil {
		p.onEvent(e)
	}
}

// take receives every message of a channel.
func (p *peer) take(s *Session, channel uint16) {
	for r, ok := s.Recv(p.now, channel); ok; r, ok = s.Recv(p.now, channel) {
		if p.hostile[s.Peer()] {
			continue // it may say what it likes
		}
		x := p.ledger.delivered(p, s, r)
		if p.onArrival != nil {
			p.onArrival(x)
		}
	}
}

// session returns the newest session that is established, or nil.
func (p *peer) session() *Session {
	if len(p.sessions) == 0 {
		return nil
	}
	return p.sessions[len(p.sessions)-1]
}

// with returns the newest established session with q, or nil.
func (p *peer) with(q *peer) *Session {
	for _, s := range slices.Backward(p.sessions) {
		if s.Peer() == q.ep.ID() {
			return s
		}
	}
	return nil
}

// step moves time to the next thing that happens, if that is not after end, and
// lets it happen. It reports false if nothing does.
func (w *world) step(end Time) bool {
	next := Never
	if at, ok := w.net.Next(); ok {
		next = epoch.Add(at)
	}
	if len(w.plans) > 0 {
		next = min(next, w.plans[0].at)
	}
	for _, p := range w.peers {
		if !p.asleep {
			next = min(next, p.ep.Deadline())
		}
	}
	if next == Never || next > end {
		return false
	}
	w.now = max(w.now, next)
	for _, d := range w.net.Deliver(w.vtime()) {
		w.deliver(d)
	}
	for len(w.plans) > 0 && w.plans[0].at <= w.now {
		what := w.plans[0].what
		w.plans = w.plans[1:]
		what()
	}
	for _, p := range w.peers {
		w.fire(p)
	}
	return true
}

// spinMax is how many times in a row an endpoint may ask for a timeout at once.
const spinMax = 8

// fire lets a due timer go off. An endpoint whose deadline stays in the past
// spins (V11).
func (w *world) fire(p *peer) {
	if p.asleep || p.ep.Deadline() > w.now {
		p.spins = 0
		return
	}
	if p.spins++; p.spins > spinMax {
		p.fatalf("%s: the deadline is in the past %d times in a row: %s", p.name, p.spins, timers(p.ep.timers[0]))
	}
	p.change(p.ep.HandleTimeout)
	if p.asleep || p.ep.Deadline() > w.now {
		p.spins = 0
	}
}

func (w *world) deliver(d wiretest.Packet) {
	if w.onCatch != nil && w.onCatch(d) {
		return
	}
	for _, p := range w.peers {
		if p.asleep {
			continue
		}
		if p.host == d.Host && p.port == d.To.Port() {
			p.received(d.From, d.Data)
			p.change(func(now Time) { p.ep.HandleDatagram(now, Path{Remote: d.From}, d.Data) })
			return
		}
		for i, l := range p.links {
			if l.host == d.Host {
				p.change(func(now Time) { p.ep.HandleDatagram(now, Path{Link: uint32(i + 1)}, d.Data) })
				return
			}
		}
	}
}

// run lets the world live until done returns true or d is over, and reports
// whether it was done. A nil done runs for all of d.
func (w *world) run(d time.Duration, done func() bool) bool {
	end := w.now.Add(d)
	for done == nil || !done() {
		if w.failed || !w.step(end) {
			w.now = end
			return done != nil && done()
		}
	}
	return true
}

// dial opens a session from p to q on the given paths, or on q's own address.
func (p *peer) dial(q *peer, paths ...Path) (s *Session) {
	if len(paths) == 0 {
		paths = []Path{q.path()}
	}
	p.change(func(now Time) {
		var err error
		if s, err = p.ep.Dial(now, DialOptions{Peer: q.ep.ID(), Paths: paths}); err != nil {
			p.fatalf("%s dials %s: %v", p.name, q.name, err)
		}
		p.introduce(paths...)
	})
	return s
}

// connect opens a session and waits until it is up on both sides.
func (w *world) connect(p, q *peer, paths ...Path) (onP, onQ *Session) {
	p.dial(q, paths...)
	w.want("the session comes up", 20*time.Second, func() bool { return p.session() != nil && q.session() != nil })
	return p.session(), q.session()
}

// addPath tells the peer of another way to the other side of its session.
func (p *peer) addPath(s *Session, to Path) {
	p.change(func(now Time) {
		p.introduce(to)
		s.AddPath(now, to)
	})
}

// want runs the world until done, and fails the test if that takes longer than d.
func (w *world) want(what string, d time.Duration, done func() bool) {
	w.tb.Helper()
	if !w.run(d, done) {
		w.fatalf("not within %v: %s", d, what)
	}
}

// fatalf ends the test, with what flew last and how to see it again.
func (w *world) fatalf(format string, args ...any) {
	w.tb.Helper()
	w.failed = true
	w.tb.Fatalf("%s\nat %v, replay: go test ./session -run '^%s$' -seed %d\n%v",
		fmt.Sprintf(format, args...), w.vtime(), strings.ReplaceAll(w.tb.Name(), "/", "$/^"), w.seed, w.net.Ladder())
}

func (w *world) tap(_ time.Duration, from, to netip.AddrPort, data []byte) {
	if w.onTap != nil {
		w.onTap(from, to, data)
	}
}

// isData reports whether a datagram is a DATA frame.
func isData(data []byte) bool { return wire.Classify(data) == wire.KindData }

// plaintextMark is in every message long enough; it must never be on the wire.
var plaintextMark = []byte("plain text")

func (p *peer) checkPlaintext(data []byte) {
	if bytes.Contains(data, plaintextMark) {
		p.fatalf("%s: plaintext in a datagram", p.name)
	}
}
