// Package reach decides how a node and its peers find each other: which
// rendezvous servers to keep a session with, when to ask one for an
// introduction, which addresses of a peer to probe and when, and what the
// node's own addresses look like from outside (STUN, RFC 8489).
//
// It is a state machine without sockets, clocks or goroutines. The node feeds
// it what happened and then carries out the actions that [Client.Next] returns,
// until there are none:
//
//	server session up/down, control message ─┐              ┌─ DialServer, SendControl
//	STUN response, own addresses ────────────┤    Client    ├─ SendSTUN
//	Introduce(peer), peer's session is up ───┤              ├─ OpenRelay(peer, link), Probe(peer, addr)
//	HandleTimeout at Deadline ───────────────┘              └─ Registered, Failed
//
// # An introduction
//
// A punch is path validation inside a session. Introduce asks a server for the
// introduction and names a relay link on which the session can start at once,
// or live on; the server answers both peers with PUNCH, timed so that both start
// together; at that moment the client asks the node to probe each candidate of
// the peer as a path of the session. So every probe is authenticated, and a
// session that has lost its paths is introduced again by the same steps.
//
// # What a server cannot do
//
// A server is not trusted. Whatever it says, the client probes only for peers
// that the node has a session with, only addresses that pass the filter of
// filter.go, and no more than the limits in client.go.
package reach
