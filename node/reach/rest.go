package reach

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// restTimes is how long an introduction whose session is still relayed rests
// before it is tried again. What has just failed fails again: only time, or
// another network, changes what the NATs between the peers hold. The first rest
// outlasts the 30 s for which many of them keep a flow without answer.
var restTimes = []time.Duration{35 * time.Second, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute}

// wakeDelay is how long after a change of network resting introductions wake: by
// then the network tends to be usable.
const wakeDelay = 300 * time.Millisecond

// roundOver goes on to the next round if there is another way to try, or to rest.
// It reports whether the introduction goes on.
func (c *Client) roundOver(in *introduction) bool {
	if !in.own || !in.retry && c.retries() >= maxRetries {
		return false
	}
	next := in.round + 1
	if next >= roundsFor(techniqueFor(&in.me.nat, &in.it, in.round)) || !c.changes(in) {
		return c.rest(in)
	}
	c.over(in)
	*in = introduction{peer: in.peer, own: true, retry: true, rests: in.rests, round: next}
	return c.again(in)
}

// changes reports whether the next round differs from the last: by the technique,
// or by sockets and ports that no NAT has seen.
func (c *Client) changes(in *introduction) bool {
	t := techniqueFor(&in.me.nat, &in.it, in.round+1)
	return t != TechniqueNone && (t != TechniqueProbe || t != in.volley.plan.technique)
}

// rest puts an introduction that is over to rest if its session is still
// relayed, and reports whether it goes on.
func (c *Client) rest(in *introduction) bool {
	if c.hasDirect(in) {
		return false
	}
	c.restFor(in, restTimes[min(in.rests, len(restTimes)-1)], in.rests+1)
	return true
}

// restFor puts an introduction to rest for about d.
func (c *Client) restFor(in *introduction, d time.Duration, rests int) {
	c.over(in)
	*in = introduction{
		peer: in.peer, own: true, retry: true, phase: resting, rests: rests,
		at: c.now.Add(c.jitter(d)), expires: clock.Never,
	}
}

// again begins an introduction anew, if there is still a reason.
func (c *Client) again(in *introduction) bool {
	if c.hasDirect(in) {
		return false
	}
	in.id, in.expires = c.newUUID(), c.now.Add(liveLifetime)
	c.prepare(in)
	return true
}

// hasDirect reports whether the session has a direct path, or is no more.
func (c *Client) hasDirect(in *introduction) bool {
	return !c.cfg.Known(in.peer) || c.cfg.Direct(in.peer)
}

func (c *Client) retries() (n int) {
	for _, in := range c.introductions {
		if in.retry {
			n++
		}
	}
	return n
}

// wakeResting lets the introductions that rest, or go through their rounds, begin
// anew shortly: what they tried in vain may work now.
func (c *Client) wakeResting() {
	for _, in := range c.introductions {
		if in.retry {
			c.restFor(in, wakeDelay, 0)
		}
	}
}
