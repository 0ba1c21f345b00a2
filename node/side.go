package node

import (
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A sideSocket is a UDP socket beside the main ones. NATs give it mappings of its
// own: it is opened to find out what they do, or to meet a peer in a way that the
// main socket cannot any more. If a session comes to use it, it stays until the
// last one has left it.
type sideSocket struct {
	socket
	link   uint32
	wanted bool // by the client, which has not closed it yet
}

// sideMax bounds the side sockets. One search opens some hundreds.
const sideMax = 512

// openSide opens a side socket of the family of near. If that fails, nothing is
// heard from it, which the client expects of any network.
func (r *rendezvous) openSide(link uint32, near netip.Addr) {
	if r.shard.closed {
		return
	}
	if len(r.side) >= sideMax {
		r.sideFailed++
		return
	}
	any := netip.IPv4Unspecified()
	if near.Is6() {
		any = netip.IPv6Unspecified()
	}
	sock, err := r.shard.node.bindSide(any)
	if err != nil {
		r.sideFailed++
		return
	}
	s := &sideSocket{socket: sock, link: link, wanted: true}
	r.side[link] = s
	r.shard.node.running.Go(func() { r.shard.node.read(r.shard, s, link) })
}

// bindSide opens a socket on the address that the main socket is bound to, and
// any port.
func (n *Node) bindSide(any netip.Addr) (socket, error) {
	if n.cfg.PacketConn != nil {
		return nil, ErrSharedSocket
	}
	if host, _, err := splitAddr(n.cfg.Addr); err == nil && host.IsValid() && host.Is4() == any.Is4() {
		any = host
	}
	if n.cfg.Stack != nil {
		return stackSocket(n.cfg.Stack, netip.AddrPortFrom(any, 0))
	}
	return bindOne(any, 0, false)
}

// closeSide takes note that the client has no more use for a side socket.
func (r *rendezvous) closeSide(now session.Time, link uint32) {
	if s := r.side[link]; s != nil {
		s.wanted = false
		r.reapSide(now, s)
	}
}

// reapInterval is how often side sockets are looked at, beside when a session
// changes its path: paths that lead nowhere are forgotten without an event.
const reapInterval = 10 * time.Second

// reapSides closes the side sockets that nobody needs any more.
func (r *rendezvous) reapSides(now session.Time) {
	r.reapAt = now.Add(reapInterval)
	for _, s := range r.side {
		r.reapSide(now, s)
	}
}

func (r *rendezvous) reapSide(now session.Time, s *sideSocket) {
	if s.wanted || r.usesSide(s.link) {
		return
	}
	delete(r.side, s.link)
	s.close()
	for c := range r.shard.conns {
		c.sess.DropLink(now, s.link)
	}
}

// usesSide reports whether some session has a path on the link, be it one that is
// silent and may come back.
func (r *rendezvous) usesSide(link uint32) bool {
	var buf [16]session.PathInfo
	for c := range r.shard.conns {
		for _, p := range c.sess.Paths(buf[:0]) {
			if p.Path.Link == link {
				return true
			}
		}
	}
	return false
}

// socketOf returns the socket of a link, or nil.
func (s *shard) socketOf(link uint32, to netip.Addr) socket {
	if link == 0 {
		return s.sockets.to(to)
	}
	if s.reach == nil {
		return nil
	}
	if side := s.reach.side[link]; side != nil {
		return side.socket
	}
	return nil
}

// opener is a datagram that dies on its way. Should it arrive all the same, it is
// no frame.
var opener = []byte{0xff}

// sendOpener sends a datagram that opens this side's NATs towards an address.
func (s *shard) sendOpener(link uint32, to netip.AddrPort) {
	sock := s.socketOf(link, to.Addr())
	if sock == nil {
		return
	}
	if err := sock.writeTTL(opener, reach.OpenerTTL, to); err != nil {
		s.writeErrors++
	}
}

// guess lets the newest session with a peer ask for it at an address that may be
// its own.
func (r *rendezvous) guess(now session.Time, peer PeerID, link uint32, to netip.AddrPort) {
	list := r.shard.peers[peer]
	if len(list) == 0 {
		return
	}
	if n := list[len(list)-1].sess.Punch(now, r.buf); n > 0 {
		r.shard.writeOn(link, r.buf[:n], 0, wire.NotECT, to)
	}
}
