package session

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A world is endpoints on a pretend network in virtual time. It obeys the law
// of the core: make one change, then drain everything. After each change it
// checks what must hold at every instant; see check_test.go.
type world struct {
	tb     testing.TB
	seed   uint64
	net    *wiretest.Net
	now    Time
	peers  []*peer
	plans  []plan // what the test does later, earliest first
	serial uint64 // of peers, for their seeds and addresses
	deep   bool   // look into every session after every change
	failed bool

	ledger  ledger // of all messages
	hostile map[wire.PeerID]bool
	onTap   func(from, to netip.AddrPort, data []byte)
	onCatch func(p wiretest.Packet) bool // takes a packet away from its peer
}

// A plan is something the test does at a time.
type plan struct {
	at   Time
	what func()
}

// epoch is when worlds begin: not at zero, which some fields take for never.
const epoch = Time(time.Hour)

func newWorld(tb testing.TB, seed uint64) *world {
	w := &world{tb: tb, seed: seed, net: wiretest.New(seed), now: epoch, hostile: make(map[wire.PeerID]bool)}
	w.ledger.init()
	w.net.Tap = w.tap
	return w
}

// address returns an address nobody has yet.
func (w *world) address() netip.Addr {
	w.serial++
	return netip.AddrFrom4([4]byte{203, 0, byte(w.serial >> 8), byte(w.serial)})
}

// vtime is the time as the network counts it.
func (w *world) vtime() time.Duration { return w.now.Sub(epoch) }

// at plans something for a time from now.
func (w *world) at(d time.Duration, what func()) {
	when := w.now.Add(d)
	i, _ := slices.BinarySearchFunc(w.plans, when, func(p plan, t Time) int {
		if p.at <= t {
			return -1
		}
		return 1
	})
	w.plans = slices.Insert(w.plans, i, plan{when, what})
}

// every plans something at each interval while what returns true.
func (w *world) every(d time.Duration, what func() bool) {
	w.at(d, func() {
		if what() {
			w.every(d, what)
		}
	})
}

// step moves time to the next thing that happens, if that is not after end, and
// lets it happen. It reports false if nothing does.
func (w *world) step(end Time) bool {
	next := Never
	if at, ok := w.net.Next(); ok {
		next = epoch.Add(at)
	}
	if len(w.plans) > 0 {
		next = min(next, w.plans[0].at)
	}
	for _, p := range w.peers {
		if !p.asleep {
			next = min(next, p.ep.Deadline())
		}
	}
	if next == Never || next > end {
		return false
	}
	w.now = max(w.now, next)
	for _, d := range w.net.Deliver(w.vtime()) {
		w.deliver(d)
	}
	for len(w.plans) > 0 && w.plans[0].at <= w.now {
		what := w.plans[0].what
		w.plans = w.plans[1:]
		what()
	}
	for _, p := range w.peers {
		w.fire(p)
	}
	return true
}

// spinMax is how many times in a row an endpoint may ask for a timeout at once.
const spinMax = 8

// fire lets a due timer go off. An endpoint whose deadline stays in the past
// spins (V11).
func (w *world) fire(p *peer) {
	if p.asleep || p.ep.Deadline() > w.now {
		p.spins = 0
		return
	}
	if p.spins++; p.spins > spinMax {
		p.fatalf("%s: the deadline is in the past %d times in a row: %s", p.name, p.spins, timers(p.ep.timers[0].s))
	}
	p.change(p.ep.HandleTimeout)
	if p.asleep || p.ep.Deadline() > w.now {
		p.spins = 0
	}
}

func (w *world) deliver(d wiretest.Packet) {
	if w.onCatch != nil && w.onCatch(d) {
		return
	}
	for _, p := range w.peers {
		if p.asleep {
			continue
		}
		if socket := d.To.Port() - p.port; p.host == d.Host && socket <= maxSockets {
			from := Path{Remote: d.From}
			if socket > 0 {
				from.Link = LinkSocket | uint32(socket)
			}
			p.received(d.From, d.Data)
			p.change(func(now Time) { p.ep.HandleDatagram(now, from, d.ECN, d.Data) })
			return
		}
		for i, l := range p.links {
			if l.host == d.Host {
				p.change(func(now Time) { p.ep.HandleDatagram(now, Path{Link: uint32(i + 1)}, d.ECN, d.Data) })
				return
			}
		}
	}
}

// run lets the world live until done returns true or d is over, and reports
// whether it was done. A nil done runs for all of d.
func (w *world) run(d time.Duration, done func() bool) bool {
	end := w.now.Add(d)
	for done == nil || !done() {
		if w.failed || !w.step(end) {
			w.now = end
			return done != nil && done()
		}
	}
	return true
}

// want runs the world until done, and fails the test if that takes longer than d.
func (w *world) want(what string, d time.Duration, done func() bool) {
	w.tb.Helper()
	if !w.run(d, done) {
		w.fatalf("not within %v: %s", d, what)
	}
}

// fatalf ends the test, with what flew last and how to see it again.
func (w *world) fatalf(format string, args ...any) {
	w.tb.Helper()
	w.failed = true
	w.tb.Fatalf("%s\nat %v, replay: go test ./session -run '^%s$' -seed %d\n%v",
		fmt.Sprintf(format, args...), w.vtime(), strings.ReplaceAll(w.tb.Name(), "/", "$/^"), w.seed, w.net.Ladder())
}

func (w *world) tap(_ time.Duration, from, to netip.AddrPort, data []byte) {
	if w.onTap != nil {
		w.onTap(from, to, data)
	}
}
