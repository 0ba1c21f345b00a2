package node

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A shard owns a core, the sockets it speaks through and everything that
// belongs to its sessions. All of it is guarded by one mutex; what runs:
//
//	one goroutine per socket     reads datagrams           ──┐  or who waits does: see lend.go
//	one timer                    fires at the deadline      ─┼─> drive ─> core
//	the application's goroutines send, receive, dial, close ─┘
//	one dispatcher goroutine     calls Handler, Trace and Logger, with no lock held
//
// There is no goroutine, timer or channel per session.
//
// Nothing reaches the core but through drive, which keeps its law: one change,
// then drain.
type shard struct {
	node  *Node
	index int

	arriving atomic.Int32 // goroutines that have datagrams and wait for the mutex

	mu      sync.Mutex
	core    *session.Endpoint
	sockets sockets
	timer   *time.Timer
	armed   session.Time // when timer fires; session.Never if it does not
	out     []byte       // what the core puts datagrams into
	closed  bool         // nothing is sent or received any more
	timedAt session.Time // when timers last had their turn
	usedAt  session.Time // when the application last sent or was sent something

	conns       map[*Conn]struct{} // the application's sessions that have not ended
	peers       map[PeerID][]*Conn // the same by peer, the oldest first
	dials       map[PeerID][]*dial
	talking     []*Conn // whose peer's node has said something
	refused     []*Conn // that nobody accepts: to be closed
	emptied     waitList
	heard       waitList // for the peers to hear that their sessions are closed
	idleWaiters []*waiter
	loan        loan
	flood       flood

	streamed      map[uint32]map[*Conn]struct{} // sessions whose data has taken a stream, by its link
	streamDropped uint64                        // datagrams that found no room in a stream

	reach       *rendezvous  // nil except in the first shard
	stun        *stunService // nil unless the node serves STUN
	dispatch    dispatcher
	writeErrors uint64
}

// datagramBufferLen is room for any datagram, or for a batch of smaller ones.
const datagramBufferLen = 64 << 10

func newShard(n *Node, index int, core *session.Endpoint) *shard {
	s := &shard{
		node:  n,
		index: index,
		core:  core,
		armed: session.Never,
		out:   make([]byte, datagramMax),
		conns: make(map[*Conn]struct{}),
		peers: make(map[PeerID][]*Conn),
		dials: make(map[PeerID][]*dial),

		streamed: make(map[uint32]map[*Conn]struct{}),
	}
	if n.cfg.ServeSTUN {
		s.stun = newSTUNService()
	}
	s.timer = time.AfterFunc(time.Hour, s.handleTimer)
	s.timer.Stop()
	return s
}

