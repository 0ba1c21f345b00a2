package congestion

import (
	"math"
	"time"
)

// reference is the congestion avoidance of RFC 9438 written down in floating
// point, with windows in datagrams and time in seconds as the RFC has them.
type reference struct {
	cwnd, wMax, prior, k, wEst float64
	epoch                      float64
}

const (
	refC     = 0.4
	refBeta  = 0.7
	refAlpha = 3 * (1 - refBeta) / (1 + refBeta)
)

func (r *reference) loss() {
	if r.cwnd < r.wMax {
		r.wMax = r.cwnd * (1 + refBeta) / 2
	} else {
		r.wMax = r.cwnd
	}
	r.prior = r.cwnd
	r.cwnd = max(r.cwnd*refBeta, 2)
}

func (r *reference) begin(now float64) {
	r.epoch, r.wEst = now, r.cwnd
	r.k = math.Cbrt((r.wMax - r.cwnd) / refC)
}

func (r *reference) w(t float64) float64 { return refC*math.Pow(t-r.k, 3) + r.wMax }

func (r *reference) ack(now, segments, rtt float64) {
	alpha := refAlpha
	if r.wEst >= r.prior {
		alpha = 1
	}
	r.wEst += alpha * segments / r.cwnd
	t := now - r.epoch
	if r.w(t) < r.wEst {
		r.cwnd = max(r.cwnd, r.wEst)
		return
	}
	target := min(max(r.w(t+rtt), r.cwnd), 1.5*r.cwnd)
	r.cwnd += (target - r.cwnd) / r.cwnd * segments
}

func seconds(d time.Duration) float64 { return d.Seconds() }
