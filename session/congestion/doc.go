// Package congestion decides how much a path may carry and how fast: CUBIC
// (RFC 9438) with HyStart++ (RFC 9406) sets the congestion window, a token
// bucket spreads what the window allows over the round trip.
//
//	            ssthresh or HyStart++           loss
//	slow start ----------------------> congestion avoidance <---+
//	     ^                                       |               |
//	     |     persistent congestion, idle       +-- 0.7 window -+
//	     +---------------------------------------+
//
// It knows nothing of frames but their number, size and time of sending, and
// keeps no list of them: package recovery does. All arithmetic is on integers,
// so that a simulation gives the same trace on every machine; floating point
// does not, where the compiler may fuse a multiplication with an addition.
//
// Controller is a struct and not an interface. Package recovery uses its
// methods only, so a second algorithm becomes a switch inside them.
package congestion