// drive makes one change and drains what follows from it: it writes datagrams,
// hands events to those who wait for them, and arms the timer.
func (s *shard) drive(change func(now session.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.node.now()
	change(now)
	s.drain(now)
}

// drain takes all that the core has to give. Some of it makes further changes
// due; each is made once the core is drained, and drained in turn.
func (s *shard) drain(now session.Time) {
	for {
		for d, ok := s.core.NextDatagram(now, s.out); ok; d, ok = s.core.NextDatagram(now, s.out) {
			s.emit(d)
		}
		s.flush()
		for ev, ok := s.core.NextEvent(); ok; ev, ok = s.core.NextEvent() {
			s.handleEvent(now, ev)
		}
		if !s.followUp(now) {
			break
		}
	}
	if s.core.Closing() == 0 {
		s.heard.wake()
	}
	s.armAt(now, s.deadline())
	s.dispatch.flush()
}

// took drains after the application has asked for a message, which seldom makes
// anything due, and takes note that it had one.
func (s *shard) took(one bool) {
	if s.core.Pending() {
		s.drain(s.node.now())
	}
	if one {
		s.loan.unseen++
	}
}

// followUp makes the changes that draining made due, and reports whether there
// were any.
func (s *shard) followUp(now session.Time) bool {
	made := len(s.refused) > 0
	for i, c := range s.refused {
		if s.node.isClosing() {
			c.sess.Close(now, CodeGoodbye, goodbye)
		} else {
			c.sess.Close(now, CodeBusy, "too many sessions wait to be accepted")
		}
		s.refused[i] = nil
	}
	s.refused = s.refused[:0]
	for i, c := range s.talking {
		s.talking[i] = nil
		if c.err == nil {
			c.talkNode(now)
			made = true
		}
	}
	s.talking = s.talking[:0]
	if s.reach != nil && !s.closed && s.reach.followUp(now) {
		made = true
	}
	return made
}

// emit writes what the core put out. A failed write is a lost datagram, which
// the core repairs like any other.
func (s *shard) emit(d session.Datagram) {
	switch {
	case s.closed:
	case isStream(d.Path.Link):
		s.sendStream(d)
	case d.Path.IsRelay():
		if s.reach != nil {
			s.reach.relay(d)
		}
	case d.Path.Link == 0 && d.ECN == wire.NotECT && len(d.Data) <= min(shortMax, d.Segment):
		s.post(d.Data, d.Path.Remote)
	default:
		s.writeOn(d.Path.Link, d.Data, d.Segment, d.ECN, d.Path.Remote)
	}
}

// post writes a short datagram to a main socket, together with others that the core
// puts out by the same change: answers, acknowledgements and keepalives of many
// sessions.
func (s *shard) post(b []byte, to netip.AddrPort) {
	sock := s.sockets.to(to.Addr())
	if sock == nil {
		s.writeErrors++
		return
	}
	s.wrote(1, sock.post(b, to))
}

// flush writes what is posted.
func (s *shard) flush() {
	for _, sock := range [...]socket{s.sockets.v4, s.sockets.v6} {
		if sock != nil {
			s.wrote(sock.flush())
		}
	}
}

// wrote takes note that datagrams could not be written to a main socket.
func (s *shard) wrote(failed int, err error) {
	if err != nil {
		s.writeErrors += uint64(failed)
		s.node.writeFailed(err)
	}
}

// writeOn writes datagrams to the socket of a link. What goes to one that is
// closed is lost.
func (s *shard) writeOn(link uint32, b []byte, segment int, mark wire.ECN, to netip.AddrPort) {
	sock := s.socketOf(link, to.Addr())
	if sock == nil {
		s.writeErrors++
		return
	}
	if link == 0 {
		s.flush()
		s.wrote(1, sock.write(b, segment, mark, to))
	} else if sock.write(b, segment, mark, to) != nil {
		s.writeErrors++
	}
}

// armAt makes the timer fire at the given time at the latest. A timer that would
// fire earlier is left alone: firing finds nothing due and arms it again, which
// costs less than moving it at every change.
func (s *shard) armAt(now, at session.Time) {
	if at >= s.armed || s.closed {
		return
	}
	s.armed = at
	s.timer.Reset(max(at.Sub(now), 1)) // more may be due already; it never fires within this call
}

func (s *shard) deadline() session.Time {
	at := s.core.Deadline()
	if s.reach != nil {
		at = min(at, s.reach.deadline())
	}
	return at
}

// A machine that does not keep up finds the answers that sessions wait for among what has
// arrived and is not read. To probe for them as if they were missing would make more of
// both, and it would never keep up again. So timers that are timerLate give way to those
// who read, but for a turn each timerYield.
const (
	timerLate  = 5 * time.Millisecond
	timerYield = 10 * time.Millisecond
	timerLook  = time.Millisecond
)

func (s *shard) handleTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = session.Never
	if s.closed {
		return
	}
	now := s.node.now()
	at := s.deadline()
	if at > now && !s.core.Pending() {
		s.armAt(now, at) // it was armed for what has been done since
		return
	}
	if s.arriving.Load() > 0 && now.Sub(at) > timerLate && now.Sub(s.timedAt) < timerYield {
		s.armAt(now, now.Add(timerLook))
		return
	}
	s.timedAt = now
	if s.core.Deadline() <= now {
		s.core.HandleTimeout(now)
	}
	if s.reach != nil && s.reach.deadline() <= now {
		s.reach.client.HandleTimeout(now)
	}
	s.drain(now)
}

