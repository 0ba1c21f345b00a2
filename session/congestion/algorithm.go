package congestion

import "fmt"

// An Algorithm decides how much a path may carry and how fast.
type Algorithm uint8

// The algorithms. The zero value leaves the choice to this package: BBR.
const (
	Default Algorithm = iota
	// BBR keeps a model of the path, of its rate and its round trip time, and
	// sends at that rate (draft-ietf-ccwg-bbr-04, with the changes of SPEC §5.2). Loss
	// that does not come of a queue hardly slows it.
	BBR
	// CUBIC fills the queue of the path until it overflows (RFC 9438).
	CUBIC
)

// String returns the name of the algorithm.
func (a Algorithm) String() string {
	switch a {
	case Default:
		return "default"
	case BBR:
		return "bbr"
	case CUBIC:
		return "cubic"
	}
	return fmt.Sprintf("congestion.Algorithm(%d)", uint8(a))
}

func (a Algorithm) resolve() Algorithm {
	if a == CUBIC {
		return CUBIC
	}
	return BBR
}
