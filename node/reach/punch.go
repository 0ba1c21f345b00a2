package reach

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// handlePunch takes a server's order to start probing. What it may cause is
// bounded here and not by trust in the server: for an introduction of our own,
// once; for those of others, as many as maxInvited and probeRate allow; and
// always only towards peers that the node has a session with.
func (c *Client) handlePunch(i int, m *wire.Punch) {
	if m.Peer == c.cfg.Self {
		return
	}
	in := c.findIntroduction(m.ID)
	switch {
	case in == nil:
		in = c.invited(m)
	case in.peer != m.Peer || !in.own || in.round.asked>>i&1 == 0:
		return
	}
	if in == nil {
		return
	}
	c.addCandidates(i, in, &m.Candidates)
	if in.phase == asking {
		in.phase = timed
		in.at = c.now.Add(min(time.Duration(m.StartIn)*time.Microsecond, startMax))
		c.act(Action{Kind: Introduced, ID: in.id, Peer: in.peer})
	}
	c.timeoutIntroductions()
}

func (c *Client) findIntroduction(id uuid.UUID) *introduction {
	for _, in := range c.introductions {
		if in.id == id {
			return in
		}
	}
	return nil
}

// invited begins an introduction that a server, and so some peer, asked for. A
// newer one replaces an older one of the same peer, whose candidates are old.
func (c *Client) invited(m *wire.Punch) *introduction {
	c.filterIntroductions(func(in *introduction) bool {
		return in.own || in.peer != m.Peer || in.phase == probing
	})
	if !c.roomForInvited() {
		return nil
	}
	in := &introduction{id: m.ID, peer: m.Peer, expires: c.now.Add(startMax + invitedLifetime)}
	c.introductions = append(c.introductions, in)
	return in
}

// roomForInvited makes room, at the expense of peers whose session has not come
// yet: to invite costs a stranger nothing, so it must not crowd out the peers we
// talk to.
func (c *Client) roomForInvited() bool {
	count := 0
	victim := -1
	for k, in := range c.introductions {
		if in.own {
			continue
		}
		count++
		if victim < 0 && !c.cfg.Known(in.peer) {
			victim = k
		}
	}
	if count < maxInvited {
		return true
	}
	if victim < 0 {
		return false
	}
	c.introductions = slices.Delete(c.introductions, victim, victim+1)
	return true
}

func (c *Client) addCandidates(i int, in *introduction, list *wire.Candidates) {
	f := c.filterFor(i, list)
	for candidate := range list.All() {
		full := len(in.candidates) == wire.MaxCandidates
		if !full && f.allows(candidate) && !slices.Contains(in.candidates, candidate.Addr) {
			in.candidates = append(in.candidates, candidate.Addr)
		}
	}
	if in.phase == probing {
		in.at = min(in.at, c.now.Add(probeGap))
	}
}

// start begins probing when the synchronised moment has come, or, if the
// session is late, when it is established. It reports whether the introduction
// goes on.
func (c *Client) start(in *introduction) bool {
	switch {
	case c.cfg.Known(in.peer):
		if !in.own && !c.probes.Take(c.now, probeRate, 1) {
			return false
		}
		in.phase, in.at = probing, c.now
		return c.probe(in) || c.rest(in)
	case in.expires <= c.now:
		return false
	}
	in.phase, in.at = held, clock.Never
	return true
}

// probe hands out the candidates that are due, a little apart so that a burst
// does not overrun a small router. It reports whether probing goes on.
func (c *Client) probe(in *introduction) bool {
	for in.probed < len(in.candidates) && in.at <= c.now {
		c.act(Action{Kind: Probe, ID: in.id, Peer: in.peer, Addr: in.candidates[in.probed]})
		in.probed++
		in.at = in.at.Add(probeGap)
		if in.probed == len(in.candidates) {
			in.at = c.now.Add(probeTime)
		}
	}
	return in.at > c.now
}
