package reach

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// handleInvite answers a server that says a peer wants to meet this node. The
// peer learns this node's addresses only if the node wants to meet it too.
func (c *Client) handleInvite(i int, m *wire.Invite) {
	if m.Peer == c.cfg.Self {
		return
	}
	if !c.cfg.Known(m.Peer) && !c.cfg.Accepts(m.Peer) || c.taken(m) || !c.roomForInvited(m.Peer) {
		no := wire.Accept{ID: m.ID, Peer: m.Peer}
		c.act(Action{Kind: SendControl, Server: i, ID: m.ID, Data: no.Append(nil)})
		return
	}
	in := &introduction{id: m.ID, peer: m.Peer, server: i, fresh: m.Fresh, it: m.NAT, round: int(m.Round), expires: c.now.Add(invitedLifetime)}
	c.introductions = append(c.introductions, in)
	c.note(in)
	c.prepare(in)
	c.timeoutIntroductions()
}

// taken reports whether the ID of an invitation belongs to an introduction that
// the invitation does not replace. A peer that one server leaves waiting asks
// another, under the same ID.
func (c *Client) taken(m *wire.Invite) bool {
	in := c.findIntroduction(m.ID)
	return in != nil && (in.own || in.peer != m.Peer || in.phase > awaiting)
}

// handlePunch takes a server's order to start probing. What it may cause is
// bounded here and not by trust in the server: for an introduction of our own,
// once; for those of others, as many as maxInvited and the budget allow. Probes
// and guesses are only for peers that the node has a session with.
func (c *Client) handlePunch(i int, m *wire.Punch) {
	in := c.findIntroduction(m.ID)
	if in == nil || in.peer != m.Peer {
		return
	}
	first := in.phase == awaiting && in.server == i || in.phase == asking && in.asks.asked>>i&1 == 1
	if !first && (!in.own || in.asks.asked>>i&1 == 0) {
		return
	}
	c.addCandidates(i, in, m)
	if first {
		c.ordered(in, m)
	}
	c.timeoutIntroductions()
}

// ordered takes the first order to start.
func (c *Client) ordered(in *introduction, m *wire.Punch) {
	if c.cfg.Known(in.peer) && !c.affords(in) {
		c.filterIntroductions(func(x *introduction) bool { return x != in })
		return
	}
	in.it, in.seen = m.NAT, reflexiveOf(in, &m.Candidates)
	in.phase = timed
	in.at = c.now.Add(min(time.Duration(m.StartIn)*time.Microsecond, startMax))
	c.noteTold(in)
	c.planVolley(in)
	c.act(Action{Kind: Introduced, ID: in.id, Peer: in.peer})
}

func (c *Client) findIntroduction(id uuid.UUID) *introduction {
	for _, in := range c.introductions {
		if in.id == id {
			return in
		}
	}
	return nil
}

// roomForInvited makes room for an introduction that some peer asked for. A newer
// one replaces an older one of the same peer, whose candidates are old. Beyond
// that, room is made at the expense of peers whose session has not come yet: to
// invite costs a stranger nothing, so it must not crowd out the peers we talk to.
func (c *Client) roomForInvited(peer wire.PeerID) bool {
	c.filterIntroductions(func(in *introduction) bool {
		return in.own || in.peer != peer || in.phase == probing
	})
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
	c.over(c.introductions[victim])
	c.introductions = slices.Delete(c.introductions, victim, victim+1)
	return true
}

