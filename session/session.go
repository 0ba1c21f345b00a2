package session

import (
	"time"

	"github.com/google/uuid"

	"github.com/seed-67dce94e/holdfast/session/channels"
	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/session/recovery"
	"github.com/seed-67dce94e/holdfast/session/seal"
	"github.com/seed-67dce94e/holdfast/wire"
)

// maxAckDelay is the longest this side holds back an acknowledgement.
const maxAckDelay = recovery.MaxAckDelay

// A state is where a session is in its life (SPEC §2).
type state uint8

const (
	stateDialing     state = iota // INIT sent, no answer yet
	stateHalfOpen                 // RESP sent, the initiator has not confirmed
	stateEstablished              // keys agreed
	stateClosing                  // CLOSE sent, waiting for it to be acknowledged
	stateDraining                 // CLOSE received and answered: nothing else is said until stray frames have passed
	stateClosed
)

// A Session is the protocol state shared with one peer: keys, messages, and the
// paths there are to it. It belongs to an Endpoint, whose rule holds for its
// methods too: one change, then drain.
type Session struct {
	// User is the caller's own; the session does not look at it.
	User any

	e          *Endpoint
	peer       wire.PeerID
	id         uuid.UUID
	state      state
	initiator  bool
	confirmed  bool // the peer is known to hold the keys
	queued     bool // on the endpoint's ready list
	heardPN    bool // any packet number was received
	pingNow    bool // an ack-eliciting frame must go out
	fullMTU    bool // a frame was filled to the brim: worth looking for a larger size
	copied     bool // the endpoint's copy is to go out on the escort next
	probes     int8 // probe-timeout frames to send, whatever the window says
	congestion congestion.Algorithm
	onlyAcks   int16 // frames sent in a row that elicit no acknowledgement
	timer      int32 // place in the endpoint's timer heap, from 1

	deadline Time
	expires  Time // end of the handshake, of closing, or of draining

	initMAC [wire.MACLen]byte // names the INIT that this side answered
	ignored wire.ConnID       // the peer's INIT with this ID crossed ours and is not answered
	dial    *dialState        // while dialing
	half    *halfOpen         // while half open

	keys    *seal.Keys
	replay  seal.Window
	largest uint64 // largest packet number received
	local   localIDs
	remote  remoteIDs
	usedID  uint64 // highest sequence number of a local ID that the peer has used

	peerParams wire.Params
	loss       recovery.State
	acks       recovery.Acks
	msgs       *channels.Set // nil at rest
	resting    []byte        // all there is to remember of msgs; nil while awake
	asked      asked         // at rest
	awake      awakeLinks
	used       Time // when a message was last sent, received or taken

	paths   []*path
	active  *path
	movedAt Time // when this side last moved data by its own decision; 0 is never
	*work        // nil at rest

	idle    idleState
	alive   time.Duration // by SetKeepAlive; 0 is Config.KeepAlive
	rekeyed Time          // when this side last changed its keys

	stats Counters
}

// Counters count what happened on a session so far.
type Counters struct {
	Sent, Received           uint64 // datagrams
	SentBytes, ReceivedBytes uint64 // UDP payload
	Lost                     uint64 // datagrams declared lost
	Spurious                 uint64 // of those, acknowledged after all
	Marked                   uint64 // datagrams that the network marked CE, as the peer tells
	Duplicates               uint64 // datagrams that came twice
	DroppedAuth              uint64 // datagrams that failed to authenticate
	Migrations               uint64 // moves of data to another path
	KeyUpdates               uint64 // begun by this side
}

// Stats are what a session has counted, and what it measures on its active path.
type Stats struct {
	Counters
	SmoothedRTT, MinRTT time.Duration
	RTTVar              time.Duration
	Congestion          congestion.Algorithm // at work
	CongestionWindow    int                  // bytes
	BytesInFlight       int
	MTU                 int // largest UDP payload in use, in bytes
	Messages            channels.Stats
}

func (e *Endpoint) newSession(peer wire.PeerID, initiator bool) *Session {
	e.sessions++
	s := &Session{
		e: e, peer: peer, initiator: initiator, congestion: e.cfg.Congestion,
		deadline: Never, expires: Never,
		msgs: channels.New(e.channelsConfig()), work: e.works.get(),
	}
	id := e.newConnID()
	e.byID[id] = s
	s.local.live = make([]localID, 0, issuedIDs)
	s.local.issue(id, known)
	return s
}

