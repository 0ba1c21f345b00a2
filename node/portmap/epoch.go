package portmap

import "time"

// An epoch is what a gateway said of how long it has kept its state. A gateway
// that restarted has lost the mappings, and its count of seconds gives it away.
type epoch struct {
	seen    bool
	server  uint32    // its count
	arrived time.Time // when it said so
}

// lostPCP takes the count of a PCP response and reports whether the gateway has
// lost its state since the last (RFC 6887 §8.5).
func (e *epoch) lostPCP(server uint32, now time.Time) bool {
	last := *e
	*e = epoch{true, server, now}
	if !last.seen {
		return false
	}
	if int64(server) < int64(last.server)-1 { // one second back is a matter of order
		return true
	}
	theirs := int64(server) - int64(last.server)
	ours := int64(now.Sub(last.arrived) / time.Second)
	return ours+2 < theirs-theirs/16 || theirs+2 < ours-ours/16
}

// lostNATPMP does the same for NAT-PMP, which lets the count of a gateway's clock
// run slow by an eighth (RFC 6886 §3.6).
func (e *epoch) lostNATPMP(server uint32, now time.Time) bool {
	last := *e
	*e = epoch{true, server, now}
	if !last.seen {
		return false
	}
	ours := int64(now.Sub(last.arrived) / time.Second)
	return int64(server) < int64(last.server)+ours*7/8-2
}
