package wiretest

import (
	"net/netip"
	"time"
)

// A Course is the way of a stream, such as a TCP connection, between two hosts.
// The network carries no streams itself: a Course tells a model of them how long
// things take and when they stop. NATs and firewalls let streams out, also those
// that block UDP, and none in; a stream does not outlive the memory of its NATs.
type Course struct {
	From, To *Host
	Source   netip.Addr // of From, as To sees it
	Target   netip.Addr // of To

	net         *Net
	there, back []*Pipe
	nats        []*NAT
	incarnation int // of its hosts and NATs together
	online      bool
}

// Course returns the way from a host to an address, and false if there is none:
// nobody has the address, or a NAT is before it.
func (n *Net) Course(from *Host, to netip.Addr) (*Course, bool) {
	source, ok := from.Addr(to)
	c := &Course{From: from, Source: source, Target: to, net: n}
	c.along(from.Up, from.Down)
	at := from.behind
	target, here := n.routes[place{at, to}]
	for ; !here && at != nil; target, here = n.routes[place{at, to}] {
		c.nats = append(c.nats, at)
		c.along(at.Up, at.Down)
		if at.translates(to) {
			c.Source = at.external
		}
		at = at.behind
	}
	c.online = at == nil
	c.To, here = target.(*Host)
	if !ok || !here {
		return nil, false
	}
	c.along(c.To.Down, c.To.Up)
	c.incarnation = c.lives()
	return c, true
}

func (c *Course) along(there, back *Pipe) {
	c.there, c.back = append(c.there, there), append(c.back, back)
}

// lives counts what ends a stream for good. It only grows.
func (c *Course) lives() int {
	sum := c.From.moves + c.To.moves
	for _, b := range c.nats {
		sum += b.lives
	}
	return sum
}

// Severed reports whether the stream can never go on: one of its hosts has
// moved, or a NAT has forgotten it.
func (c *Course) Severed() bool { return c.lives() != c.incarnation }

// Open reports whether anything passes at the moment, in both directions.
func (c *Course) Open(now time.Duration) bool {
	if c.Severed() || c.From.unplugged || c.To.unplugged {
		return false
	}
	if c.online && c.net.blocked[pairOf(c.Source, c.Target)] {
		return false
	}
	for _, b := range c.nats {
		if now < b.bootedAt {
			return false
		}
	}
	for _, way := range [][]*Pipe{c.there, c.back} {
		for _, p := range way {
			if p.Blackhole || p.Loss >= 1 {
				return false
			}
		}
	}
	return true
}

// A Wire is one direction of a Course, all its pipes together.
type Wire struct {
	Delay time.Duration
	Loss  float64 // fraction lost on any of the pipes
	Rate  int     // of the slowest, in bits a second; zero: no limit
}

// There returns the direction from From to To.
func (c *Course) There() Wire { return wireOf(c.there) }

// Back returns the direction from To to From.
func (c *Course) Back() Wire { return wireOf(c.back) }

func wireOf(pipes []*Pipe) Wire {
	w, passes := Wire{}, 1.0
	for _, p := range pipes {
		w.Delay += p.Delay
		passes *= 1 - p.Loss
		if p.Rate > 0 && (w.Rate == 0 || p.Rate < w.Rate) {
			w.Rate = p.Rate
		}
	}
	w.Loss = 1 - passes
	return w
}