func (e *Endpoint) channelsConfig() channels.Config {
	return channels.Config{
		MaxMessage: e.cfg.MaxMessage, SendBuffer: e.cfg.SendBuffer,
		Window: initialCredit, WindowMax: e.cfg.windowMax(), Pool: e.pool,
	}
}

// params is what this side tells the peer in its handshake frame.
func (s *Session) params() wire.Params {
	cfg := &s.e.cfg
	p := wire.Params{
		ConnID:        s.local.live[0].id,
		AES:           s.e.hasAES(),
		MaxAckDelay:   uint8(maxAckDelay / time.Millisecond),
		MaxMessage:    uint32(cfg.MaxMessage),
		ChannelCredit: initialCredit,
	}
	if cfg.IdleTimeout > 0 {
		p.IdleTimeout = uint32(min(cfg.IdleTimeout/time.Millisecond, 1<<32-1))
	}
	p.Token = s.e.id.ResetToken(p.ConnID)
	return p
}

// start takes in the result of the handshake: there are keys, and p leads to
// the peer.
func (s *Session) start(now Time, res *handshake.Result, p Path) {
	s.id = res.SessionID
	s.peerParams = res.Params
	s.keys = seal.New(res.Send, res.Recv, s.e.hasAES() && res.Params.AES)
	s.remote.live = append(make([]remoteID, 0, issuedIDs), remoteID{0, res.Params.ConnID, res.Params.Token})
	s.loss.Init(s.e.rng.Uint64())
	s.acks = recovery.Acks{}
	s.msgs.SetPeer(int(res.Params.MaxMessage), int(res.Params.ChannelCredit))
	s.idle.start(now)
	s.rekeyed = now
	s.keys.SetOldKeysExpiry(drainPTOs * initialRTT)
	s.active = s.obtainPath(p)
	s.loss.Activate(s.active.rec)
	s.active.heard = now
	s.active.received += wire.InitLen
}

// takeTransport moves what start made from x to s.
func (s *Session) takeTransport(x *Session) {
	s.id, s.peerParams, s.keys = x.id, x.peerParams, x.keys
	s.replay, s.largest, s.heardPN = x.replay, x.largest, x.heardPN
	s.local, s.remote, s.usedID = x.local, x.remote, x.usedID
	s.loss, s.acks = x.loss, x.acks
	s.paths, s.active, s.fallback = x.paths, x.active, nil
	s.left, s.movedAt, s.outage = leftBehind{}, 0, outage{}
	s.idle, s.rekeyed = x.idle, x.rekeyed
	s.initMAC = x.initMAC
	s.pingNow, s.probes, s.paceAt = false, 0, Never
	s.msgs.SetPeer(int(x.peerParams.MaxMessage), int(x.peerParams.ChannelCredit))
}

// established makes s usable: both sides hold the keys.
func (s *Session) established(now Time) {
	s.enterEstablished()
	s.e.byToken[s.remote.current().token] = s
	s.replenish()
	if s.active.validated {
		s.callSiblings(now, s.active)
	} else {
		s.active.validate(now, false)
	}
	s.e.emit(Event{Kind: Established, Session: s, Path: s.Path()})
	s.e.touch(s)
}

// enterEstablished puts s on the list of its peer's sessions.
func (s *Session) enterEstablished() {
	if s.state != stateEstablished {
		s.e.peers[s.peer] = append(s.e.peers[s.peer], s)
	}
	s.state, s.expires = stateEstablished, Never
	if !s.awake.listed {
		s.used, s.rekeyed = s.e.now, s.e.now // no message has passed under the keys
		if !s.msgs.Drained() {
			s.rekeyed-- // those that wait are about to
		}
		s.e.awake.push(s, s.e.now)
	}
}

// Peer returns the peer's public key.
func (s *Session) Peer() wire.PeerID { return s.peer }

// ID returns the session's name, equal on both sides, for logs and metrics. It
// is known once the session is established.
func (s *Session) ID() uuid.UUID { return s.id }

