package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v4"
	"github.com/seed-67dce94e/holdfast/session/clock"
)

// Timing of STUN (RFC 8489 §6.2.1 with a shorter, still doubling, timeout) and
// of what it teaches. Queries repeat since many NATs forget a mapping after 30 s
// without traffic, and since nothing else tells of a new one.
const (
	stunRTO      = 300 * time.Millisecond
	stunSends    = 5
	stunTimeout  = 8 * time.Second // of a transaction, from its first request
	stunInterval = 25 * time.Second
	sightingLife = 2 * time.Minute
	sightingsMax = 6
)

// A stunServer is one server and the transaction with it, if one is under way.
type stunServer struct {
	addr  netip.AddrPort
	owner int // the rendezvous server it belongs to, or configured

	txid     [stun.TransactionIDSize]byte
	answered bool // since the network changed

	sends int        // requests sent in this transaction; 0 if there is none
	began clock.Time // of the transaction
	at    clock.Time // when to send again, or to begin the next transaction
}

// configured is the owner of STUN servers that the user named.
const configured = -1

func (s *stunServer) restart(now clock.Time) { s.sends, s.at, s.answered = 0, now, false }

// A sighting is an address at which some server saw the node.
type sighting struct {
	addr netip.AddrPort
	at   clock.Time // last
}

// SetSTUNServers replaces the STUN servers that the user named, the first
// MaxSTUN of which are used. Those of rendezvous servers are found through
// REGISTERED.
func (c *Client) SetSTUNServers(now clock.Time, addrs []netip.AddrPort) {
	c.now = now
	c.dropSTUNOf(configured)
	for _, a := range addrs[:min(len(addrs), MaxSTUN)] {
		c.addSTUN(a, configured)
	}
}

// Reflexive returns the addresses at which servers saw the node lately, the
// newest first. There may be several: a NAT may map each destination apart
// (RFC 4787 §4.1), or forget a mapping and make another.
func (c *Client) Reflexive() []netip.AddrPort {
	var list []netip.AddrPort
	for _, s := range slices.Backward(c.seen) {
		if c.now.Sub(s.at) < sightingLife {
			list = append(list, s.addr)
		}
	}
	return list
}

// sighted notes an address.
func (c *Client) sighted(a netip.AddrPort) {
	c.seen = slices.DeleteFunc(c.seen, func(s sighting) bool {
		return s.addr == a || c.now.Sub(s.at) >= sightingLife
	})
	if len(c.seen) == sightingsMax {
		c.seen = slices.Delete(c.seen, 0, 1)
	}
	c.seen = append(c.seen, sighting{a, c.now})
}

func (c *Client) addSTUN(a netip.AddrPort, owner int) {
	for _, s := range c.stun {
		if s.addr == a {
			return
		}
	}
	c.stun = append(c.stun, stunServer{addr: a, owner: owner, at: c.now})
	c.timeoutSTUN(&c.stun[len(c.stun)-1])
}

// setSTUNOf notes where a rendezvous server says that it answers STUN: in one
// place, so that a server that names another port each time fills no memory.
func (c *Client) setSTUNOf(owner int, a netip.AddrPort) {
	if slices.ContainsFunc(c.stun, func(s stunServer) bool { return s.addr == a }) {
		return
	}
	c.dropSTUNOf(owner)
	if !slices.Contains(forbiddenPorts, a.Port()) {
		c.addSTUN(a, owner)
	}
}

func (c *Client) dropSTUNOf(owner int) {
	c.stun = slices.DeleteFunc(c.stun, func(s stunServer) bool { return s.owner == owner })
}

func (c *Client) timeoutSTUN(s *stunServer) {
	switch {
	case s.at > c.now:
	case s.sends == 0 && s.answered && !c.cfg.Busy():
		s.at = c.now.Add(idleCheck) // a quiet node need not know
	case s.sends == stunSends:
		s.sends, s.at = 0, c.now.Add(c.jitter(stunInterval))
	default:
		c.sendSTUN(s)
	}
}

func (c *Client) sendSTUN(s *stunServer) {
	if s.sends == 0 {
		c.rand.Read(s.txid[:]) // never fails
		s.began = c.now
	}
	m := stun.MustBuild(stun.NewTransactionIDSetter(s.txid), stun.BindingRequest, stun.Fingerprint)
	c.act(Action{Kind: SendSTUN, Addr: s.addr, Data: m.Raw})
	s.at = c.now.Add(stunRTO << s.sends)
	if s.sends++; s.sends == stunSends {
		s.at = s.began.Add(stunTimeout)
	}
}

// HandleSTUN takes a STUN datagram that arrived on the socket link. It counts if
// it answers a request of ours that is still open, and comes from where the
// request went.
func (c *Client) HandleSTUN(now clock.Time, link uint32, from netip.AddrPort, b []byte) {
	c.now = now
	if c.answerQuery(link, from, b) {
		c.timeoutIntroductions()
		return
	}
	c.hairpinned(link, b)
	if link != 0 {
		return
	}
	k := slices.IndexFunc(c.stun, func(s stunServer) bool { return s.addr == from && s.sends > 0 })
	if k < 0 {
		return
	}
	s := &c.stun[k]
	mapped, success, ok := parseBindingResponse(b, s.txid)
	if !ok {
		return
	}
	s.sends, s.at, s.answered = 0, now.Add(c.jitter(stunInterval)), true
	if success && plausibleReflexive(mapped, from) {
		c.sighted(mapped)
	}
}
