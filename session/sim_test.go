package session

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// TestSimulation lets peers talk on random networks that fail in random ways,
// with their addresses changing, with restarts, a stranger who records, replays
// and forges, and a peer that holds keys and obeys nothing. The checks of
// check_test.go and ledger_test.go run after every change. Then the network
// heals, and everything must come to a good end.
//
//	go test ./session -run TestSimulation -seeds 2000
//	go test ./session -run TestSimulation -seed 1234
func TestSimulation(t *testing.T) {
	eachSeed(t, 1, func(w *world) {
		newSimulation(w).run()
	})
}

// A failing seed is worth nothing if it does not fail again.
func TestSimulationIsDeterministic(t *testing.T) {
	once := func() string {
		w := newWorld(t, 7)
		newSimulation(w).run()
		return w.net.Ladder().String()
	}
	if first, second := once(), once(); first != second {
		t.Error("two runs from one seed differ")
	}
}

// A simulation is one world of chance.
type simulation struct {
	*world
	rng        *rand.Rand
	hub        *peer
	spokes     []*spoke
	stranger   *stranger
	mallory    *rawPeer
	rendezvous *wiretest.Host
	healed     bool
	entries    []*entry // sent, candidates to cancel
}

// A spoke is a peer that wants to be in session with the hub.
type spoke struct {
	*peer
	nat         *wiretest.NAT // nil on the internet
	home        netip.Addr    // its address on its own network
	onIt, onHub Path          // the relay between the two; zero if there is none
	dialed      *Session      // by the hub; nil if it has not
	dialing     *Session
}

// active is how long things go wrong before the network heals.
const active = 4 * time.Second

func newSimulation(w *world) *simulation {
	sim := &simulation{world: w, rng: rand.New(rand.NewPCG(w.seed, 0))}
	hubNAT := sim.nat("hub nat", 0.3)
	w.deep = true
	sim.hub = sim.peer("hub", hubNAT, sim.config(), sim.home(hubNAT))
	sim.hub.host.SetLink(sim.link())
	sim.rendezvous = w.net.Host("rendezvous", nil, sim.address())
	for i := range 1 + sim.rng.IntN(3) {
		name := fmt.Sprintf("spoke%d", i)
		nat := sim.nat(name+" nat", 0.6)
		home := sim.home(nat)
		s := &spoke{peer: sim.peer(name, nat, sim.config(), home), nat: nat, home: home}
		s.host.SetLink(sim.link())
		if hubNAT != nil || sim.chance(0.3) {
			s.onIt, s.onHub = w.relay(s.peer, sim.hub, wiretest.Link{Delay: 20 * time.Millisecond})
		}
		s.onEvent = func(e Event) { sim.spokeEvent(s, e) }
		sim.spokes = append(sim.spokes, s)
	}
	for i, p := range sim.peers {
		if (w.seed+uint64(i))%3 == 0 {
			p.restless, p.ep.restAfter = true, 0
		}
		if (w.seed+uint64(i))%5 == 0 { // its system spoils batches
			p.spoils = func(i, n int) bool { return i > 0 }
		}
	}
	if sim.chance(0.5) {
		sim.stranger = newStranger(sim)
	}
	if hubNAT == nil && sim.chance(0.3) {
		sim.mallory = w.rawPeer(sim.hub, 1)
	}
	return sim
}

func (sim *simulation) chance(p float64) bool { return sim.rng.Float64() < p }

func (sim *simulation) upTo(d time.Duration) time.Duration {
	return time.Duration(sim.rng.Int64N(int64(d)))
}

func (sim *simulation) config() Config {
	cfg := Config{NoAES: sim.chance(0.3)}
	if sim.chance(0.2) {
		cfg.RekeyAfter = 5 + uint64(sim.rng.IntN(50))
	}
	if sim.chance(0.2) {
		cfg.SendBuffer = 64 << 10
	}
	if sim.chance(0.1) {
		cfg.IdleTimeout, cfg.KeepAlive = 5*time.Second, 2*time.Second
	}
	if sim.chance(0.1) {
		cfg.MaxDatagram = 600 + sim.rng.IntN(1000)
	}
	return cfg
}

