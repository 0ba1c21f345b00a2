package session

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/session/channels"
	"github.com/seed-67dce94e/holdfast/session/fifo"
	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/wire"
)

// An Endpoint holds the sessions that share one set of sockets and finds a
// session by the connection ID in the frame header, never by address.
//
// An Endpoint does no I/O: it opens no socket, starts no goroutine and never
// reads a clock. The caller owns those and keeps one rule:
//
//	make one change (Handle..., Dial, Send, Close, ...), then drain:
//	call NextDatagram and NextEvent until each reports false,
//	and arm one timer with Deadline.
//
// Its methods, and those of its sessions, are not safe for concurrent use.
type Endpoint struct {
	cfg  Config
	id   *handshake.Identity
	resp *handshake.Responder
	rng  *rand.ChaCha8
	now  Time // of the change under way

	byID    map[wire.ConnID]*Session     // by each connection ID that we issued
	byToken map[wire.ResetToken]*Session // by the reset token of the ID that we send to
	peers   map[wire.PeerID][]*Session   // established ones, oldest first
	dials   map[wire.PeerID][]*Session   // handshakes that this side began
	accepts acceptState

	timers    timerHeap
	awake     awakeList
	restAfter time.Duration        // of no messages, before a session goes to rest
	ready     fifo.Queue[*Session] // sessions that may have a datagram to send
	stateless fifo.Queue[reply]    // answers to datagrams that belong to no session
	events    fifo.Queue[Event]
	sessions  int
	closing   int // of them, how many wait for their peer to hear CLOSE
	stats     EndpointStats

	works  spares[work]
	recs   spares[recovery.Path]
	resets limit.Bucket
	probes limit.Bucket    // of probe timeouts that are soon followed by others
	result recovery.Result // scratch
	refs   []recovery.Ref  // scratch
	pool   *channels.Pool  // of message buffers
	chunk  wire.Chunk      // scratch
	copy   []byte          // of the frame that is sent on an escort next
}

// EndpointStats counts what an endpoint has seen that belongs to no session.
type EndpointStats struct {
	Sessions         int    `json:"sessions"` // live, half-open ones included
	HalfOpen         int    `json:"half_open"`
	DroppedShort     uint64 `json:"dropped_short"`         // too short, or oversize
	DroppedType      uint64 `json:"dropped_type"`          // no frame of ours
	DroppedConnID    uint64 `json:"dropped_connection_id"` // for a connection ID that is unknown
	DroppedAuth      uint64 `json:"dropped_auth"`          // failed to authenticate
	DroppedReplay    uint64 `json:"dropped_replay"`        // seen before
	DroppedMAC       uint64 `json:"dropped_mac"`           // INIT from someone who does not know our key
	DroppedHandshake uint64 `json:"dropped_handshake"`     // INIT, RESP or COOKIE that did not fit
	DroppedLimit     uint64 `json:"dropped_limit"`         // refused for want of room
	CookiesSent      uint64 `json:"cookies_sent"`
	ResetsSent       uint64 `json:"resets_sent"`
}

// A Datagram is what NextDatagram wants sent.
type Datagram struct {
	Path Path
	// ECN is the codepoint for the IP header of each datagram in Data: ECT(0) or
	// Not-ECT. If the caller cannot set it, the session finds that out.
	ECN  wire.ECN
	Data []byte // shares the buffer given to NextDatagram
	// Segment is the size of each datagram in Data; they stand one after the
	// other, and the last may be shorter.
	Segment int
}

// reply is a datagram that answers one which belongs to no session.
type reply struct {
	path Path
	n    int
	data [wire.CookieLen]byte
}

const (
	maxStateless    = 64   // answers queued (SPEC §11)
	resetsPerSecond = 50   // SPEC §10
	minBuffer       = 1200 // NextDatagram needs at least this much
)

var resetRate = limit.Rate{PerSecond: resetsPerSecond, Burst: resetsPerSecond}

// PublicKey returns the public half of an identity's private key.
func PublicKey(private [32]byte) (wire.PeerID, error) {
	id, err := handshake.NewIdentity(private)
	if err != nil {
		return wire.PeerID{}, err
	}
	return id.Public(), nil
}

