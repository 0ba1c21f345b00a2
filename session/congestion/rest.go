package congestion

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// Rest returns what is left of the controller once the path has carried nothing
// for so long that the window has decayed to where a path begins, or was smaller
// anyway. It reports false before that.
func (c *Controller) Rest(now clock.Time, pto time.Duration) (window, ssthresh int, ok bool) {
	if c.sentAt != longAgo {
		idle := now.Sub(c.sentAt)
		if floor := InitialWindow(c.mds); c.window > floor && (idle <= pto || c.window>>min(idle/pto, 30) > floor) {
			return 0, 0, false
		}
		c.decay(idle, pto)
	}
	return c.window, c.ssthresh, true
}

// Wake makes c, which Init has prepared, go on with what Rest returned.
func (c *Controller) Wake(window, ssthresh int) {
	c.window, c.ssthresh = max(window, minWindow(c.mds)), ssthresh
	if ssthresh > MaxWindow {
		c.ssthresh = noSSThresh
	}
}
