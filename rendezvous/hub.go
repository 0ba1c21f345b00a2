package rendezvous

import (
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A client is one session with the server.
type client struct {
	peer wire.PeerID
	conn *node.Conn // what the server sends through; the hub does not touch it

	addr       netip.AddrPort // where it is; the hub hears of each change
	other      netip.AddrPort // an address of the other family where it has answered too; invalid if there is none
	udp        bool           // datagrams reach it at addr; else the session is over a WebSocket from there
	validated  bool           // it has answered at addr; until then it may be lying
	rtt        time.Duration
	registered bool
	ended      bool       // it is being closed: what still comes from it is void
	deadline   clock.Time // when it must have registered

	control, introduce, target, gone limit.Bucket
	relayFrom, relayTo               limit.Bucket             // bytes
	strangers                        limit.Bucket             // of relayTo, for peers that the client has not sent to
	called                           map[wire.PeerID]struct{} // whom the client has relayed to lately
}

// A hub is the logic of the server. Its methods must not be called concurrently.
// After each, drain next.
type hub struct {
	started   clock.Time
	locate    func(*client) // brings addr, other, udp, validated and rtt up to date
	stunPort  uint16
	probes    uint8 // ports after stunPort that answer too
	keepAlive time.Duration
	relayRate limit.Rate

	registry registry
	waiting  waitingRoom
	pairs    *limit.Table[pair]
	out      []outgoing
	first    int // of out, not yet returned by next
	stats    Stats
}

// An outgoing is what the server is to do for a client: send Data on
// wire.ChannelControl, or end the session with a code.
type outgoing struct {
	to    *client
	data  []byte
	close uint64 // not 0: end the session
}

type pair struct{ from, to wire.PeerID }

func newHub(now clock.Time, cfg *Config, locate func(*client)) *hub {
	return &hub{
		started:   now,
		locate:    locate,
		keepAlive: cfg.KeepAlive,
		relayRate: limit.Rate{PerSecond: float64(cfg.RelayRate), Burst: float64(cfg.RelayBurst)},
		registry:  newRegistry(cfg.MaxClients),
		pairs:     limit.NewTable[pair](pairRate, introductionsTracked),
	}
}

// next returns the next thing to do, or false if there is none.
func (h *hub) next() (outgoing, bool) {
	if h.first == len(h.out) {
		clear(h.out)
		h.out, h.first = h.out[:0], 0
		return outgoing{}, false
	}
	o := h.out[h.first]
	h.first++
	return o, true
}

func (h *hub) send(to *client, data []byte) { h.out = append(h.out, outgoing{to: to, data: data}) }

func (h *hub) end(c *client, code uint64) {
	c.ended = true
	h.out = append(h.out, outgoing{to: c, close: code})
}

// connected takes in a new session, over UDP unless locate tells otherwise. It
// returns nil if there is no room for it.
func (h *hub) connected(now clock.Time, peer wire.PeerID, addr netip.AddrPort) *client {
	h.expire(now)
	c := &client{peer: peer, addr: addr, udp: true, deadline: now.Add(registerTimeout)}
	if !h.registry.add(now, c) {
		h.stats.Rejected++
		return nil
	}
	return c
}

// closed forgets a session.
func (h *hub) closed(now clock.Time, c *client) {
	h.registry.remove(c)
	h.expire(now)
}

// expire ends sessions that did not register in time.
func (h *hub) expire(now clock.Time) {
	for c := range h.registry.late(now) {
		h.end(c, reach.CodeUnregistered)
	}
}

// moved notes where a client is now, and tells it.
func (h *hub) moved(c *client, addr netip.AddrPort) {
	if c.addr == addr {
		return
	}
	h.registry.moved(c, addr)
	if c.registered {
		h.sendRegistered(c)
	}
}

// message handles a message on wire.ChannelControl. What is malformed, or too
// much, is counted and dropped.
func (h *hub) message(now clock.Time, c *client, msg []byte) {
	h.expire(now)
	h.locate(c)
	var m wire.Rendezvous
	switch {
	case c.ended:
	case !c.control.Take(now, controlRate, 1):
		h.stats.Limited++
	case wire.ParseRendezvous(msg, &m) != nil:
		h.stats.Malformed++
	case m.Type == wire.RendezvousRegister:
		h.register(c)
	case m.Type == wire.RendezvousIntroduce && c.registered:
		h.introduce(now, c, &m.Introduce)
	case m.Type == wire.RendezvousAccept && c.registered:
		h.accept(now, c, &m.Accept)
	default:
		h.stats.Malformed++
	}
}

func (h *hub) register(c *client) {
	if old := h.registry.register(c); old != nil {
		h.stats.Replaced++
		h.end(old, reach.CodeReplaced)
	}
	h.sendRegistered(c)
}

func (h *hub) sendRegistered(c *client) {
	m := wire.Registered{STUNPort: h.stunPort, Probes: h.probes, KeepAlive: uint32(h.keepAlive.Milliseconds())}
	if c.udp {
		m.Observed = c.addr
	}
	h.send(c, m.Append(nil))
}

// drain tells every client to come back later, spread over time so that they do
// not all come at once.
func (h *hub) drain(spread func(time.Duration) time.Duration) {
	window := drainMin + time.Duration(len(h.registry.byPeer))*drainEach
	for c := range h.registry.all() {
		m := wire.Drain{ReconnectIn: uint32(spread(min(window, drainMax)).Milliseconds())}
		h.send(c, m.Append(nil))
	}
}

// Timing of a drain: nodes come back within drainMin and a little for each, but
// never later than drainMax.
const (
	drainMin  = time.Second
	drainEach = 500 * time.Microsecond
	drainMax  = 30 * time.Second
)
