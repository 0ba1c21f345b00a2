package session

import (
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Limits on handshakes that strangers begin (SPEC §4).
const (
	maxHalfOpen     = 1024
	underLoadAt     = 128 // half-open sessions from which a cookie is asked for
	underLoadHold   = time.Second
	halfOpenPerHost = 16   // while under load, or half as many as there is room for
	wastedPerSecond = 1024 // INITs that come to Diffie-Hellman and lead to nothing; more is load
	wastedPerHost   = 16   // of these, while under load
	wastedHosts     = 4096
	peerShare       = 4 // an INIT of a peer that has a quarter of all sessions is refused
	halfOpenLife    = 10 * time.Second
	respInterval    = 50 * time.Millisecond
)

var wasteRate = limit.Rate{PerSecond: wastedPerSecond, Burst: wastedPerSecond}

// acceptState is what the endpoint knows about handshakes that others began and
// have not confirmed.
type acceptState struct {
	n         int
	byMAC     map[[wire.MACLen]byte]*Session // by INIT, as long as its session lives: a repeat makes no other
	byPeer    map[wire.PeerID][]*Session
	perSource map[netip.Prefix]int
	loadUntil Time
	waste     limit.Bucket
	wasted    map[netip.Prefix]int // INITs read in vain, by source, since wastedAt
	wastedAt  Time
}

func (a *acceptState) init() {
	a.byMAC = make(map[[wire.MACLen]byte]*Session)
	a.byPeer = make(map[wire.PeerID][]*Session)
	a.perSource = make(map[netip.Prefix]int)
	a.wasted = make(map[netip.Prefix]int)
}

// readInVain counts an INIT from source that came to Diffie-Hellman and led to nothing:
// it leaves no half-open session behind by which the load would be noticed.
func (a *acceptState) readInVain(now Time, source netip.Prefix) {
	if !a.waste.Take(now, wasteRate, 1) {
		a.loadUntil = now.Add(underLoadHold)
	}
	if len(a.wasted) < wastedHosts {
		a.wasted[source]++
	}
}

// crowded reports whether a source has had its share while there is load, and room for so
// many half-open sessions. Many peers may be behind one address: a source may have half
// of what is left, so that those which take all they can leave twice as much as each has.
func (a *acceptState) crowded(now Time, source netip.Prefix, room int) bool {
	if now.Sub(a.wastedAt) >= time.Second {
		clear(a.wasted)
		a.wastedAt = now
	}
	n, seen := a.wasted[source]
	return a.perSource[source] >= max(halfOpenPerHost, room/2) || n >= wastedPerHost || !seen && len(a.wasted) == wastedHosts
}

// halfOpen is what a session remembers while it waits for the initiator to
// prove, by its first DATA frame, that it holds the keys.
type halfOpen struct {
	source  netip.Prefix
	frame   []byte // the RESP, the same bytes each time
	to      Path
	due     bool
	first   Time // when it was first sent
	sentAt  Time
	sends   int
	crossed *Session // our own dial to the same peer, if one was under way
}

// underLoad reports whether strangers must first show that they get our answers.
func (e *Endpoint) underLoad(now Time) bool {
	if e.accepts.n >= underLoadAt {
		e.accepts.loadUntil = now.Add(underLoadHold)
	}
	return now < e.accepts.loadUntil
}

// handleInit climbs a ladder of checks, each dearer than the one before: length and
// version, MAC, repeat, cookie, limits, and only then Diffie-Hellman.
func (e *Endpoint) handleInit(now Time, p Path, b []byte) {
	f, err := wire.ParseInit(b)
	if err != nil || f.Version != wire.Version {
		e.stats.DroppedShort++
		return
	}
	if !e.resp.CheckMAC1(b) {
		e.stats.DroppedMAC++
		return
	}
	mac := [wire.MACLen]byte(f.MAC1)
	if (e.underLoad(now) || !zero(f.MAC2)) && !e.knowsCookie(now, p, b) {
		return
	}
	if s := e.accepts.byMAC[mac]; s != nil {
		s.repeatResp(now, p)
		return
	}
	source := sourceOf(p)
	room := min(maxHalfOpen-e.accepts.n, e.cfg.MaxSessions-e.sessions)
	if room <= 0 || e.accepts.crowded(now, source, room) && e.underLoad(now) {
		e.stats.DroppedLimit++
		return
	}
	if !e.admit(now, p, mac, b) {
		e.accepts.readInVain(now, source)
	}
}

// admit reads an INIT and begins a session if its sender may have one.
func (e *Endpoint) admit(now Time, p Path, mac [wire.MACLen]byte, b []byte) bool {
	pending, err := e.resp.Read(b)
	if err != nil || pending.Peer == e.ID() || e.cfg.Allow != nil && !e.cfg.Allow(pending.Peer) {
		e.stats.DroppedHandshake++
		return false
	}
	if len(e.peers[pending.Peer])+len(e.accepts.byPeer[pending.Peer]) >= max(1, e.cfg.MaxSessions/peerShare) {
		e.stats.DroppedLimit++
		return false
	}
	if e.settled(pending) {
		return false
	}
	crossed := e.crossedDial(now, pending.Peer, p)
	if crossed != nil && e.designated(pending.Peer) {
		return false // our own INIT stands; the peer answers it
	}
	return e.accept(now, p, mac, pending, crossed)
}

// knowsCookie checks MAC2. Whoever fails is sent a cookie, also one that shows an
// outdated cookie while none is asked for: else it would go on doing so.
func (e *Endpoint) knowsCookie(now Time, p Path, b []byte) bool {
	var key [22]byte
	addr := pathKey(p, &key)
	if e.resp.CheckMAC2(now, b, addr) {
		return true
	}
	var nonce [24]byte
	e.rng.Read(nonce[:])
	if c, ok := e.resp.Cookie(now, b, addr, nonce); ok {
		e.stats.CookiesSent++
		e.answer(p, c.Append(nil))
	}
	return false
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

func (e *Endpoint) accept(now Time, p Path, mac [wire.MACLen]byte, pending *handshake.Pending, crossed *Session) bool {
	s := e.newSession(pending.Peer, false)
	params := s.params()
	if crossed != nil {
		params.Crosses = crossed.local.live[0].id
	}
	frame, res, err := pending.Respond(&params, e.keypair())
	if err != nil {
		e.stats.DroppedHandshake++
		e.drop(s)
		return false
	}
	s.state = stateHalfOpen
	s.initMAC = mac
	s.half = &halfOpen{source: sourceOf(p), frame: frame, to: p, due: true, crossed: crossed}
	s.expires = now.Add(halfOpenLife)
	e.accepts.n++
	e.accepts.byMAC[mac] = s
	e.accepts.byPeer[s.peer] = append(e.accepts.byPeer[s.peer], s)
	e.accepts.perSource[s.half.source]++
	s.start(now, &res, p)
	e.touch(s)
	return true
}

func (s *Session) repeatResp(now Time, p Path) {
	if s.half == nil || now.Sub(s.half.sentAt) < respInterval {
		return
	}
	s.half.to, s.half.due = p, true
	s.e.touch(s)
}

func (s *Session) nextResp(now Time, buf []byte) (Datagram, bool) {
	if !s.half.due {
		return Datagram{}, false
	}
	s.half.due, s.half.sentAt = false, now
	if s.half.sends++; s.half.sends == 1 {
		s.half.first = now
	}
	n := copy(buf, s.half.frame)
	s.countSent(n)
	if x := s.findPath(s.half.to); x != nil {
		x.sent += uint64(n)
	}
	return Datagram{Path: s.half.to, Data: buf[:n], Segment: n}, true
}

// leaveHalfOpen takes s off the books of unconfirmed handshakes.
func (e *Endpoint) leaveHalfOpen(s *Session) {
	h := s.half
	if h == nil {
		return
	}
	s.half = nil
	e.accepts.n--
	forget(e.accepts.byPeer, s.peer, s)
	if e.accepts.perSource[h.source]--; e.accepts.perSource[h.source] == 0 {
		delete(e.accepts.perSource, h.source)
	}
}
