// Package rendezvous is the server that lets peers find each other. Nodes keep a
// session with it; on that session they register, ask to be introduced to a
// peer, and send each other datagrams until they have a direct path.
//
//	s, err := rendezvous.Listen(&rendezvous.Config{Addr: ":3478", Key: key})
//	fmt.Println(s.Server()) // what nodes put into node.Config.Rendezvous
//
// The server is an application of package node: each client is a session, so it
// is authenticated, encrypted, survives rebinding and holds its NAT mapping
// open. The session is the registration, and nothing else is remembered of it.
//
//	A                          server                          B
//	|-- REGISTER ---------------->|<--------------- REGISTER --|
//	|-- INTRODUCE B ------------->|                            |
//	|-- RELAY B [INIT] ---------->|-- INVITE A --------------->|
//	|                             |-- RELAY A [INIT] --------->|   the session opens
//	|<------------ RELAY B [RESP]-|<---------- RELAY A [RESP] -|   over the relay
//	|                             |<---------------- ACCEPT A -|
//	|<------------- PUNCH B, 40ms-|-PUNCH A, 10ms ------------>|
//	|<=============== PATH_CHALLENGE, at the same moment =====>|   and moves to the
//	|<----------------- the session, directly ---------------->|   direct path
//
// # What it is trusted with
//
// It learns who talks to whom, from where, and when, and it can refuse to help.
// It cannot read or alter a session, nor pose as a peer: those are sealed end to
// end. It tells a peer only addresses at which the client has proved to be, or
// that cannot lie outside the client's own networks (see address.go), and only
// once that client has said that it wants to meet the peer. It relays only
// between registered sessions: no message to it has a field for an address to
// send to.
//
// # Ports
//
//	UDP 3478         sessions, and STUN
//	UDP 3479-3486    probe ports: STUN with the requests of RFC 5780 (probe.go)
//	TCP 3478         WebSockets, for nodes whose network blocks UDP (stream.go)
//	TCP 443          the same by HTTPS, if the server has a certificate
//
// All but the first are optional: without them nodes know less of their NATs, or
// are not reached where UDP is blocked.
//
// # How it is built
//
// hub is the whole logic, without sockets, clock or goroutines: it is given what
// clients say and when, and returns what to send. Server puts it on a node.
// Everything that a client can make grow has a limit; limits.go has them all.
package rendezvous
