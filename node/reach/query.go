package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v4"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A query is one binding transaction with a probe port of a rendezvous server
// (RFC 8489 §6.2.1, RFC 5780 §4). It is hastier than RFC 8489 asks for, since
// silence is an answer too: some filter has eaten the response.
type query struct {
	link   uint32         // of the socket that asks
	to     netip.AddrPort // whom
	change bool           // to be answered from another port (CHANGE-REQUEST)
	port   uint16         // to be answered to another port of ours (RESPONSE-PORT); 0: to the one that asks
	via    uint32         // link on which the answer is expected
	done   func(mapped netip.AddrPort, ok bool)

	txid  [stun.TransactionIDSize]byte
	sends int
	at    clock.Time
}

// queryTimes are when a request is sent again, and then given up.
var queryTimes = [...]time.Duration{200 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond}

// queriesMax bounds the transactions under way.
const queriesMax = 64

// ask begins a transaction. done is called once, unless the network changes
// first.
func (c *Client) ask(q query) {
	if len(c.queries) == queriesMax {
		q.done(netip.AddrPort{}, false)
		return
	}
	if q.port == 0 {
		q.via = q.link
	}
	c.rand.Read(q.txid[:]) // never fails
	q.at = c.now
	c.queries = append(c.queries, &q)
	c.sendQuery(&q)
}

func (c *Client) sendQuery(q *query) {
	c.act(Action{Kind: SendSTUN, Link: q.link, Addr: q.to, Data: probeRequest(q.txid, q.change, q.port)})
	q.at = c.now.Add(queryTimes[q.sends])
	q.sends++
}

func (c *Client) timeoutQueries() {
	for _, q := range slices.Clone(c.queries) {
		switch {
		case q.at > c.now:
		case q.sends < len(queryTimes):
			c.sendQuery(q)
		case c.dropQuery(q):
			q.done(netip.AddrPort{}, false)
		}
	}
}

// dropQuery reports whether the transaction was still under way.
func (c *Client) dropQuery(q *query) bool {
	k := slices.Index(c.queries, q)
	if k >= 0 {
		c.queries = slices.Delete(c.queries, k, k+1)
	}
	return k >= 0
}

// answerQuery takes a datagram that may be the answer to a query, and reports
// whether it was. An answer to CHANGE-REQUEST comes from another port of the
// same server; all others come from where the request went.
func (c *Client) answerQuery(link uint32, from netip.AddrPort, b []byte) bool {
	for _, q := range c.queries {
		if q.via != link || from.Addr() != q.to.Addr() || q.change == (from.Port() == q.to.Port()) {
			continue
		}
		mapped, success, ok := parseBindingResponse(b, q.txid)
		if !ok {
			continue
		}
		c.dropQuery(q)
		q.done(mapped, success && plausibleReflexive(mapped, from))
		return true
	}
	return false
}

// openSocket asks the node for one more socket, and returns its link. It may
// never open: then nothing is heard from it.
func (c *Client) openSocket() uint32 {
	c.sockets = (c.sockets + 1) % session.LinkSocket
	link := session.LinkSocket | c.sockets
	c.act(Action{Kind: OpenSocket, Link: link, Addr: c.family()})
	return link
}

// family returns an address of the family in which the NATs are looked at.
func (c *Client) family() netip.AddrPort {
	if c.survey == nil {
		return netip.AddrPort{}
	}
	return c.survey.base
}

// closeSockets lets the node close sockets, except those that sessions use.
func (c *Client) closeSockets(links []uint32) {
	for _, l := range links {
		c.act(Action{Kind: CloseSocket, Link: l})
	}
}
