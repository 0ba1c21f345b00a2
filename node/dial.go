package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/wire"
)

// dialTimeout ends a dial whose context has no deadline.
const dialTimeout = 15 * time.Second

// A dial is one call of Dial or a variant of it. It has one session, which
// uses every path that turns up; the first that answers wins.
type dial struct {
	shard   *shard
	peer    PeerID
	options DialOptions
	key     *handshake.Ephemeral // of the first session; nil once that has begun

	// Guarded by the shard's mutex.
	sess        *session.Session // nil until there is a path
	introducing bool             // a rendezvous server may still bring a path
	addrs       []netip.AddrPort // those dialled directly
	attempts    []Attempt        // those that failed
	timeout     session.Time     // when the caller gives up
	conn        *Conn            // the outcome
	over        bool
	waiters     waitList
}

// Dial opens a session with a peer whom a rendezvous server knows. It begins
// through that server's relay, so that it is usable after one round trip, and
// moves to a direct path as soon as one is found. It waits for servers that are
// not connected yet. If ctx has no deadline, it gives up after 15 s. Errors are
// *DialError; ErrPeerAbsent, ErrOffline and ErrHandshakeTimeout may be in it.
func (n *Node) Dial(ctx context.Context, peer PeerID) (*Conn, error) {
	return n.DialTicket(ctx, Ticket{Peer: peer})
}

// DialAddr opens a session with a peer at one of some addresses, all of which
// are tried at once. As in package net, an unspecified address is this machine.
// If ctx has no deadline, it gives up after 15 s. Errors are *DialError.
func (n *Node) DialAddr(ctx context.Context, peer PeerID, addr ...netip.AddrPort) (*Conn, error) {
	switch {
	case len(addr) == 0:
		return nil, dialFailed(peer, Direct, ErrNoAddress)
	case n.cfg.RelayOnly:
		return nil, dialFailed(peer, Direct, ErrRelayOnly)
	}
	return n.shardFor(peer).dial(ctx, Ticket{Peer: peer, Addrs: addr}, DialOptions{}, false)
}

// DialTicket opens a session with the peer that a ticket names, at its
// addresses, through its rendezvous servers and through the node's own, all at
// once. It is like Dial in everything else.
func (n *Node) DialTicket(ctx context.Context, t Ticket) (*Conn, error) {
	return n.DialWith(ctx, t, nil)
}

// DialOptions say in what a session differs from the node's others. Nil and the
// zero value both work.
type DialOptions struct {
	// Congestion decides how much this side sends on the session and how fast. If
	// zero, Config.Congestion. The peer, and sessions that peers open, are not
	// affected.
	Congestion Congestion
}

// DialWith is DialTicket with options.
func (n *Node) DialWith(ctx context.Context, t Ticket, o *DialOptions) (*Conn, error) {
	var opts DialOptions
	if o != nil {
		opts = *o
	}
	if opts.Congestion > CUBIC {
		return nil, dialFailed(t.Peer, Direct, fmt.Errorf("node: DialOptions.Congestion is %d, want BBR or CUBIC", opts.Congestion))
	}
	if len(t.Addrs) == 0 && len(t.Servers) == 0 && len(n.servers) == 0 && n.lan.socket == nil {
		return nil, dialFailed(t.Peer, Relayed, ErrNoRendezvous)
	}
	return n.shards[0].dial(ctx, t, opts, true)
}

func dialFailed(peer PeerID, kind PathKind, err error) *DialError {
	return &DialError{Peer: peer, Attempts: []Attempt{{Kind: kind, Err: err}}}
}

func (s *shard) dial(ctx context.Context, t Ticket, o DialOptions, introduce bool) (*Conn, error) {
	ctx, cancel := withDialTimeout(ctx)
	defer cancel()
	key := handshake.Prepare(t.Peer, s.node.spare.take()) // before the shard is locked: it takes long
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node.isClosing() {
		return nil, dialFailed(t.Peer, Direct, ErrClosed)
	}
	now := s.node.now()
	deadline, _ := ctx.Deadline()
	d := &dial{shard: s, peer: t.Peer, options: o, key: key, timeout: s.node.coreTime(now, deadline)}
	s.dials[t.Peer] = append(s.dials[t.Peer], d)
	d.begin(now, t, introduce)
	s.drain(now)
	for !d.over {
		if err := s.wait(ctx, &d.waiters); err != nil && !d.over {
			d.giveUp(err)
		}
	}
	if d.conn == nil {
		return nil, &DialError{Peer: d.peer, Attempts: d.attempts}
	}
	return d.conn, nil
}

func withDialTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, dialTimeout)
}