// nat returns a NAT of any kind, with the given probability, and nil otherwise.
func (sim *simulation) nat(name string, p float64) *wiretest.NAT {
	if !sim.chance(p) {
		return nil
	}
	cfg := wiretest.NATConfig{
		Mapping:   wiretest.Behavior(sim.rng.IntN(3)),
		Filtering: wiretest.Behavior(sim.rng.IntN(3)),
		Ports:     wiretest.PortAllocation(sim.rng.IntN(3)),
		Poisoned:  sim.chance(0.2),
	}
	if sim.chance(0.2) {
		cfg.Lifetime = 20 * time.Second
	}
	var outer *wiretest.NAT
	external := sim.address()
	if sim.chance(0.2) {
		outer = sim.net.NAT("carrier of "+name, nil, wiretest.NATConfig{Ports: wiretest.RandomPort}, external)
		external = netip.MustParseAddr("100.64.0.2")
	}
	return sim.net.NAT(name, outer, cfg, external)
}

func (sim *simulation) home(nat *wiretest.NAT) netip.Addr {
	if nat == nil {
		return sim.address()
	}
	return netip.MustParseAddr("10.0.0.2")
}

// link draws a link. Half of the kinds of fault are absent from each one, so
// that every combination of few is tried.
func (sim *simulation) link() wiretest.Link {
	rates := []float64{0.001, 0.02, 0.1, 0.3}
	rate := func() float64 {
		if sim.chance(0.5) {
			return 0
		}
		return rates[sim.rng.IntN(len(rates))]
	}
	l := wiretest.Link{
		Delay: sim.upTo(80 * time.Millisecond), Loss: rate(), Duplicate: rate(), Corrupt: rate(),
		Reorder: rate(), ReorderBy: sim.upTo(100*time.Millisecond) + 1,
	}
	if sim.chance(0.3) {
		l.Jitter = sim.upTo(30*time.Millisecond) + 1
	}
	if sim.chance(0.3) {
		l.Burst = 1 + 4*sim.rng.Float64()
	}
	if sim.chance(0.3) {
		l.Rate, l.Queue = []int{300e3, 2e6, 20e6}[sim.rng.IntN(3)], 20_000
	}
	if sim.chance(0.3) {
		l.MTU = []int{1228, 1280, 1500}[sim.rng.IntN(3)]
	}
	return l
}

func (sim *simulation) run() {
	for _, s := range sim.spokes {
		sim.at(sim.upTo(200*time.Millisecond), func() { sim.dialHub(s) })
		if sim.chance(0.2) {
			sim.at(sim.upTo(200*time.Millisecond), func() { sim.dialBack(s) })
		}
	}
	sim.every(20*time.Millisecond, sim.talk)
	for range sim.rng.IntN(8) {
		sim.at(sim.upTo(active), sim.mishap)
	}
	if sim.stranger != nil {
		sim.every(30*time.Millisecond, sim.stranger.act)
	}
	if sim.mallory != nil {
		sim.every(15*time.Millisecond, sim.misbehave)
	}
	sim.world.run(active, nil)
	sim.heal()
	sim.settle()
	sim.closeAll()
}

// dialHub begins a session on every path that the spoke knows of.
func (sim *simulation) dialHub(s *spoke) {
	if s.with(sim.hub) != nil || s.dialing != nil {
		return
	}
	var paths []Path
	if sim.hub.host.Behind() == nil {
		paths = append(paths, sim.hub.path())
	}
	if s.onIt.IsRelay() {
		paths = append(paths, s.onIt)
	}
	s.dialing = s.dial(sim.hub, paths...)
}

func (sim *simulation) spokeEvent(s *spoke, e Event) {
	switch {
	case e.Kind == Established:
		s.dialing = nil
	case e.Kind == Closed:
		s.dialing = nil
		sim.at(50*time.Millisecond, func() { sim.dialHub(s) })
	case e.Kind == Stranded && s.onIt.IsRelay():
		sim.at(50*time.Millisecond, func() {
			if x := s.with(sim.hub); x != nil {
				s.addPath(x, s.onIt)
			}
		})
	}
}

// talk sends a message somewhere, and takes one back now and then.
func (sim *simulation) talk() bool {
	if sim.healed {
		return false
	}
	s := sim.spokes[sim.rng.IntN(len(sim.spokes))]
	from, to := s.peer, sim.hub
	if sim.chance(0.5) {
		from, to = to, from
	}
	x := from.with(to)
	if x == nil && from == s.peer && sim.chance(0.3) {
		x = s.dialing // messages may be queued before the session is up
	}
	if x == nil {
		return true
	}
	for range 1 + sim.rng.IntN(3) {
		sim.post(from, x)
	}
	if len(sim.entries) > 0 && sim.chance(0.05) {
		sim.cancel(sim.entries[sim.rng.IntN(len(sim.entries))])
	}
	return true
}