// NewEndpoint returns an endpoint with no sessions. All its randomness, keys
// included, comes from seed unless Config.Keypair and DialOptions.Ephemeral bring some:
// draw it from crypto/rand, or fix it to replay a run.
func NewEndpoint(cfg *Config, seed [32]byte) (*Endpoint, error) {
	id, err := handshake.NewIdentity(cfg.Key)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg:     cfg.withDefaults(),
		id:      id,
		pool:    channels.NewPool(),
		rng:     rand.NewChaCha8(seed),
		byID:    make(map[wire.ConnID]*Session),
		byToken: make(map[wire.ResetToken]*Session),
		peers:   make(map[wire.PeerID][]*Session),
		dials:   make(map[wire.PeerID][]*Session),

		restAfter: defaultRestAfter,
	}
	e.accepts.init()
	e.resp, err = id.NewResponder(e.cfg.App, e.secret())
	return e, err
}

// ID returns the peer ID of this endpoint.
func (e *Endpoint) ID() wire.PeerID { return e.id.Public() }

// Stats returns what the endpoint has counted.
func (e *Endpoint) Stats() EndpointStats {
	st := e.stats
	st.Sessions, st.HalfOpen = e.sessions, e.accepts.n
	return st
}

func (e *Endpoint) secret() (b [32]byte) {
	e.rng.Read(b[:])
	return b
}

func (e *Endpoint) keypair() *handshake.Keypair {
	if e.cfg.Keypair != nil {
		return e.cfg.Keypair()
	}
	return handshake.NewKeypair(e.secret())
}

// newConnID draws an ID that names no session yet. Its first byte tells the
// shard it belongs to.
func (e *Endpoint) newConnID() (id wire.ConnID) {
	for {
		e.rng.Read(id[:])
		if n := e.cfg.Shards; n > 1 {
			id[0] = id[0] - id[0]%n + e.cfg.Shard
			if id[0]%n != e.cfg.Shard {
				continue // wrapped around at the top
			}
		}
		if _, taken := e.byID[id]; !taken && id != (wire.ConnID{}) {
			return id
		}
	}
}

// enter notes the time of a change. Time never goes backwards, whatever the
// caller's clock does.
func (e *Endpoint) enter(now Time) { e.now = max(e.now, now) }

// touch wakes s and puts it on the list of sessions to drain.
func (e *Endpoint) touch(s *Session) {
	s.wake()
	e.enqueue(s)
}

// enqueue puts s on the list of sessions to drain, at rest or not.
func (e *Endpoint) enqueue(s *Session) {
	if !s.queued {
		s.queued = true
		e.ready.Push(s)
	}
}

func (e *Endpoint) emit(ev Event) { e.events.Push(ev) }

// HandleDatagram takes in a datagram that arrived on p at now; mark is the ECN
// codepoint of its IP header, wire.NotECT where that is not known. It works in place
// and keeps no part of b. It returns no error: what does not authenticate is counted
// and dropped.
func (e *Endpoint) HandleDatagram(now Time, p Path, mark wire.ECN, b []byte) {
	e.enter(now)
	switch wire.Classify(b) {
	case wire.KindData:
		e.handleData(e.now, p, mark, b)
	case wire.KindInit:
		e.handleInit(e.now, p, b)
	case wire.KindResp:
		e.handleResp(e.now, p, b)
	case wire.KindCookie:
		e.handleCookie(e.now, b)
	case wire.KindReset:
		e.handleReset(e.now, b)
	default:
		e.stats.DroppedType++
	}
}

func (e *Endpoint) handleData(now Time, p Path, mark wire.ECN, b []byte) {
	if len(b) < wire.MinDataLen {
		e.stats.DroppedShort++
		return
	}
	id, _ := wire.Destination(b)
	s := e.byID[id]
	if s == nil {
		e.stats.DroppedConnID++
		e.offerReset(now, p, id)
		return
	}
	if s.keys == nil {
		// No keys yet. To answer would give away the token of an ID that is
		// about to be used.
		e.stats.DroppedConnID++
		return
	}
	s.handleFrame(now, p, mark, id, b)
}

// timeoutsMax is for how many sessions HandleTimeout does what is due: if there are
// many, the caller looks in between what has arrived, which may be what they wait for.
const timeoutsMax = 64

// HandleTimeout does what was due by now, for a limited number of sessions: the
// Deadline tells whether there are more. Calling it early is harmless.
func (e *Endpoint) HandleTimeout(now Time) {
	e.enter(now)
	fired := false
	for n := 0; n < timeoutsMax && len(e.timers) > 0 && e.timers[0].at <= e.now; n++ {
		s := e.timers[0].s
		e.takeTimer(s)
		if !s.timeoutAtRest(e.now) {
			s.wake()
			s.handleTimeout(e.now)
		}
		e.enqueue(s)
		fired = true
	}
	if fired {
		e.keepOthersAlive()
	}
	e.restSome()
}