// addCandidates takes over those candidates that may be probed.
func (c *Client) addCandidates(i int, in *introduction, m *wire.Punch) {
	if c.cfg.RelayOnly {
		return
	}
	f := c.filterFor(i, &m.Candidates)
	for candidate := range m.Candidates.All() {
		ok := f.allows(candidate)
		c.noteCandidate(in, candidate, ok)
		if ok && len(in.candidates) < wire.MaxCandidates && !slices.Contains(in.candidates, candidate.Addr) {
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
		if !c.affords(in) {
			return false
		}
		if in.volley.later {
			c.planVolley(in)
		}
		in.phase, in.at = probing, c.now
		in.volley.begin(c.now)
		return c.probe(in) || c.roundOver(in)
	case in.expires <= c.now:
		return false
	}
	in.phase, in.at = held, clock.Never
	return true
}

// probe hands out the candidates that are due, a little apart so that a burst
// does not overrun a small router, and then the guesses. It reports whether
// probing goes on.
func (c *Client) probe(in *introduction) bool {
	for in.probed < len(in.candidates) && in.at <= c.now {
		c.act(Action{Kind: Probe, ID: in.id, Peer: in.peer, Link: in.volley.plan.probeFrom, Addr: in.candidates[in.probed]})
		in.probed++
		in.at = in.at.Add(probeGap)
	}
	if in.probed == len(in.candidates) {
		in.at = clock.Never
	}
	return c.guess(in)
}

// A volley is a plan being carried out.
type volley struct {
	plan   plan
	opened int        // openers sent
	openAt clock.Time // when the next one goes out; Never if none does
	shot   int        // guesses sent, all passes together
	shotAt clock.Time
	ends   clock.Time // when the round is over; Never before it begins
	later  bool       // the plan is made when the session is there
}

func (v *volley) deadline(p phase) clock.Time {
	t := clock.Never
	if p >= timed && v.opened < len(v.plan.openers) {
		t = v.openAt
	}
	if p == probing {
		t = min(t, v.shotAt, v.ends)
	}
	return t
}

// planVolley settles how to meet the peer, now that both NATs are known. Nothing
// is searched for strangers: they might be many.
func (c *Client) planVolley(in *introduction) {
	in.volley = volley{openAt: c.now, shotAt: clock.Never, ends: clock.Never}
	if c.cfg.RelayOnly {
		return
	}
	v := &in.volley
	t := techniqueFor(&in.me.nat, &in.it, in.round)
	switch searches := t.searches(); {
	case searches && !in.own && !c.cfg.Known(in.peer):
		v.later = true
	case !searches || in.seen.IsValid() && c.beginSearch(in, t):
		v.plan = c.plan(in)
	}
	c.openCandidates(in)
	in.report.Technique = v.plan.technique
}

func (c *Client) plan(in *introduction) plan {
	me := side{
		nat: in.me.nat, link: in.me.link, initiator: in.own, chance: rand.New(c.rand),
		opens: func() uint32 {
			link := c.openSocket()
			in.me.links = append(in.me.links, link)
			return link
		},
	}
	p := planFor(&me, &in.it, in.seen, in.round)
	if !in.seen.IsValid() {
		p.openers, p.guesses = nil, nil
	}
	return p
}

// openCandidates sends an opener to each candidate too: when the peer's first
// probe arrives, the NATs on this side know of the flow already. Some of them
// would otherwise take the probe for an attack, or give its port away.
func (c *Client) openCandidates(in *introduction) {
	v := &in.volley
	for _, a := range in.candidates {
		if ScopeOf(a.Addr()) == ScopeGlobal || ScopeOf(a.Addr()) == ScopeDocumentation {
			v.plan.openers = append(v.plan.openers, shot{v.plan.probeFrom, a})
		}
	}
}

// open sends the openers that are due. Those to a peer whose session is not there
// yet are left out if there were too many of them.
func (c *Client) open(in *introduction) {
	v := &in.volley
	for in.phase >= timed && in.phase <= probing && v.opened < len(v.plan.openers) && v.openAt <= c.now {
		s := v.plan.openers[v.opened]
		if in.own || c.cfg.Known(in.peer) {
			if wait := c.affordsShot(); wait > 0 {
				v.openAt = c.now.Add(wait)
				return
			}
			c.act(Action{Kind: SendOpener, Link: s.link, Addr: s.to})
		} else if c.affordsStrange() {
			c.act(Action{Kind: SendOpener, Link: s.link, Addr: s.to})
		}
		v.opened++
		v.openAt = v.openAt.Add(openerGap)
	}
}

func (v *volley) begin(now clock.Time) {
	v.ends = now.Add(probeTime)
	if len(v.plan.guesses)+v.plan.sockets > 0 {
		v.shotAt = now.Add(v.plan.wait)
		v.ends = max(v.ends, now.Add(v.duration()))
	}
}

// duration is how long the side that shoots takes, whichever this one is.
func (v *volley) duration() time.Duration {
	shots := time.Duration(len(v.plan.guesses)*v.plan.passes) * v.plan.gap
	switch v.plan.technique {
	case TechniqueBlock:
		shots = blockGuesses * guessGap
	case TechniqueSearch:
		shots = searchGuesses * guessGap
	case TechniqueGrid:
		shots = gridRow * gridSockets * gridGap
	}
	return v.plan.wait + shots + searchPatience
}

// guess sends the guesses that are due, and reports whether the round goes on.
// It ends when the two have met before all is tried.
func (c *Client) guess(in *introduction) bool {
	v := &in.volley
	if v.shotAt <= c.now && c.hasDirect(in) {
		return false // they have met, or the session is over
	}
	total := len(v.plan.guesses) * v.plan.passes
	for v.shotAt <= c.now && v.shot < total {
		if wait := c.affordsShot(); wait > 0 {
			v.shotAt = c.now.Add(wait)
			break
		}
		s := v.plan.guesses[v.shot%len(v.plan.guesses)]
		c.act(Action{Kind: Guess, ID: in.id, Peer: in.peer, Link: s.link, Addr: s.to})
		v.shot++
		v.shotAt = v.shotAt.Add(v.plan.gap)
		in.report.Guesses++
	}
	switch {
	case v.shot < total:
	case v.shotAt <= c.now && v.plan.sockets > 0:
		v.shotAt = c.now.Add(foundInterval)
	case v.plan.sockets == 0:
		v.shotAt = clock.Never
	}
	return v.ends > c.now
}

// reflexiveOf returns where servers see the peer: the first such candidate that
// may be probed.
func reflexiveOf(in *introduction, list *wire.Candidates) netip.AddrPort {
	for candidate := range list.All() {
		if candidate.Kind == wire.CandidateReflexive && slices.Contains(in.candidates, candidate.Addr) {
			return candidate.Addr
		}
	}
	return netip.AddrPort{}
}
