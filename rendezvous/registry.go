package rendezvous

import (
	"container/list"
	"iter"
	"net/netip"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A registry holds the sessions of the server and finds registered ones by peer
// ID. It never puts off a live session to admit another, except one of the same
// key: the newest session of a key is the one that counts, since the older ones
// may be dead without anybody having noticed.
type registry struct {
	max      int
	sessions map[*client]*list.Element // of waiting; nil once registered
	waiting  *list.List                // clients yet to register, the oldest first
	byPeer   map[wire.PeerID]*client
	networks map[netip.Prefix]int // sessions of each network

	newByNetwork *limit.Table[netip.Prefix]
	newBy48      *limit.Table[netip.Prefix]
}

func newRegistry(max int) registry {
	return registry{
		max:          max,
		sessions:     make(map[*client]*list.Element),
		waiting:      list.New(),
		byPeer:       make(map[wire.PeerID]*client),
		networks:     make(map[netip.Prefix]int),
		newByNetwork: limit.NewTable[netip.Prefix](sessionRate, networksTracked),
		newBy48:      limit.NewTable[netip.Prefix](network48Rate, networksTracked),
	}
}

// add takes in a new session and reports whether there was room.
func (r *registry) add(now clock.Time, c *client) bool {
	if len(r.sessions) >= r.max || !r.roomIn(c.addr.Addr()) || !r.mayBegin(now, c.addr.Addr()) {
		return false
	}
	r.sessions[c] = r.waiting.PushBack(c)
	r.count(c.addr.Addr(), 1)
	return true
}

// roomIn reports whether the networks of an address may hold one more session.
// The server's own machine is not limited.
func (r *registry) roomIn(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	crowded := len(r.sessions) > r.max/2
	for _, l := range networkLimits(ip) {
		max := l.sessions
		if crowded {
			max = l.crowded
		}
		if r.networks[network(ip, l.bits)] >= max {
			return false
		}
	}
	return true
}

// mayBegin charges the rate of new sessions.
func (r *registry) mayBegin(now clock.Time, ip netip.Addr) bool {
	switch {
	case ip.IsLoopback():
		return true
	case ip.Is4():
		return r.newByNetwork.Take(now, network(ip, 32), 1)
	}
	return r.newByNetwork.Take(now, network(ip, 56), 1) && r.newBy48.Take(now, network(ip, 48), 1)
}

func (r *registry) count(ip netip.Addr, n int) {
	for _, l := range networkLimits(ip) {
		p := network(ip, l.bits)
		if r.networks[p] += n; r.networks[p] == 0 {
			delete(r.networks, p)
		}
	}
}

// moved notes the new address of a session. A live session is never refused one.
func (r *registry) moved(c *client, addr netip.AddrPort) {
	r.count(c.addr.Addr(), -1)
	c.addr = addr
	r.count(c.addr.Addr(), 1)
}

// register makes a session the one of its key, and returns the session that was
// before, if there was another.
func (r *registry) register(c *client) (old *client) {
	if e := r.sessions[c]; e != nil {
		r.waiting.Remove(e)
		r.sessions[c] = nil
	}
	if old = r.byPeer[c.peer]; old == c {
		return nil
	}
	if old != nil {
		old.registered = false
	}
	c.registered = true
	r.byPeer[c.peer] = c
	return old
}

func (r *registry) remove(c *client) {
	e, ok := r.sessions[c]
	if !ok {
		return
	}
	if e != nil {
		r.waiting.Remove(e)
	}
	delete(r.sessions, c)
	r.count(c.addr.Addr(), -1)
	if r.byPeer[c.peer] == c {
		delete(r.byPeer, c.peer)
	}
	c.registered = false
}

// late yields the sessions that should have registered by now, each once.
func (r *registry) late(now clock.Time) iter.Seq[*client] {
	return func(yield func(*client) bool) {
		for e := r.waiting.Front(); e != nil && e.Value.(*client).deadline <= now; e = r.waiting.Front() {
			c := r.waiting.Remove(e).(*client)
			r.sessions[c] = nil
			if !yield(c) {
				return
			}
		}
	}
}

// all yields the registered sessions.
func (r *registry) all() iter.Seq[*client] {
	return func(yield func(*client) bool) {
		for _, c := range r.byPeer {
			if !yield(c) {
				return
			}
		}
	}
}

// network returns the network of an address. It is never called with a zone or
// more bits than the address has.
func network(ip netip.Addr, bits int) netip.Prefix {
	p, _ := ip.Prefix(bits)
	return p
}
