package node

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// A session that is not in use need not keep its NAT mappings: whoever speaks
// first speaks over the relay too, which wakes the direct path. What has to be kept
// is the mapping towards a server. So with a relay to fall back on a session is
// almost silent, and without one it pings as often as the NATs ask for.
//
//	                           a relay answers        none does
//	session with a peer        dormant                the lifetime of mappings
//	session with a server      the lifetime of mappings
const dormant = time.Hour

// directMax is the longest silence on a path that nothing can replace.
const directMax = 25 * time.Second

// retune puts a session on the list of those whose keepalive is to be set anew.
func (r *rendezvous) retune(c *Conn) {
	if r.shard.node.cfg.KeepAlive == 0 {
		r.untuned = append(r.untuned, c)
	}
}

func (r *rendezvous) retuneAll() {
	for c := range r.shard.conns {
		r.retune(c)
	}
}

// tune sets the keepalives that are to be set, and reports whether there were any.
func (r *rendezvous) tune(now session.Time) bool {
	if len(r.untuned) == 0 && !r.retuneServers {
		return false
	}
	lifetime := r.client.KeepAlive()
	for _, c := range r.untuned {
		if c.err == nil {
			c.sess.SetKeepAlive(now, r.keepAliveOf(c, lifetime))
		}
	}
	clear(r.untuned)
	r.untuned = r.untuned[:0]
	if r.retuneServers {
		r.retuneServers = false
		for _, l := range r.links {
			if l.sess != nil {
				l.sess.SetKeepAlive(now, lifetime)
			}
		}
	}
	return true
}

func (r *rendezvous) keepAliveOf(c *Conn, lifetime time.Duration) time.Duration {
	var buf [16]session.PathInfo
	for _, p := range c.sess.Paths(buf[:0]) {
		if p.Path.IsRelay() && p.Validated && r.carries(p.Path.Link) {
			if !c.initiator {
				return dormant * 3 / 2 // one side is enough, unless it is gone
			}
			return dormant
		}
	}
	return min(lifetime, directMax)
}

// carries reports whether the server of a relay link is there.
func (r *rendezvous) carries(link uint32) bool {
	number, _, ok := r.client.Target(link)
	return ok && r.link(number).up
}
