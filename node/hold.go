package node

import (
	"errors"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
)

// A hold keeps a session from the application until it has a direct path: for
// nodes that use relays for the handshake alone (Config.NoRelay).
type hold struct {
	dial  *dial       // that waits for the session; nil if the peer opened it
	timer *time.Timer // ends the wait
}

// holdTime is how long a session may look for a direct path. The probing of an
// introduction is over long before.
const holdTime = 10 * time.Second

// ErrNoDirectPath reports a dial that came no further than a relay, which
// Config.NoRelay does not allow to use.
var ErrNoDirectPath = errors.New("node: no direct path to the peer, and Config.NoRelay forbids relayed ones")

// hold keeps c from the application. The shard is locked.
func (c *Conn) hold(d *dial) {
	s := c.shard
	c.held = &hold{dial: d}
	c.held.timer = time.AfterFunc(holdTime, func() {
		s.drive(func(now session.Time) {
			if c.held != nil {
				c.sess.Close(now, CodeNoPath, "no direct path")
			}
		})
	})
}

// release gives c to the application after all.
func (c *Conn) release() {
	h := c.held
	c.held = nil
	h.timer.Stop()
	if h.dial != nil && h.dial.over {
		return // its caller gave up; the session is being closed
	}
	c.shard.announce(c, h.dial)
}

// failed ends the wait without a direct path.
func (h *hold) failed(now session.Time, err error) {
	h.timer.Stop()
	if h.dial == nil || h.dial.over {
		return
	}
	h.dial.sess = nil
	h.dial.everyPathFailed(now, errors.Join(ErrNoDirectPath, err))
	h.dial.checkHopeless()
}