// Initiator reports whether this side began the session.
func (s *Session) Initiator() bool { return s.initiator }

// Send queues a message. It fails with ErrTooLarge, with ErrWouldBlock when the
// send buffer is full (and an unreliable message has asked to wait; it does not
// wait while the path does not answer), or with the error that ended the session. Messages may
// be queued while the handshake is still under way.
func (s *Session) Send(now Time, m *Message) (MessageID, error) {
	s.e.enter(now)
	if err := s.sendable(); err != nil {
		return 0, err
	}
	s.use()
	if m.Wait && s.active != nil && s.active.rec.PTOCount() >= failedPTOs {
		fresh := *m
		fresh.Wait = false
		m = &fresh
	}
	id, err := s.msgs.Send(s.e.now, m)
	s.e.touch(s)
	return id, err
}

// Hold keeps messages back until the given time, or until it is called with 0, so
// that those of a burst share datagrams. Short low-latency ones and all else do not wait.
func (s *Session) Hold(until Time) {
	if s.work == nil {
		if until <= s.e.now {
			return // at rest nothing is held
		}
		s.wake()
	}
	if until < s.holdUntil {
		s.e.touch(s)
	}
	s.holdUntil = until
}

func (s *Session) sendable() error {
	switch {
	case s.work == nil: // at rest
	case s.closing.err != nil:
		return s.closing.err
	case s.closing.whenSent:
		return ErrClosed
	}
	return nil
}

// Configure sets how this side sends on a channel.
func (s *Session) Configure(channel uint16, o ChannelOptions) {
	s.wake()
	s.msgs.Configure(channel, o)
}

// Urgent reports whether a short message of a low-latency channel is the next thing to
// send: the caller should drain at once.
func (s *Session) Urgent() bool {
	return s.state == stateEstablished && s.resting == nil && s.msgs.Urgent()
}

// Cancel takes back a message that is not stored yet. Its outcome is Canceled;
// Cancel reports false if the message has met its fate already.
func (s *Session) Cancel(now Time, id MessageID) bool {
	s.e.enter(now)
	s.use()
	s.e.touch(s)
	return s.msgs.Cancel(s.e.now, id)
}

// Recv takes the next message of a channel. It goes on yielding what had arrived
// after the session has ended.
func (s *Session) Recv(now Time, channel uint16) (Received, bool) {
	s.e.enter(now)
	if s.resting != nil {
		return Received{}, false
	}
	s.use()
	m, ok := s.msgs.Recv(s.e.now, channel)
	s.touchIfFreed()
	return m, ok
}

// RecvInto takes the next message of a channel into buf, without allocating. If
// it does not fit, err is ErrShortBuffer, n the size needed, and the message
// stays.
func (s *Session) RecvInto(now Time, channel uint16, buf []byte) (n int, mode wire.Mode, ok bool, err error) {
	s.e.enter(now)
	if s.resting != nil {
		return 0, 0, false, nil
	}
	s.use()
	n, mode, ok, err = s.msgs.RecvInto(s.e.now, channel, buf)
	s.touchIfFreed()
	return n, mode, ok, err
}

// touchIfFreed drains s if a message that was taken has freed credit, or has a
// receipt to send. Most do neither.
func (s *Session) touchIfFreed() {
	if s.msgs.Owes() {
		s.e.touch(s)
	}
}

// use notes that the application, or the peer's, is at work.
func (s *Session) use() {
	s.wake()
	s.used = s.e.now
}

// Stats returns what the session has counted and measured.
func (s *Session) Stats() Stats {
	s.wake()
	st := Stats{Counters: s.stats, Congestion: s.congestion, Messages: s.msgs.Stats()}
	if p := s.active; p != nil {
		st.SmoothedRTT, st.MinRTT, st.RTTVar = p.rec.RTT.Smoothed(), p.rec.RTT.Min(), p.rec.RTT.Var()
		st.CongestionWindow, st.BytesInFlight, st.MTU = p.rec.Window(), p.rec.InFlight(), p.mtu.Current()
	}
	return st
}

func (s *Session) countSent(n int) {
	s.stats.Sent++
	s.stats.SentBytes += uint64(n)
}
