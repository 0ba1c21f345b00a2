package rendezvous

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A world is one hub and some clients of package reach with nothing but time
// between them: what both sides decide, without sockets and sessions. It stands
// in for the sessions with the server (reliable messages in order, the end of a
// session when the server has forgotten it) and for the handshake over the
// relay.
type world struct {
	t      *testing.T
	now    clock.Time
	hub    *hub
	up     bool // the server's process runs
	nodes  []*simNode
	events []event // in the order in which they happen
}

type event struct {
	at clock.Time
	do func()
}

type simNode struct {
	*reach.Client
	w     *world
	id    wire.PeerID
	addr  netip.AddrPort
	owd   time.Duration // to the server
	mute  bool          // what the server says does not arrive
	known map[wire.PeerID]clock.Time

	session  *client // the server's end of the session; nil if there is none
	hub      *hub    // that holds it
	online   []clock.Time
	probes   []simProbe
	failures []error
}

type simProbe struct {
	at   clock.Time
	peer wire.PeerID
	addr netip.AddrPort
}

// sessionPatience is the longest that a session's retransmissions are apart.
const sessionPatience = 2 * time.Second

func newWorld(t *testing.T, owds ...time.Duration) *world {
	w := &world{t: t, now: clock.Time(time.Hour)}
	w.startServer()
	for n, owd := range owds {
		w.addNode(n, owd)
	}
	return w
}

func (w *world) startServer() {
	cfg, err := (*Config)(nil).withDefaults()
	if err != nil {
		w.t.Fatal(err)
	}
	w.hub, w.up = newHub(w.now, &cfg, func(*client) {}), true
}

func (w *world) addNode(n int, owd time.Duration) *simNode { return w.addPeer(peer(n+1), n, owd) }

func (w *world) addPeer(id wire.PeerID, n int, owd time.Duration) *simNode {
	node := &simNode{
		w: w, id: id, owd: owd, known: map[wire.PeerID]clock.Time{},
		addr: netip.MustParseAddrPort(fmt.Sprintf("20.0.%d.1:4000", n)),
	}
	node.Client = reach.New(reach.Config{
		Self:    node.id,
		Servers: []wire.Server{{ID: peer(9999), Addr: "20.9.9.9:3478"}},
		Known:   func(p wire.PeerID) bool { return node.known[p] != 0 },
		Direct:  func(wire.PeerID) bool { return true },
		Accepts: func(wire.PeerID) bool { return true },
		Busy:    func() bool { return true },
	}, [32]byte{byte(n), byte(n >> 8)})
	w.nodes = append(w.nodes, node)
	node.HandleTimeout(w.now)
	w.settle()
	return node
}

func (w *world) after(d time.Duration, do func()) {
	e := event{w.now.Add(d), do}
	k, _ := slices.BinarySearchFunc(w.events, e, func(old, e event) int {
		if old.at <= e.at {
			return -1 // what was sent first arrives first
		}
		return 1
	})
	w.events = slices.Insert(w.events, k, e)
}

// run lets time pass, one event at a time.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for {
		next := end + 1
		for _, n := range w.nodes {
			next = min(next, n.Deadline())
		}
		if len(w.events) > 0 && w.events[0].at <= next && w.events[0].at <= end {
			e := w.events[0]
			w.events = w.events[1:]
			w.now = max(w.now, e.at)
			e.do()
			w.settle()
			continue
		}
		if next > end {
			w.now = end
			return
		}
		w.now = max(w.now, next)
		for _, n := range w.nodes {
			if n.Deadline() <= w.now {
				n.HandleTimeout(w.now)
			}
		}
		w.settle()
	}
}

// settle carries out what hub and clients have decided.
func (w *world) settle() {
	for o, ok := w.hub.next(); ok; o, ok = w.hub.next() {
		w.fromServer(o)
	}
	for _, n := range w.nodes {
		for a, ok := n.Next(); ok; a, ok = n.Next() {
			n.act(a)
		}
	}
}

func (w *world) fromServer(o outgoing) {
	k := slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.session == o.to })
	if k < 0 {
		return
	}
	n, hub := w.nodes[k], w.hub
	if o.close != 0 {
		hub.closed(w.now, o.to)
		w.after(n.owd, func() {
			if n.session == o.to {
				n.lose(&session.CloseError{Code: o.close, Remote: true})
			}
		})
		return
	}
	w.after(n.owd, func() {
		if n.session == o.to && !n.mute {
			n.HandleControl(w.now, 0, o.data)
		}
	})
}

func (n *simNode) lose(err error) {
	n.session = nil
	n.ServerDown(n.w.now, 0, err)
}

func (n *simNode) act(a reach.Action) {
	switch a.Kind {
	case reach.DialServer:
		n.dialServer()
	case reach.SendControl:
		n.w.after(n.owd, func() { n.arrive(n.session, a.Data) })
	case reach.OpenRelay:
		n.w.after(n.owd, func() { n.w.handshake(n, a.Peer) })
	case reach.Probe:
		n.probes = append(n.probes, simProbe{n.w.now, a.Peer, a.Addr})
	case reach.Registered:
		n.online = append(n.online, n.w.now)
	case reach.Failed:
		n.failures = append(n.failures, a.Err)
	}
}

func (n *simNode) dialServer() {
	w := n.w
	w.after(n.owd, func() {
		if !w.up {
			w.after(reach.ServerDialTimeout-n.owd, func() { n.ServerDown(w.now, 0, session.ErrHandshakeTimeout) })
			return
		}
		c := w.hub.connected(w.now, n.id, n.addr)
		if c == nil {
			w.after(n.owd, func() { n.ServerDown(w.now, 0, &session.CloseError{Code: reach.CodeBusy, Remote: true}) })
			return
		}
		c.rtt, c.validated, n.session, n.hub = 2*n.owd, true, c, w.hub
		w.after(n.owd, func() { n.ServerUp(w.now, 0, netip.MustParseAddrPort("20.9.9.9:3478"), 2*n.owd) })
	})
}

// arrive is a control message reaching the server, or what is left of it.
func (n *simNode) arrive(c *client, msg []byte) {
	w := n.w
	switch {
	case c == nil || n.session != c:
	case !w.up:
		w.after(sessionPatience, func() { n.arrive(c, msg) })
	case n.hub != w.hub: // a RESET: the server has forgotten the session
		w.after(n.owd, func() {
			if n.session == c {
				n.lose(session.ErrPeerRestarted)
			}
		})
	default:
		w.hub.moved(c, n.addr)
		w.hub.message(w.now, c, msg)
	}
}

// handshake is an INIT reaching the server: it opens a session between two
// clients over the relay.
func (w *world) handshake(from *simNode, to wire.PeerID) {
	k := slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.id == to })
	if k < 0 || from.known[to] != 0 || !w.up || from.session == nil || from.hub != w.hub {
		return
	}
	peer := w.nodes[k]
	if c, _ := w.hub.relay(w.now, from.session, append(wire.AppendRelay(nil, to), 1), nil); c == nil {
		return
	}
	w.after(2*peer.owd+from.owd, func() { from.knows(to) })        // by the RESP
	w.after(3*peer.owd+2*from.owd, func() { peer.knows(from.id) }) // by the first DATA
}

func (n *simNode) knows(p wire.PeerID) {
	n.known[p] = n.w.now
	n.PeerUp(n.w.now, p)
}

func (n *simNode) introduce(p *simNode, fresh bool) {
	n.w.t.Helper()
	if _, err := n.Introduce(n.w.now, p.id, fresh); err != nil {
		n.w.t.Fatal(err)
	}
	n.w.settle()
}
