package recovery

// Numbers are skipped about once in this many, at first and at last.
const (
	firstSkipPeriod = 1 << 8
	lastSkipPeriod  = 1 << 17
)

// A skipper chooses packet numbers that are never used. A peer which
// acknowledges one has not seen what it acknowledges, and would make the
// sender believe in a faster path (RFC 9000 §21.4). They become rarer as the
// session grows, since each costs the peer an immediate acknowledgement.
type skipper struct {
	pn     uint64
	period uint64
	rand   uint64
}

func (k *skipper) init(seed uint64) {
	*k = skipper{period: firstSkipPeriod, rand: seed}
	k.choose(0)
}

// due reports whether to skip pn, and then chooses the next.
func (k *skipper) due(pn uint64) bool {
	if pn < k.pn {
		return false
	}
	k.choose(pn)
	return true
}

// choose takes one of the 2*period numbers that follow, so that the mean
// distance is the period and the peer cannot tell which.
func (k *skipper) choose(pn uint64) {
	k.pn = pn + 1 + k.random()%(2*k.period)
	k.period = min(2*k.period, lastSkipPeriod)
}

// random is SplitMix64.
func (k *skipper) random() uint64 {
	k.rand += 0x9e3779b97f4a7c15
	z := k.rand
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
