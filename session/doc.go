// Package session is the protocol state machine of holdfast: sessions between
// peers that carry messages over UDP and survive every change of address on
// either side. SPEC.md beside this file is its normative description; package
// wire has the bytes.
//
// A session is its connection ID. A path is only where the next datagram goes.
//
//	          Dial                        INIT arrives
//	           |                               |
//	      +----v----+                    +-----v-----+
//	      | dialing |                    | half open |
//	      +----+----+                    +-----+-----+
//	RESP opens |      crossing dials merge     | first DATA frame opens
//	           +---------->+<------------------+
//	                 +-----v-------+
//	                 | established |<--- paths come, go, fail, return
//	                 +-----+-------+
//	         Close         |        CLOSE arrives
//	      +----------------+----------------+
//	 +----v----+                       +----v-----+
//	 | closing |---- CLOSE arrives --->| draining |
//	 +----+----+                       +----+-----+
//	      +--------------> closed <---------+
//
// The package is sans-IO. It opens no socket, starts no goroutine, and reads
// neither clock nor random source: time comes in with each call and randomness
// as one seed (and as key pairs, from an owner who has them ready), so a run can be
// replayed exactly. Whoever owns an [Endpoint] keeps one law: make one change, then
// drain. Package node is that owner for real sockets; the tests are another, with a
// simulated network.
//
// The parts, each small enough to read alone:
//
//   - handshake: Noise IK with WireGuard's two MACs
//   - seal: packet protection, key phases, the replay window
//   - recovery: round-trip times, acknowledgements, loss (RFC 9002)
//   - congestion: BBR, CUBIC with HyStart++, pacing
//   - pmtu: datagram size discovery (RFC 8899)
//   - channels: messages, their order, priority, credit and fate
//   - fifo, limit: a queue, and how often something may happen
//   - this package: connection IDs, paths and migration, liveness, closing, and
//     the glue between the others
//
// To read this package, begin with endpoint.go and session.go; recv.go and
// send.go take frames apart and put them together, timers.go says what time
// brings about. A session begins in dial.go or accept.go and ends in close.go.
// Its paths are in path.go, how one is proved in validate.go, how data moves
// between them in migrate.go, and what happens when one falls silent in
// outage.go. What a session gives back while nothing goes on is in rest.go, and
// how keepalives pass meanwhile in atrest.go.
package session
