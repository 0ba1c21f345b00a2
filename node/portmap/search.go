package portmap

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// A search asks all protocols of one gateway, and one after the other of those
// that answer for the mapping.
type search struct {
	protocols []protocol
	tries     []try    // of each protocol
	reports   chan try // from their goroutines
	asking    bool     // a mapping is asked for
	patient   bool     // better protocols may still answer
}

// A try is how far a protocol has come.
type try struct {
	i     int // of protocols
	stage tryStage
	grant grant
	err   error
}

type tryStage uint8

const (
	probing tryStage = iota
	usable           // it answered
	asked            // for the mapping
	granted
	failed
)

// search returns the protocol that granted a mapping, or nil. Once it returns,
// none of its protocols is at work.
func (c *Client) search(network context.Context) protocol {
	if err := c.findGateway(); err != nil {
		c.publish(network, Status{Searched: true, Error: err.Error()})
		return nil
	}
	ctx, cancel := context.WithTimeout(network, searchMax)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	n := len(c.protocols)
	s := &search{protocols: c.protocols, tries: make([]try, n), reports: make(chan try, 2*n), patient: true}
	for i, p := range s.protocols {
		running.Go(func() { s.probe(ctx, i, p) })
	}
	grace, decided := time.NewTimer(searchGrace), time.NewTimer(searchDecided)
	defer grace.Stop()
	defer decided.Stop()
	for !s.hasFailed() && ctx.Err() == nil {
		if i := s.next(); i >= 0 {
			wish := c.ask(s.protocols[i])
			s.asking, s.tries[i].stage = true, asked
			running.Go(func() { s.request(ctx, i, s.protocols[i], wish) })
		}
		select {
		case t := <-s.reports:
			s.take(t)
			if t.stage == granted {
				c.grant(network, s.protocols[t.i], t.grant, s.answered())
				return s.protocols[t.i]
			}
		case <-grace.C:
			s.patient = false
		case <-decided.C:
			c.publish(network, s.status(c.gateway))
		case <-ctx.Done():
		}
	}
	c.publish(network, s.status(c.gateway))
	return nil
}

// ask remembers that a protocol is asked for a mapping, and returns the external
// address to wish for: the one of before.
func (c *Client) ask(p protocol) (wish netip.AddrPort) {
	if c.asked != p {
		c.asked, c.granted = p, grant{}
	}
	return c.wish
}

// findGateway looks up the gateway. What its protocols know of it stays if it is
// the one of before.
func (c *Client) findGateway() error {
	g, err := c.cfg.Gateway()
	if err != nil {
		return err
	}
	if c.protocols == nil || g != c.gateway {
		c.gateway, c.protocols = g, c.cfg.protocols(g)
		c.asked, c.granted, c.wish = nil, grant{}, netip.AddrPort{} // the old gateway is out of reach
	}
	return nil
}

func (s *search) probe(ctx context.Context, i int, p protocol) {
	t := try{i: i, stage: usable, err: p.probe(ctx)}
	if t.err != nil {
		t.stage = failed
	}
	s.reports <- t
}

func (s *search) request(ctx context.Context, i int, p protocol, wish netip.AddrPort) {
	t := try{i: i, stage: granted}
	if t.grant, t.err = p.request(ctx, wish); t.err != nil {
		t.stage = failed
	}
	s.reports <- t
}

func (s *search) take(t try) {
	if s.tries[t.i].stage == asked {
		s.asking = false
		if t.err == errSilent {
			t.err = errUnanswered // it did answer the probe
		}
	}
	s.tries[t.i] = t
}

// next returns the protocol to ask for a mapping now, or -1.
func (s *search) next() int {
	if s.asking {
		return -1
	}
	for i, t := range s.tries {
		if t.stage == usable {
			return i
		}
		if t.stage == probing && s.patient {
			return -1
		}
	}
	return -1
}

func (s *search) hasFailed() bool {
	return !slices.ContainsFunc(s.tries, func(t try) bool { return t.stage != failed })
}

// answered names the protocols that somebody answered.
func (s *search) answered() (names []string) {
	for i, t := range s.tries {
		if t.stage != probing && t.err != errSilent {
			names = append(names, s.protocols[i].name())
		}
	}
	return names
}

// status returns what to tell of a search that was in vain so far.
func (s *search) status(g Gateway) Status {
	var reasons []string
	for i, t := range s.tries {
		if t.stage == failed && t.err != errSilent {
			reasons = append(reasons, fmt.Sprintf("%s: %v", s.protocols[i].name(), t.err))
		}
	}
	text := strings.Join(reasons, "; ")
	if text == "" {
		text = fmt.Sprintf("no answer from the gateway %v: port mapping is switched off there, or it has none", g.Addr)
	}
	return Status{Searched: true, Answered: s.answered(), Error: text}
}
