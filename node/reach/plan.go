package reach

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// A Technique is how two peers try to meet.
type Technique uint8

// Techniques. Each side finds the same one from the NATs of both.
const (
	TechniqueNone       Technique = iota // there is none: the relay it is
	TechniqueProbe                       // each probes the addresses of the other, at the same moment
	TechniqueFresh                       // the same with sockets that no NAT has seen before
	TechniquePredict                     // one guesses the next ports of a NAT that counts them up
	TechniquePredictTwo                  // both do
	TechniqueBlock                       // one searches the block of ports of a carrier's NAT
	TechniqueGrid                        // one counts up, the other's block is searched
	TechniqueSearch                      // one searches all ports (the birthday paradox)
)

var techniqueNames = [...]string{
	"none", "simultaneous probing", "fresh sockets", "port prediction", "port prediction on both sides",
	"search of a port block", "prediction against a port block", "search of all ports",
}

// String returns the name of the technique.
func (t Technique) String() string {
	if int(t) < len(techniqueNames) {
		return techniqueNames[t]
	}
	return "unknown"
}

// searches reports whether the technique is to be kept from running twice at one
// time.
func (t Technique) searches() bool {
	return t == TechniqueBlock || t == TechniqueGrid || t == TechniqueSearch
}

// A hardness says how well the port can be told from which a NAT will send to a
// peer.
type hardness uint8

const (
	easy       hardness = iota // it is the one that servers see
	sequential                 // it is one of the next
	block                      // it is one of some hundreds
	random                     // it may be any
)

func hardnessOf(n *wire.NAT) hardness {
	switch {
	case n.Mapping <= wire.EndpointIndependent:
		return easy
	case n.Ports == wire.PortsSequential:
		return sequential
	case n.Ports == wire.PortsBlock:
		return block
	}
	return random
}

// techniques lists what may work between two NATs, by their hardness, from the
// second attempt on. What the filter of one lets in whatever the port is found
// by the first attempt already, which is always to probe.
var techniques = [4][4]Technique{
	easy:       {TechniqueFresh, TechniquePredict, TechniqueBlock, TechniqueSearch},
	sequential: {TechniquePredict, TechniquePredictTwo, TechniqueGrid, TechniqueNone},
	block:      {TechniqueBlock, TechniqueGrid, TechniqueNone, TechniqueNone},
	random:     {TechniqueSearch, TechniqueNone, TechniqueNone, TechniqueNone},
}

// techniqueFor returns how to try in the given round. It is the same whichever of
// the two NATs is named first.
func techniqueFor(a, b *wire.NAT, round int) Technique {
	if (a.Flags|b.Flags)&(wire.NATNoUDP|wire.NATRelayOnly) != 0 {
		return TechniqueNone
	}
	t := techniques[hardnessOf(a)][hardnessOf(b)]
	switch {
	case t == TechniqueFresh && round == 0, portFree(a, b):
		return TechniqueProbe
	case t == TechniqueSearch && !(a.Has(wire.NATSearch) && b.Has(wire.NATSearch)):
		return TechniqueNone
	}
	return t
}

// portFree reports whether the filter before an endpoint-independent mapping
// ignores ports: then it does not matter which one the other side comes from.
func portFree(a, b *wire.NAT) bool {
	open := func(n *wire.NAT) bool { return n.Mapping == wire.EndpointIndependent && ignoresPorts(n.Filtering) }
	return hardnessOf(a) != easy && open(b) || hardnessOf(b) != easy && open(a)
}

func ignoresPorts(filtering wire.NATBehavior) bool {
	return filtering == wire.EndpointIndependent || filtering == wire.AddressDependent
}

// roundsFor returns how many rounds are worth their packets before a rest.
func roundsFor(t Technique) int {
	switch t {
	case TechniqueNone, TechniqueSearch:
		return 1
	}
	return 3
}

// Bounds of what a plan sends.
const (
	predicted      = 48  // ports tried of a NAT that counts up
	predictedTwo   = 24  // by each side, if both count up
	blockSockets   = 64  // opened behind a port block
	blockGuesses   = 256 // ports tried of it
	gridRow        = 16  // flows of the side that counts up
	gridSockets    = 32  // of the other, each of which tries them all
	searchSockets  = 256
	searchGuesses  = 1024
	openerGap      = time.Millisecond
	predictGap     = 2 * time.Millisecond
	gridGap        = 2500 * time.Microsecond
	gridPause      = 20 * time.Millisecond // between the flows of the row: they need only be kept open
	guessGap       = 5 * time.Millisecond
	openedFirst    = 120 * time.Millisecond // by openers, before guesses may follow
	foundInterval  = 250 * time.Millisecond // after which a side that only waits looks whether it was found
	searchPatience = 700 * time.Millisecond

	// A probe of the hard side must not be at the other's NAT before the other has
	// gone through its guesses: that would poison it.
	laterWait = 400 * time.Millisecond
	laterGap  = 150 * time.Millisecond
)

// A shot is one datagram of a plan.
type shot struct {
	link uint32
	to   netip.AddrPort
}

