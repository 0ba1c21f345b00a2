package congestion

import (
	"math/bits"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// Constants of RFC 9438, as fractions.
const (
	betaNum, betaDen = 7, 10 // multiplicative decrease (§4.6)
	// The additive increase of the Reno-friendly region is
	// 3*(1-beta)/(1+beta) = 9/17 datagrams for each round trip (§4.3).
	alphaNum, alphaDen = 9, 17
)

// cubic is the congestion avoidance of RFC 9438. Windows are in bytes.
type cubic struct {
	running bool       // an epoch has begun; else the next grow begins one
	reduced bool       // the next epoch follows a reduction and aims for wMax
	epoch   clock.Time // when the epoch began, moved by the time it was paused
	paused  clock.Time // since when the application uses too little; longAgo if it does not
	acked   clock.Time // when grow or pause was last called

	wMax  int   // the window that the curve has its plateau at
	prior int   // the window before the last reduction (cwnd_prior)
	k     int64 // milliseconds from epoch to the plateau
	wEst  int   // what Reno would have reached

	windowPart int // remainder of the division that grew the window
	estPart    int // remainder of the division that grew wEst
}

// stop ends the epoch; the next one has nothing to aim for (§4.8, §4.10).
func (c *cubic) stop() { c.running, c.reduced = false, false }

// reduce returns the window after a congestion event and ends the epoch.
func (c *cubic) reduce(window int) int {
	if window < c.wMax { // fast convergence (§4.7): leave room for new flows
		c.wMax = window * (betaDen + betaNum) / (2 * betaDen)
	} else {
		c.wMax = window
	}
	c.prior = window
	c.running, c.reduced = false, true
	return window * betaNum / betaDen
}

func (c *cubic) begin(now clock.Time, window, mds int) {
	c.running = true
	c.epoch, c.paused = now, longAgo
	c.wEst = window
	c.windowPart, c.estPart = 0, 0
	c.k = 0
	switch {
	case !c.reduced:
		c.wMax, c.prior = window, window
	case window < c.wMax:
		// K = cbrt((W_max - cwnd)/C) seconds, with windows in datagrams (§4.2).
		c.k = int64(cubeRoot(uint64(c.wMax-window) * 2_500_000_000 / uint64(mds)))
	default:
		c.wMax = window
	}
}

// pause stops the clock of the curve while the application does not use the
// window, else it would leap when it does again (§5.8).
func (c *cubic) pause(now clock.Time) {
	if c.running && c.paused == longAgo {
		c.paused = c.acked
	}
	c.acked = now
}

// grow returns the window after acked more bytes were acknowledged.
func (c *cubic) grow(now clock.Time, window, acked, mds int, rtt time.Duration) int {
	if !c.running {
		c.begin(now, window, mds)
	}
	if c.paused != longAgo {
		c.epoch = c.epoch.Add(now.Sub(c.paused))
		c.paused = longAgo
	}
	c.acked = now
	c.growEstimate(window, acked, mds)
	t := now.Sub(c.epoch)
	if c.at(t, mds) < c.wEst {
		return max(window, c.wEst) // Reno-friendly region (§4.3)
	}
	target := min(max(c.at(t+rtt, mds), window), window/2*3) // §4.2
	c.windowPart += (target - window) * acked
	grown := window + c.windowPart/window
	c.windowPart %= window
	return grown
}

// growEstimate adds alpha*acked/window datagrams to wEst (§4.3), where alpha
// is 1 from when Reno would have won back what the reduction took.
func (c *cubic) growEstimate(window, acked, mds int) {
	alpha := alphaNum
	if c.wEst >= c.prior {
		alpha = alphaDen
	}
	c.estPart += alpha * acked * mds
	c.wEst = min(c.wEst+c.estPart/(alphaDen*window), MaxWindow)
	c.estPart %= alphaDen * window
}

// at is W_cubic(t) = C*(t-K)^3 + W_max with C = 0.4 datagrams/s^3 (§4.2).
func (c *cubic) at(t time.Duration, mds int) int {
	const tooFar = 1_000_000 // ms; its cube still fits
	d := min(t.Milliseconds(), tooFar) - c.k
	cube := uint64(max(d, -d))
	cube = min(cube, tooFar)
	cube *= cube * cube
	delta := int(min(mulDiv(cube, 4*uint64(mds), 10_000_000_000), MaxWindow))
	if d < 0 {
		return c.wMax - delta
	}
	return c.wMax + delta
}

// cubeRoot returns the largest r with r*r*r <= n, a bit at a time.
func cubeRoot(n uint64) uint64 {
	var r uint64
	for shift := 63; shift >= 0; shift -= 3 {
		r <<= 1
		step := 3*r*(r+1) + 1 // (r+1)^3 - r^3
		if n>>shift >= step {
			n -= step << shift
			r++
		}
	}
	return r
}

// mulDiv returns a*b/c without overflow on the way, or the largest uint64 if
// the result does not fit.
func mulDiv(a, b, c uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi >= c {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(hi, lo, c)
	return q
}