func (d *dial) begin(now session.Time, t Ticket, introduce bool) {
	if d.shard.node.lan.socket != nil {
		d.open(now, nil)
		d.callNeighbours(0)
	}
	if introduce && len(t.Servers)+len(d.shard.node.servers) > 0 {
		d.introduce(now, t.Servers)
	}
	for _, a := range t.Addrs {
		a = dialable(a)
		if d.shard.node.cfg.RelayOnly {
			d.failed(Direct, a, ErrRelayOnly)
			continue
		}
		if slices.Contains(d.addrs, a) {
			continue
		}
		d.addrs = append(d.addrs, a)
		d.addPath(now, session.Path{Remote: a})
	}
	d.checkHopeless()
}

// dialable maps what stands for this machine to an address of it.
func dialable(a netip.AddrPort) netip.AddrPort {
	a = unmapped(a)
	switch a.Addr() {
	case netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	case netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
	return a
}

func (d *dial) introduce(now session.Time, servers []wire.Server) {
	client := d.shard.reach.client
	for _, server := range servers {
		if _, err := client.AddServer(now, server); err != nil {
			d.failed(Relayed, netip.AddrPort{}, err)
		}
	}
	if _, err := client.Introduce(now, d.peer, true); err != nil {
		d.failed(Relayed, netip.AddrPort{}, err)
		return
	}
	d.introducing = true
}

// addPath tries one more way to the peer.
func (d *dial) addPath(now session.Time, p session.Path) {
	if d.sess != nil {
		d.sess.AddPath(now, p)
		return
	}
	if err := d.open(now, []session.Path{p}); err != nil {
		d.failed(kindOf(p), p.Remote, err)
	}
}

// open begins the handshake.
func (d *dial) open(now session.Time, paths []session.Path) error {
	sess, err := d.shard.core.Dial(now, session.DialOptions{
		Peer:    d.peer,
		Paths:   paths,
		Timeout: d.timeout.Sub(now) + time.Second, // the caller's own timeout comes first

		Congestion: d.options.Congestion,
		Ephemeral:  d.key,
	})
	if err == nil {
		sess.User, d.sess, d.key = d, sess, nil
	}
	return err
}

func kindOf(p session.Path) PathKind {
	switch {
	case isStream(p.Link):
		return Streamed
	case p.IsRelay():
		return Relayed
	}
	return Direct
}

func (d *dial) failed(kind PathKind, remote netip.AddrPort, err error) {
	d.attempts = append(d.attempts, Attempt{Kind: kind, Remote: remote, Err: err})
}

// checkHopeless ends a dial that has nothing left to wait for.
func (d *dial) checkHopeless() {
	if d.sess == nil && !d.introducing {
		d.finish(nil)
	}
}

// introductionFailed takes note that no server can introduce the peer. A session
// that has only relays to open over then has no way to.
func (d *dial) introductionFailed(now session.Time, err error) {
	if !d.introducing {
		return
	}
	d.introducing = false
	d.failed(Relayed, netip.AddrPort{}, err)
	if len(d.addrs) == 0 {
		d.hangUp(now)
	}
	d.checkHopeless()
}

// hangUp ends the session being dialled, if there is one.
func (d *dial) hangUp(now session.Time) {
	if sess := d.sess; sess != nil {
		d.sess = nil
		if sess.User == any(d) { // else a Conn that is held sees to the end
			sess.User = abandoned{}
		}
		sess.Close(now, 0, "")
	}
}

// handleEvent takes an event of the session being dialled. It makes no change to
// the core.
func (d *dial) handleEvent(now session.Time, ev session.Event) {
	switch ev.Kind {
	case session.Established:
		d.shard.open(now, ev.Session, d)
	case session.Closed:
		d.sess = nil
		d.everyPathFailed(now, ev.Err)
		d.checkHopeless()
	}
}

func (d *dial) everyPathFailed(now session.Time, err error) {
	for _, a := range d.addrs {
		d.failed(Direct, a, err)
	}
	d.introductionFailed(now, err)
}

// giveUp ends a dial whose caller does not want to wait longer.
func (d *dial) giveUp(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(ErrHandshakeTimeout, err)
	}
	if d.sess != nil && d.sess.User != any(d) {
		err = errors.Join(ErrNoDirectPath, err)
	}
	s := d.shard
	now := s.node.now()
	d.hangUp(now)
	d.everyPathFailed(now, err)
	d.finish(nil)
	s.drain(now)
}

// abandoned is the User of a session that its dial no longer wants.
type abandoned struct{}

// finish ends the dial, with a session unless it failed.
func (d *dial) finish(c *Conn) {
	if d.over {
		return
	}
	d.over, d.conn = true, c
	s := d.shard
	list := slices.DeleteFunc(s.dials[d.peer], func(x *dial) bool { return x == d })
	if len(list) > 0 {
		s.dials[d.peer] = list
	} else {
		delete(s.dials, d.peer)
		if c == nil && s.reach != nil {
			s.reach.client.Abandon(d.peer)
		}
	}
	d.waiters.wake()
}
