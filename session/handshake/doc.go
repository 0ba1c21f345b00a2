// Package handshake turns two identities into one session's keys with one
// datagram each way: Noise IK, inside the two MACs and the cookie of WireGuard.
//
//	initiator                                            responder
//	    |  INIT  e, es, {s}, ss, {params}  MAC1 MAC2         |
//	    |--------------------------------------------------->|  MAC1: knows my key? else silence
//	    |                         COOKIE, only under load    |  MAC2: really at this address?
//	    |<- - - - - - - - - - - - - - - - - - - - - - - - - -|
//	    |  RESP  e, ee, se, {params}  MAC1                   |  Read, then Respond
//	    |<---------------------------------------------------|
//	    |  first DATA frame: proves that the initiator       |
//	    |  holds its key and wanted this session now         |
//	    |--------------------------------------------------->|
//
// A responder does the cheap checks first: MAC1 (a hash), MAC2 when busy (three
// hashes), and only then the curve. Whoever does not know its public key never
// hears from it.
//
// There is no clock in an INIT, so one that was recorded can be sent again. It
// gets a fresh RESP with other keys, which only the initiator's private key and
// the ephemeral key it has long forgotten could compute. The session that such
// an INIT opens is never confirmed by a DATA frame; until then it must stay a
// bounded, short-lived half-open entry, and no live session may yield to it.
//
// The functions are pure: ephemeral keys, seeds and nonces are arguments, and so
// is the time. The same arguments give the same bytes.
package handshake