// takeTimer takes the timer of a session whose time has come.
func (e *Endpoint) takeTimer(s *Session) {
	s.deadline = Never
	e.timers.fix(s)
}

// Deadline returns the time by which HandleTimeout must be called, or Never.
func (e *Endpoint) Deadline() Time {
	if len(e.timers) == 0 {
		return e.awake.deadline()
	}
	return min(e.timers[0].at, e.awake.deadline())
}

// NextDatagram writes the next datagram to send into buf, which has room for at
// least 1200 bytes. Given room for several, it may fill in a run of them that
// all go the same way (see Datagram.Segment). It reports false when nothing more
// may be sent at now.
func (e *Endpoint) NextDatagram(now Time, buf []byte) (Datagram, bool) {
	if len(buf) < minBuffer {
		panic("session: buffer below 1200 bytes")
	}
	e.enter(now)
	if r, ok := e.stateless.Pop(); ok {
		n := copy(buf, r.data[:r.n])
		return Datagram{Path: r.path, Data: buf[:n], Segment: n}, true
	}
	for {
		s, ok := e.ready.Peek()
		if !ok {
			return Datagram{}, false
		}
		if d, ok := s.nextDatagram(e.now, buf); ok {
			return d, true
		}
		e.ready.Pop()
		s.queued = false
		s.settle(e.now)
	}
}

// Pending reports whether NextDatagram or NextEvent may have anything to give: if
// not, the last change needs no draining.
func (e *Endpoint) Pending() bool {
	return e.ready.Len() > 0 || e.events.Len() > 0 || e.stateless.Len() > 0
}

// NextEvent returns the next event, in the order things happened.
func (e *Endpoint) NextEvent() (Event, bool) { return e.events.Pop() }

// ours reports whether id is one that this shard issues. Another shard may have
// a session by that name, whose token must not be given away to whoever has its
// frames delivered here (RFC 9000 §21.11).
func (e *Endpoint) ours(id wire.ConnID) bool {
	return e.cfg.Shards <= 1 || id[0]%e.cfg.Shards == e.cfg.Shard
}

// A RESET is shorter than any DATA frame, so two endpoints cannot keep each
// other busy. This does not compile otherwise.
const _ = uint(wire.MinDataLen - wire.ResetLen - 1)

// offerReset tells a peer that addresses a session this endpoint does not have,
// perhaps because it was restarted (RFC 9000 §10.3).
func (e *Endpoint) offerReset(now Time, p Path, id wire.ConnID) {
	if !e.ours(id) || !e.resets.Take(now, resetRate, 1) {
		return
	}
	e.stats.ResetsSent++
	f := wire.Reset{ID: id, Token: e.id.ResetToken(id)}
	e.answer(p, f.Append(nil))
}

func (e *Endpoint) handleReset(now Time, b []byte) {
	f, err := wire.ParseReset(b)
	if err != nil {
		e.stats.DroppedShort++
		return
	}
	s := e.byToken[f.Token]
	if s == nil || s.remote.current().id != f.ID {
		e.stats.DroppedConnID++
		return
	}
	s.fail(now, ErrPeerRestarted)
}

func (e *Endpoint) answer(p Path, b []byte) {
	if e.stateless.Len() >= maxStateless {
		e.stats.DroppedLimit++
		return
	}
	r := reply{path: p, n: len(b)}
	copy(r.data[:], b)
	e.stateless.Push(r)
}

// forgetID takes a connection ID out of use.
func (e *Endpoint) forgetID(id wire.ConnID, s *Session) {
	if e.byID[id] == s {
		delete(e.byID, id)
	}
}

// pathKey is what a cookie is bound to: the source of a datagram, as bytes.
func pathKey(p Path, b *[22]byte) []byte {
	a := p.Remote.Addr().As16()
	copy(b[:], a[:])
	port := p.Remote.Port()
	b[16], b[17] = byte(port>>8), byte(port)
	b[18], b[19], b[20], b[21] = byte(p.Link>>24), byte(p.Link>>16), byte(p.Link>>8), byte(p.Link)
	return b[:]
}

// sourceOf is the unit in which strangers are limited: an IPv4 address, an IPv6
// /64, or a relay link. Which of our sockets they write to gives them no more.
func sourceOf(p Path) netip.Prefix {
	if p.IsRelay() {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{0, byte(p.Link >> 16), byte(p.Link >> 8), byte(p.Link)}), 32)
	}
	bits := 32
	if p.Remote.Addr().Is6() {
		bits = 64
	}
	x, _ := p.Remote.Addr().Prefix(bits)
	return x
}
