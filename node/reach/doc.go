// Package reach decides how a node and its peers find each other: which
// rendezvous servers to keep a session with, what the NATs before the node do
// (STUN, RFC 8489 and RFC 5780), when to ask a server for an introduction, and
// what to send where so that two NATs let the peers through to each other.
//
// It is a state machine without sockets, clocks or goroutines. The node feeds
// it what happened and then carries out the actions that [Client.Next] returns,
// until there are none:
//
//	server session up/down, control message ─┐              ┌─ DialServer, SendControl
//	STUN response, own addresses ────────────┤    Client    ├─ SendSTUN, OpenSocket, CloseSocket
//	Introduce(peer), peer's session is up ───┤              ├─ OpenRelay, Probe, Guess, SendOpener
//	HandleTimeout at Deadline ───────────────┘              └─ Registered, Surveyed, Failed
//
// # An introduction
//
// A punch is path validation inside a session. Introduce asks a server for the
// introduction and names a relay link on which the session can start at once,
// or live on; the server asks the peer, and then orders both to start at one
// moment (PUNCH). At that moment the client asks the node to probe each candidate
// of the peer as a path of the session. So every probe is authenticated, and a
// session that has lost its paths is introduced again by the same steps.
//
// # Rounds
//
// What has failed once fails again: each round of an introduction tries something
// else. Both sides know both NATs, and so come to the same [Technique] without a
// word (plan.go):
//
//	              endpoint-independent  sequential         port block       random
//	e.-i.         probe, fresh sockets  predict            search block     search all*
//	sequential    predict               predict both ways  grid             -
//	port block    search block          grid               -                -
//	random        search all*           -                  -                -      * if both want it
//
// Before any of that, both send openers: datagrams that open their own NATs and
// die before they reach the other's. A Linux NAT whose input is open gives a flow
// away that is asked for from outside before it is opened from inside. After the
// last round an introduction rests, and is woken by time or a change of network.
//
// # A survey
//
// What the NATs do is found out once for each network, with the probe ports of a
// server (survey.go), and how long they keep a mapping with sockets of its own
// (lifetime.go), so that nothing in use is put at risk.
//
// # What a server cannot do
//
// A server is not trusted. Whatever it says, the client probes only for peers
// that the node has a session with, only addresses that pass the filter of
// filter.go, and no more than the budget in budget.go allows. Nor does it
// tell a peer, through the server, where this node is, unless the node wants to
// meet that peer.
//
// # Why not
//
// Each round leaves an [Attempt], and [Explain] says what stood in the way.
package reach
