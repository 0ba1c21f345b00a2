// Package congestion decides how much a path may carry and how fast. Algorithm
// says which of two ways a Controller goes: BBR (bbr.go) models the path and
// sends at its rate; CUBIC (RFC 9438) with HyStart++ (RFC 9406) fills the queue
// until it overflows. A token bucket spreads what is sent over the round trip.
//
//	CUBIC        ssthresh or HyStart++           loss
//	slow start ----------------------> congestion avoidance <---+
//	     ^                                       |               |
//	     |     persistent congestion, idle       +-- 0.7 window -+
//	     +---------------------------------------+
//
// It knows nothing of frames but their number, size and time of sending, and
// keeps no list of them: package recovery does, with the Stamp that a Sampler
// needs to measure the rate of delivery. All arithmetic is on integers, so that a
// simulation gives the same trace on every machine; floating point does not,
// where the compiler may fuse a multiplication with an addition.
//
// Controller is a struct with the state of both algorithms and not an interface:
// a path is then one allocation.
package congestion
