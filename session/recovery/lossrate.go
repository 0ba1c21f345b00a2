package recovery

// A lossRate is the fraction of the frames of a path that were lost lately, in
// units of 1/lossUnit. It tells how often something must be sent to arrive, not
// whether the path is congested.
type lossRate uint32

const (
	lossUnit  = 1 << 16
	lossShift = 7 // the mean is over about 128 frames
)

func (l *lossRate) arrived() { *l -= *l >> lossShift }
func (l *lossRate) lost()    { *l += (lossUnit - *l) >> lossShift }

// LossRate returns how many of 1000 frames were lost lately.
func (p *Path) LossRate() int { return int(p.lossRate) * 1000 / lossUnit }