func (sim *simulation) post(from *peer, s *Session) {
	m := Message{
		Channel: uint16(sim.rng.IntN(4)), Mode: wire.Mode(sim.rng.IntN(4)), Receipt: sim.chance(0.5), Plain: sim.chance(0.5),
	}
	if sim.chance(0.1) {
		m.Deadline = sim.now.Add(sim.upTo(500 * time.Millisecond))
	}
	if sim.chance(0.1) {
		m.Key = 1 + uint64(sim.rng.IntN(3))
	}
	size := sim.rng.IntN(300)
	switch sim.rng.IntN(20) {
	case 0:
		size = sim.rng.IntN(40 << 10)
		if sim.chance(0.1) {
			size = sim.rng.IntN(300 << 10)
		}
	case 1, 2:
		size = sim.rng.IntN(4000)
	}
	if x, err := from.post(s, m, size); err == nil {
		sim.entries = append(sim.entries, x)
	}
}

func (sim *simulation) cancel(x *entry) {
	if x.life == x.from.incarnation {
		x.from.change(func(now Time) { x.by.Cancel(now, x.id) })
	}
}

// heal ends everything that goes wrong.
func (sim *simulation) heal() {
	sim.healed = true
	sim.net.Ladder().Note(sim.vtime(), "the network heals")
	for _, p := range sim.peers {
		p.host.SetLink(wiretest.Link{Delay: 10 * time.Millisecond})
		for ch := range uint16(4) {
			p.resume(ch)
		}
	}
}

// settleMax is how long a healed world has to come to rest (V5).
const settleMax = 45 * time.Second

// settle waits until every spoke is in session with the hub, the same one on
// both sides (V13), every message is accounted for (V5), and messages flow both
// ways again (V12).
func (sim *simulation) settle() {
	var err error
	ok := sim.poll(settleMax, func() bool { err = sim.disagreement(); return err == nil })
	if !ok {
		sim.fatalf("%v after everything is well: %v", settleMax, err)
	}
	sim.world.run(time.Second, nil) // the last acknowledgements make room to send
	var last []*entry
	for _, s := range sim.spokes {
		last = append(last, s.mustPost(s.with(sim.hub), Message{Receipt: true}, 100),
			sim.hub.mustPost(sim.hub.with(s.peer), Message{Receipt: true}, 100))
	}
	for _, x := range last {
		if !sim.poll(2*time.Second, func() bool { return x.last() == Read }) {
			sim.fatalf("%v did not get through in 2 s, fates %v", x, x.fates)
		}
	}
}

// poll is run with a condition that is dear to check.
func (sim *simulation) poll(d time.Duration, done func() bool) bool {
	for end := sim.now.Add(d); !done(); {
		if sim.now >= end {
			return false
		}
		sim.world.run(20*time.Millisecond, nil)
	}
	return true
}

func (sim *simulation) disagreement() error {
	for _, s := range sim.spokes {
		mine, theirs := s.with(sim.hub), sim.hub.with(s.peer)
		switch {
		case mine == nil || theirs == nil:
			return fmt.Errorf("%s and the hub are not in session", s.name)
		case mine.ID() != theirs.ID():
			return fmt.Errorf("%s and the hub are in different sessions", s.name)
		case mine.sendable() != nil || theirs.sendable() != nil:
			return fmt.Errorf("the session of %s with the hub is about to end", s.name)
		case len(s.sessions) != 1:
			return fmt.Errorf("%s has %d sessions", s.name, len(s.sessions))
		}
	}
	return sim.ledger.settled()
}

// closeAll ends every session and wants nothing to be left of them (V15).
func (sim *simulation) closeAll() {
	for _, s := range sim.spokes {
		s.onEvent = nil
	}
	for _, p := range sim.peers {
		for len(p.sessions) > 0 {
			p.change(func(now Time) { p.sessions[0].Close(now, 0, "") })
		}
	}
	sim.world.run(time.Minute, nil) // three probe timeouts, however long they had become
	for _, p := range sim.peers {
		if n := p.ep.Stats(); n.Sessions != 0 || n.HalfOpen != 0 || p.ep.Deadline() != Never {
			sim.fatalf("%s holds %d sessions, %d half open, after all are closed", p.name, n.Sessions, n.HalfOpen)
		}
		if len(p.ep.byID)+len(p.ep.byToken)+len(p.ep.dials) != 0 {
			sim.fatalf("%s still has %d connection IDs, %d tokens, %d dials", p.name, len(p.ep.byID), len(p.ep.byToken), len(p.ep.dials))
		}
	}
}
