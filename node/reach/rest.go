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
const wakeDelay = time.Second

// rest puts an introduction that is over to rest if its session is still
// relayed, and reports whether it goes on.
func (c *Client) rest(in *introduction) bool {
	if !in.own || c.hasDirect(in) || !in.retry && c.retries() >= maxRetries {
		return false
	}
	*in = introduction{
		peer: in.peer, own: true, retry: true, phase: resting, rests: in.rests + 1,
		at:      c.now.Add(c.jitter(restTimes[min(in.rests, len(restTimes)-1)])),
		expires: clock.Never,
	}
	return true
}

// again begins an introduction anew after its rest, if there is still a reason.
func (c *Client) again(in *introduction) bool {
	if c.hasDirect(in) {
		return false
	}
	in.id, in.phase = c.newUUID(), asking
	in.at, in.expires = c.now, c.now.Add(liveLifetime)
	return c.ask(in)
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

// wakeResting lets the introductions that rest begin anew shortly.
func (c *Client) wakeResting() {
	for _, in := range c.introductions {
		if in.phase == resting {
			in.rests, in.at = 0, c.now.Add(c.jitter(wakeDelay))
		}
	}
}
