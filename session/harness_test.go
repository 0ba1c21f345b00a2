package session

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

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
	restless    bool                // its sessions go to rest as soon as they can
	latest      []byte              // datagram sent
	marked      bool                // it was
	asleep      bool                // the machine is suspended: it hears nothing, and no timer fires
	batches     int                 // of several datagrams, sent
	spoils      func(i, n int) bool // whether datagram i of a batch of n never leaves
	dialWith    congestion.Algorithm
	buf         []byte
}

// A link is a relay link: datagrams fly between two hosts that stand for the
// relay's servers.
type link struct {
	host   *wiretest.Host
	remote netip.AddrPort
}

// maxSockets is how many sockets a peer has beside its main one. Link
// LinkSocket+i sends from, and hears at, the port that is i above that one's.
const maxSockets = 8

const (
	peerPort = 4000
	linkPort = 7000
)

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
	if p.restless {
		ep.restAfter = 0
	}
	p.ep, p.sessions, p.known = ep, nil, make(map[*Session]bool)
	p.traffic = make(map[netip.AddrPort]*traffic)
}

// use makes a peer that has no session yet use another congestion control.
func (p *peer) use(a congestion.Algorithm) {
	p.cfg.Congestion = a
	p.start()
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
	size := d.Segment
	if size == 0 {
		size = len(d.Data)
	}
	n, i := (len(d.Data)+size-1)/size, 0
	if n > 1 {
		p.batches++
	}
	for data := range slices.Chunk(d.Data, size) {
		if n == 1 || p.spoils == nil || !p.spoils(i, n) {
			p.sendOne(d.Path, d.ECN, data)
		}
		i++
	}
}

func (p *peer) sendOne(to Path, mark wire.ECN, data []byte) {
	p.checkPlaintext(data)
	p.checkMark(to, mark, data)
	if to.IsRelay() {
		l := p.links[to.Link-1]
		l.host.SendECN(p.vtime(), linkPort, l.remote, mark, data)
		return
	}
	p.checkDestination(to.Remote, len(data))
	p.host.SendECN(p.vtime(), p.port+uint16(to.Link), to.Remote, mark, data)
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

// dial opens a session from p to q on the given paths, or on q's own address.
func (p *peer) dial(q *peer, paths ...Path) (s *Session) {
	if len(paths) == 0 {
		paths = []Path{q.path()}
	}
	p.change(func(now Time) {
		var err error
		if s, err = p.ep.Dial(now, DialOptions{Peer: q.ep.ID(), Paths: paths, Congestion: p.dialWith}); err != nil {
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

// isData reports whether a datagram is a DATA frame.
func isData(data []byte) bool { return wire.Classify(data) == wire.KindData }

// checkMark sees to it that only what goes to a proved address over UDP is marked,
// and not to another as well [S51]. The copy for an escort comes next.
func (p *peer) checkMark(to Path, mark wire.ECN, data []byte) {
	if p.marked && bytes.Equal(data, p.latest) {
		p.fatalf("%s: a marked datagram is copied to %v", p.name, to)
	}
	p.marked, p.latest = mark != wire.NotECT, append(p.latest[:0], data...)
	if !p.marked {
		return
	}
	for _, s := range p.ep.byID {
		if x := s.active; x != nil && x.Path == to && x.validated && !x.IsRelay() {
			return
		}
	}
	p.fatalf("%s: a datagram to %v, which is not proved, is marked", p.name, to)
}

// plaintextMark is in every message long enough; it must never be on the wire.
var plaintextMark = []byte("plain text")

func (p *peer) checkPlaintext(data []byte) {
	if bytes.Contains(data, plaintextMark) {
		p.fatalf("%s: plaintext in a datagram", p.name)
	}
}