// A plan is what this side sends in one round, beside probing the candidates that
// it was told.
type plan struct {
	technique Technique
	sockets   int    // to open
	openers   []shot // datagrams that open this side's NATs and die before they reach the other's
	guesses   []shot // PATH_CHALLENGEs to where the peer may be
	passes    int    // how often the guesses are gone through
	gap       time.Duration
	wait      time.Duration // before the first guess
	probeFrom uint32        // the socket that probes candidates
}

// A side is one end of an introduction, as the planner sees it.
type side struct {
	nat       wire.NAT
	link      uint32        // of a socket that the NATs have not seen before; 0: the main one, which is known to servers
	opens     func() uint32 // opens one more
	initiator bool          // asked for the introduction
	chance    *rand.Rand
}

// planFor plans a round for me; it is the peer, seen by servers at the address
// peer.
func planFor(me *side, it *wire.NAT, peer netip.AddrPort, round int) plan {
	p := plan{technique: techniqueFor(&me.nat, it, round), passes: 1, gap: guessGap, wait: openedFirst}
	mine := hardnessOf(&me.nat)
	switch p.technique {
	case TechniqueFresh:
		p.probeFrom = me.link
	case TechniquePredict:
		p.predict(me, it, peer, mine == sequential)
	case TechniquePredictTwo:
		p.predictTwo(me, it, peer, round)
	case TechniqueBlock:
		p.search(me, peer, mine == block, blockSockets, within(me.chance, it.Low, it.High, blockGuesses))
	case TechniqueSearch:
		p.search(me, peer, mine == random, searchSockets, within(me.chance, firstUserPort, 65535, searchGuesses))
	case TechniqueGrid:
		p.grid(me, it, peer, mine == sequential)
	}
	return p
}

// predict: the hard side opens one flow, the other goes through the ports that it
// can have been given.
func (p *plan) predict(me *side, it *wire.NAT, peer netip.AddrPort, hard bool) {
	if hard {
		p.openers = []shot{{me.link, peer}}
		p.guesses, p.passes, p.gap, p.wait = p.openers, 3, laterGap, laterWait
		return
	}
	p.guesses = guesses(me.link, peer.Addr(), following(it, predicted))
	p.gap, p.passes = predictGap, 3
}

// predictTwo: the k-th flow of each side goes to where the k-th of the other
// comes from. If others have taken ports since those were last looked at, the one
// who was asked shifts its row by as many as there were rounds before.
func (p *plan) predictTwo(me *side, it *wire.NAT, peer netip.AddrPort, round int) {
	shift := 0
	if !me.initiator {
		shift = round
	}
	p.guesses = guesses(me.link, peer.Addr(), following(it, predictedTwo+shift)[shift:])
	p.openers, p.gap, p.passes = p.guesses, predictGap, 4
}

// search: the hard side opens many flows, each with a port of its own, and the
// other hits one of them by chance.
func (p *plan) search(me *side, peer netip.AddrPort, hard bool, sockets int, ports []uint16) {
	if !hard {
		p.guesses = guesses(me.link, peer.Addr(), ports)
		return
	}
	p.sockets = sockets
	for range sockets {
		p.openers = append(p.openers, shot{me.opens(), peer})
	}
}

// grid: the one that counts up opens a row of flows to one port of the other's
// block. The other knows from which ports they come, and sends to them from so many
// sockets that one of these is likely to be given that port: certain, if its NAT
// gives each port once.
func (p *plan) grid(me *side, it *wire.NAT, peer netip.AddrPort, counts bool) {
	if counts {
		if it.Low < firstUserPort {
			return // no NAT has such a block: it is somebody's service that is meant
		}
		quarter := (it.High - it.Low) / 4 // the block may be smaller than it was taken for
		aims := guesses(0, peer.Addr(), within(me.chance, it.Low+quarter, it.High-quarter, 1))
		for range gridRow * len(aims) {
			p.guesses = append(p.guesses, shot{me.opens(), aims[0].to})
		}
		p.openers, p.gap, p.passes = p.guesses, gridPause, gridSockets*gridRow*int(gridGap)/(gridRow*int(gridPause))
		return
	}
	for range gridSockets {
		p.sockets++
		p.guesses = append(p.guesses, guesses(me.opens(), peer.Addr(), following(it, gridRow))...)
	}
	p.gap = gridGap
}

// following lists the ports that a NAT gives out next. After the last one it
// begins anew, but not with those below firstUserPort.
func following(n *wire.NAT, count int) (ports []uint16) {
	const span = 1<<16 - firstUserPort
	at := int(n.Base) - firstUserPort
	for range count {
		at = (at + int(n.Step)%span + span) % span
		ports = append(ports, uint16(firstUserPort+at))
	}
	return ports
}

// within lists different ports of a range in random order, at most count.
func within(r *rand.Rand, low, high uint16, count int) (ports []uint16) {
	if low < firstUserPort || low > high {
		return nil
	}
	for _, k := range r.Perm(int(high) - int(low) + 1)[:min(count, int(high)-int(low)+1)] {
		ports = append(ports, low+uint16(k))
	}
	return ports
}

// guesses lists the shots at those of the ports that may be shot at.
func guesses(link uint32, ip netip.Addr, ports []uint16) (list []shot) {
	for _, port := range ports {
		if port >= firstUserPort && !slices.Contains(forbiddenPorts, port) {
			list = append(list, shot{link, netip.AddrPortFrom(ip, port)})
		}
	}
	return list
}
