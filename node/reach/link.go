package reach

import (
	"container/list"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A linkTable numbers the relay links of a node: one for each pair of server and
// peer. A number is never used again for another pair, so that a session core
// that remembers an old one cannot send to the wrong peer. When the table is
// full, the link unused for longest gives way, unless its peer has a session.
type linkTable struct {
	max    int
	last   uint32 // the newest number
	byPair map[relayPair]*list.Element
	byLink map[uint32]*list.Element
	used   list.List // of *relayLink, the least recently used first
}

type relayPair struct {
	server int
	peer   wire.PeerID
}

type relayLink struct {
	relayPair
	number uint32
}

// LinkEnd is beyond the numbers of all relay links. The node numbers its other links
// from here.
const LinkEnd uint32 = 1 << 30

// evictSteps bounds the search for a link to evict.
const evictSteps = 16

func (t *linkTable) init(max int) {
	*t = linkTable{max: max, byPair: make(map[relayPair]*list.Element), byLink: make(map[uint32]*list.Element)}
	t.used.Init()
}

// number returns the link of a pair, making one if there is none. It returns 0
// if the table is full.
func (t *linkTable) number(p relayPair, known func(wire.PeerID) bool) uint32 {
	if e := t.byPair[p]; e != nil {
		t.used.MoveToBack(e)
		return e.Value.(*relayLink).number
	}
	if len(t.byPair) >= t.max && !t.evict(known) || t.last == LinkEnd-1 {
		return 0
	}
	t.last++
	e := t.used.PushBack(&relayLink{p, t.last})
	t.byPair[p], t.byLink[t.last] = e, e
	return t.last
}

func (t *linkTable) target(number uint32) (relayPair, bool) {
	e := t.byLink[number]
	if e == nil {
		return relayPair{}, false
	}
	t.used.MoveToBack(e)
	return e.Value.(*relayLink).relayPair, true
}

func (t *linkTable) evict(known func(wire.PeerID) bool) bool {
	for range evictSteps {
		e := t.used.Front()
		if !known(e.Value.(*relayLink).peer) {
			t.remove(e)
			return true
		}
		t.used.MoveToBack(e)
	}
	return false
}

func (t *linkTable) forgetServer(server int) {
	for e := t.used.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*relayLink).server == server {
			t.remove(e)
		}
		e = next
	}
}

func (t *linkTable) remove(e *list.Element) {
	l := t.used.Remove(e).(*relayLink)
	delete(t.byPair, l.relayPair)
	delete(t.byLink, l.number)
}

// LinkFor returns the number of the relay link to a peer through a server, or 0
// if there are too many links.
func (c *Client) LinkFor(server int, peer wire.PeerID) uint32 {
	return c.links.number(relayPair{server, peer}, c.cfg.Known)
}

// Target returns where datagrams for a relay link go.
func (c *Client) Target(link uint32) (server int, peer wire.PeerID, ok bool) {
	p, ok := c.links.target(link)
	return p.server, p.peer, ok
}

// HandleRelay takes a message that a server sent on wire.ChannelRelay and
// returns the datagram in it and the link that it came by. The datagram aliases
// msg.
func (c *Client) HandleRelay(now clock.Time, server int, msg []byte) (link uint32, datagram []byte, ok bool) {
	c.now = now
	peer, datagram, err := wire.ParseRelay(msg)
	if err != nil || peer == c.cfg.Self {
		return 0, nil, false
	}
	link = c.LinkFor(server, peer)
	return link, datagram, link != 0
}
