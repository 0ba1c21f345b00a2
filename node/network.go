package node

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/seed-67dce94e/holdfast/node/netmon"
	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
)

// startReaders begins to read from the sockets of a shard.
func (n *Node) startReaders(s *shard) {
	for _, sock := range s.sockets.all() {
		n.running.Go(func() { n.read(s, sock, 0) })
	}
}

const (
	batchLong       = 4 << 10
	readFailuresMax = 8 // in a row, before reading slows down
	readPauseMin    = time.Millisecond
	readPauseMax    = time.Second
)

// read takes datagrams from the socket of a link until the node has closed it. No
// error ends it: systems report on a socket what befell one datagram sent from it,
// and what ails a network passes.
func (n *Node) read(s *shard, sock socket, link uint32) {
	failures := 0
	for {
		batch, err := sock.read(false)
		if err == nil {
			failures = 0
			n.deliver(s, link, batch)
			giveWay(batch)
			n.spare.refill()
			if link == 0 {
				s.lend(sock)
			}
			continue
		}
		if sock.retired() {
			return
		}
		n.readErrors.Add(1)
		if failures++; failures > readFailuresMax && !n.pause(readPause(failures-readFailuresMax)) {
			return
		}
		if errors.Is(err, net.ErrClosed) && !sock.retired() && link == 0 {
			n.repair()
		}
	}
}

// giveWay lets the application take what came, before there is more: a batch, or what
// another system would have sent as one.
func giveWay(batch []inbound) {
	if len(batch) > 1 || len(batch[0].data) > batchLong {
		runtime.Gosched()
	}
}

func readPause(k int) time.Duration { return min(readPauseMin<<min(k, 16), readPauseMax) }

// pause waits and reports whether the node is still running.
func (n *Node) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.ctx.Done():
		return false
	}
}

// deliver hands datagrams to the shards they are for. With several sockets on
// one port the system may give a datagram to the wrong one.
func (n *Node) deliver(s *shard, link uint32, batch []inbound) {
	if len(n.shards) == 1 || link != 0 {
		s.receive(link, batch)
		return
	}
	for len(batch) > 0 {
		i := n.shardOf(batch[0].data)
		run := 1
		for run < len(batch) && n.shardOf(batch[run].data) == i {
			run++
		}
		if i != s.index {
			n.misrouted.Add(uint64(run))
		}
		n.shards[i].receive(0, batch[:run])
		batch = batch[run:]
	}
}

// Rebind closes the node's sockets and opens others, bound to addr as Config.Addr
// would be; "" is any port of any address. It is for programs that know of a
// change of network, or want another port: sessions go on. If addr cannot be
// bound, the sockets stay as they are.
func (n *Node) Rebind(addr string) error {
	if n.cfg.PacketConn != nil {
		return ErrSharedSocket
	}
	n.rebinding.Lock()
	defer n.rebinding.Unlock()
	if n.isClosing() {
		return ErrClosed
	}
	all, err := n.openSockets(addr)
	if errors.Is(err, syscall.EADDRINUSE) && n.holdsPort(addr) {
		// The port is taken by the sockets that are about to be closed.
		for _, s := range n.shards {
			s.closeSockets()
		}
		all, err = n.openSockets(addr)
	}
	if err != nil {
		return err
	}
	n.rebinds.Add(1)
	n.replaceSockets(all)
	n.mapPort()
	n.renewLAN()
	return nil
}

func (n *Node) holdsPort(addr string) bool {
	_, port, err := splitAddr(addr)
	return err == nil && port != 0 && port == int(n.LocalAddr().Port())
}

func (s *shard) closeSockets() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets.close()
	s.callBack()
	s.flood.sock = nil
}

func (n *Node) replaceSockets(all []sockets) {
	for i, s := range n.shards {
		s.drive(func(now session.Time) {
			if s.closed {
				all[i].close()
				return
			}
			s.sockets.close()
			s.callBack()
			s.flood.sock = nil
			s.sockets = all[i]
			n.startReaders(s)
			s.moved(now)
		})
	}
	n.findSTUNServers()
}

// moved tells every session that this side's address has changed.
func (s *shard) moved(now session.Time) {
	for c := range s.conns {
		c.sess.Moved(now)
	}
	if s.reach == nil {
		return
	}
	for _, l := range s.reach.links {
		if l.sess != nil {
			l.sess.Moved(now)
			l.stream.next, l.stream.retries = 0, 0
			s.reach.tryUDP(now, l)
		}
	}
	s.reach.client.Moved(now)
	s.reach.client.SetHosts(now, s.node.hosts(s.sockets))
}

// repairInterval is how often broken sockets are replaced at most.
const repairInterval = 5 * time.Second

// repair replaces sockets that the system has taken away, as mobile systems do.
// It keeps the port if it can.
func (n *Node) repair() {
	now, last := int64(n.now()), n.repairedAt.Load()
	if n.cfg.PacketConn != nil || last != 0 && now-last < int64(repairInterval) || !n.repairedAt.CompareAndSwap(last, now) {
		return
	}
	n.running.Go(func() {
		host, _, err := net.SplitHostPort(n.cfg.Addr)
		if err != nil {
			host = "" // Config.Addr is empty
		}
		port := strconv.Itoa(int(n.LocalAddr().Port()))
		if n.Rebind(net.JoinHostPort(host, port)) != nil {
			n.Rebind(net.JoinHostPort(host, "0")) // if that fails too, the next error brings us here again
		}
	})
}

// writeFailed looks at an error of the system. Most concern one datagram, which
// is lost; some say that the socket will never work again.
func (n *Node) writeFailed(err error) {
	for _, fatal := range []error{net.ErrClosed, syscall.EPIPE, syscall.ENOTCONN} {
		if errors.Is(err, fatal) {
			n.repair()
			return
		}
	}
}

// hosts lists the addresses of this machine at which peers may reach the sockets.
func (n *Node) hosts(s sockets) []reach.Host {
	var list []reach.Host
	onLink := n.addresses()
	for _, sock := range s.all() {
		local := sock.localAddr()
		if !local.Addr().IsUnspecified() {
			list = append(list, reach.Host{Addr: local, OnLink: prefixOf(onLink, local.Addr())})
			continue
		}
		for _, p := range onLink {
			if a := p.Addr(); a.Is4() == local.Addr().Is4() && worthTelling(a) {
				list = append(list, reach.Host{Addr: netip.AddrPortFrom(a, local.Port()), OnLink: p.Masked()})
			}
		}
	}
	return list
}

// worthTelling reports whether a peer elsewhere may have use for an address.
func worthTelling(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// interfacePrefixes returns this machine's addresses with the length of the
// prefix they share with their link. An error means that none is known.
func interfacePrefixes() (list []netip.Prefix) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p := netmon.Prefix(a); p.IsValid() {
			list = append(list, p)
		}
	}
	return list
}

func prefixOf(list []netip.Prefix, a netip.Addr) netip.Prefix {
	for _, p := range list {
		if p.Addr() == a {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}

// findSTUNServers looks up the STUN servers that the user named.
func (n *Node) findSTUNServers() {
	if len(n.cfg.STUN) == 0 {
		return
	}
	n.running.Go(func() {
		var found []netip.AddrPort
		for _, server := range n.cfg.STUN {
			addrs, err := n.resolve(server)
			if err != nil {
				n.tellSTUNFailed(server, err)
				continue
			}
			found = append(found, addrs[0])
		}
		n.shards[0].drive(func(now session.Time) {
			n.shards[0].reach.client.SetSTUNServers(now, found)
		})
	})
}
