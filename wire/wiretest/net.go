package wiretest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Net is the internet and all that hangs on it. Times are durations since
// some start that the test chooses, and must not go backwards.
type Net struct {
	// Tap, if not nil, sees every datagram that crosses the internet, with the
	// addresses it has there: what an eavesdropper on the backbone records. It
	// must not change data, and must copy what it keeps.
	Tap func(at time.Duration, from, to netip.AddrPort, data []byte)

	// Hops is how many routers a datagram meets that crosses the internet. If
	// zero, 8; if negative, none.
	Hops int

	seed    uint64
	pipes   uint64
	hosts   []*Host
	routes  map[place]node
	blocked map[[2]netip.Addr]bool
	queue   queue
	arrived []Packet
	ladder  Ladder
}

// A Packet is a datagram that has reached a host. Data belongs to the receiver.
type Packet struct {
	At       time.Duration
	Host     *Host
	From, To netip.AddrPort
	ECN      wire.ECN // as the network has left it
	Data     []byte
	Refused  bool // it is no datagram but an ICMP error: From refused one
}

// New returns an empty internet in which chance is decided by the seed.
func New(seed uint64) *Net {
	return &Net{seed: seed, routes: make(map[place]node), blocked: make(map[[2]netip.Addr]bool)}
}

// Ladder returns the record of what flew.
func (n *Net) Ladder() *Ladder { return &n.ladder }

// Next returns when the next datagram under way moves a hop on, and false if
// none is under way.
func (n *Net) Next() (at time.Duration, ok bool) {
	return n.queue.first()
}

// Deliver moves everything on up to now and returns the datagrams that reached
// a host, in the order in which they did. The slice is valid until the next call.
func (n *Net) Deliver(now time.Duration) []Packet {
	n.arrived = n.arrived[:0]
	for {
		if at, ok := n.queue.first(); !ok || at > now {
			return n.arrived
		}
		e := n.queue.pop()
		n.arrive(e.at, e.f, e.hop)
	}
}

// Inject puts a datagram with any source address on the internet, as an
// attacker does who is on no path.
func (n *Net) Inject(now time.Duration, from, to netip.AddrPort, data []byte) {
	n.cross(now, n.flight(now, "injected", from, to, data))
}

// A place is an address inside one network: private addresses may repeat.
type place struct {
	inside *NAT // nil: the internet
	addr   netip.Addr
}

// A node is what a network delivers to: a Host or a NAT.
type node interface {
	downPipe() *Pipe
	receive(now time.Duration, f *flight) // from above
}

// route makes an address known in the network behind a NAT, and in those above
// it as far as the address is not translated on the way.
func (n *Net) route(behind *NAT, addr netip.Addr, to node) {
	at := place{behind, addr}
	if old, taken := n.routes[at]; taken && old != to {
		panic(fmt.Sprintf("wiretest: address %v is taken", addr))
	}
	n.routes[at] = to
	if behind != nil && !behind.translates(addr) {
		n.route(behind.behind, addr, behind)
	}
}

func (n *Net) unroute(behind *NAT, addr netip.Addr, to node) {
	at := place{behind, addr}
	if n.routes[at] == to {
		delete(n.routes, at)
	}
	if behind != nil && !behind.translates(addr) {
		n.unroute(behind.behind, addr, behind)
	}
}

// A flight is one datagram under way.
type flight struct {
	from, to netip.AddrPort // change where a NAT translates
	data     []byte
	ecn      wire.ECN
	ttl      int
	serial   uint64 // in the ladder
	refusal  bool   // an ICMP error that travels back
}

// DefaultTTL is the TTL of datagrams that are sent with no other.
const DefaultTTL = 64

// spend takes hops from the TTL. It reports false if the datagram dies there: a
// router does not forward what would have none left.
func (f *flight) spend(hops int) (ok bool) {
	f.ttl -= hops
	return f.ttl > 0
}

// A hop is the far end of a pipe: the network above (the inside of a NAT, or the
// internet), or the node below.
type hop struct {
	up bool
	at *NAT  // if up
	by *Host // if up, and it sent the datagram
	to node  // if down
}

func (n *Net) flight(now time.Duration, by string, from, to netip.AddrPort, data []byte) *flight {
	f := &flight{from: from, to: to, data: slices.Clone(data), ttl: DefaultTTL}
	f.serial = n.ladder.sent(now, by, f)
	return f
}

// transmit sends a datagram through a pipe towards a hop.
func (n *Net) transmit(now time.Duration, p *Pipe, f *flight, h hop) {
	size := len(f.data) + headers4
	if f.to.Addr().Is6() {
		size = len(f.data) + headers6
	}
	f.ecn = p.remark(now, f.ecn)
	out, copies, fate := p.pass(now, f.data, size)
	if copies == 0 {
		n.end(now, f, fate, p.name)
		return
	}
	for i, t := range out[:copies] {
		g := f
		if i > 0 {
			g = f.copy()
		}
		if t.corrupt && len(g.data) > 0 {
			g.data[p.rng.IntN(len(g.data))] ^= 1 << p.rng.IntN(8)
			n.ladder.note(g.serial, "corrupted on "+p.name)
		}
		n.queue.push(t.at, g, h)
	}
}

func (f *flight) copy() *flight {
	g := *f
	g.data = slices.Clone(f.data)
	return &g
}

func (n *Net) arrive(now time.Duration, f *flight, h hop) {
	switch {
	case !h.up:
		h.to.receive(now, f)
	case f.to.Addr().IsMulticast():
		n.multicast(now, h, f)
	case h.at != nil:
		h.at.fromInside(now, f)
	default:
		n.cross(now, f)
	}
}

// cross takes a datagram over the internet to whoever has the address.
func (n *Net) cross(now time.Duration, f *flight) {
	switch {
	case n.blocked[pairOf(f.from.Addr(), f.to.Addr())]:
		n.end(now, f, Blocked, "the internet")
		return
	case !f.spend(n.hops()):
		n.end(now, f, Expired, "the internet")
		return
	}
	if n.Tap != nil {
		n.Tap(now, f.from, f.to, f.data)
	}
	n.descend(now, nil, f)
}

func (n *Net) hops() int { return max(cmp.Or(n.Hops, 8), 0) }

// Block makes the internet lose what goes between two addresses, in both
// directions, as a dispute between two carriers does: each still reaches
// everybody else. Behind NATs these are the external addresses.
func (n *Net) Block(a, b netip.Addr) { n.blocked[pairOf(a, b)] = true }

// Unblock undoes Block.
func (n *Net) Unblock(a, b netip.Addr) { delete(n.blocked, pairOf(a, b)) }

func pairOf(a, b netip.Addr) [2]netip.Addr {
	if b.Less(a) {
		a, b = b, a
	}
	return [2]netip.Addr{a, b}
}

// descend sends a datagram down to the owner of its destination address in the
// network behind a NAT, or on the internet.
func (n *Net) descend(now time.Duration, behind *NAT, f *flight) {
	to, ok := n.routes[place{behind, f.to.Addr()}]
	if !ok {
		n.end(now, f, NoRoute, "")
		return
	}
	n.transmit(now, to.downPipe(), f, hop{to: to})
}

func (n *Net) end(now time.Duration, f *flight, fate Fate, where string) {
	n.ladder.ended(now, f.serial, fate, where)
}

// pipe makes a pipe with a source of chance of its own, so that what happens on
// one does not depend on traffic elsewhere.
func (n *Net) pipe(name string) *Pipe {
	n.pipes++
	return &Pipe{name: name, rng: rand.New(rand.NewPCG(n.seed, n.pipes))}
}