// receive handles datagrams that arrived together, up to batchMax in one turn of
// the lock: then acknowledgements are neither late nor as many.
func (s *shard) receive(link uint32, batch []inbound) {
	for len(batch) > 0 {
		turn := batch[:min(batchMax, len(batch))]
		s.arriving.Add(1)
		s.drive(func(now session.Time) {
			s.arriving.Add(-1)
			for _, d := range turn {
				s.handleDatagram(now, session.Path{Link: link, Remote: d.from}, d.mark, d.data)
			}
		})
		batch = batch[len(turn):]
	}
}

func (s *shard) handleDatagram(now session.Time, from session.Path, mark wire.ECN, b []byte) {
	if s.closed {
		return
	}
	if wire.Classify(b) == wire.KindSTUN {
		s.handleSTUN(now, from, b)
		return
	}
	s.core.HandleDatagram(now, from, mark, b)
}

// handleEvent passes an event of the core on. It makes no change to the core.
func (s *shard) handleEvent(now session.Time, ev session.Event) {
	switch owner := ev.Session.User.(type) {
	case *Conn:
		owner.handleEvent(now, ev)
	case *serverLink:
		s.reach.handleEvent(now, owner, ev)
	case *dial:
		owner.handleEvent(now, ev)
	case nil:
		if ev.Kind == session.Established { // a peer opened it
			s.open(now, ev.Session, nil)
		}
	}
}

// open makes a Conn for a session that is established.
func (s *shard) open(now session.Time, sess *session.Session, d *dial) {
	c := newConn(s, sess)
	s.conns[c] = struct{}{}
	s.peers[c.Peer()] = append(s.peers[c.Peer()], c)
	s.noteStream(c, sess.Path())
	if s.reach != nil {
		s.reach.established(now, c)
	}
	if s.node.cfg.NoRelay && c.path.Kind == Relayed {
		c.hold(d)
		return
	}
	s.announce(c, d)
}

// announce gives a session to who dialled the peer, or else to who accepts.
func (s *shard) announce(c *Conn, d *dial) {
	s.dispatch.connected(c)
	switch {
	case d != nil:
		d.finish(c)
	case s.node.cfg.Handler != nil:
		if len(c.ready) > 0 { // they came while the session was held
			s.dispatch.messages(c)
		}
	case !s.node.offer(c):
		s.refused = append(s.refused, c)
	}
}

// forget drops a session that has ended.
func (s *shard) forget(c *Conn) {
	delete(s.conns, c)
	list := slices.DeleteFunc(s.peers[c.Peer()], func(x *Conn) bool { return x == c })
	if s.peers[c.Peer()] = list; len(list) == 0 {
		delete(s.peers, c.Peer())
	}
	for link, users := range s.streamed {
		if delete(users, c); len(users) == 0 {
			delete(s.streamed, link) // else those that ended before their last user did would stay
		}
	}
	if len(s.conns) == 0 {
		s.emptied.wake()
	}
}

// describe says what a path of the core is to people.
func (s *shard) describe(p session.Path) Path {
	if isStream(p.Link) {
		return s.describeStream(p.Link)
	}
	if !p.IsRelay() {
		d := Path{Kind: Direct, Remote: p.Remote}
		if sock := s.socketOf(p.Link, p.Remote.Addr()); sock != nil {
			d.Local = sock.localAddr()
		}
		return d
	}
	if s.reach == nil {
		return Path{Kind: Relayed}
	}
	return s.reach.describe(p.Link)
}

// busyTime is how long after data a shard's sessions count as in use.
const busyTime = 10 * time.Second

// busy reports whether sessions are in use: the application has sent or received
// something lately, or waits for a dial.
func (s *shard) busy() bool {
	return len(s.dials) > 0 || s.usedAt != 0 && s.node.now().Sub(s.usedAt) < busyTime
}
