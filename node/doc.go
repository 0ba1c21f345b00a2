// Package node is the part of holdfast that programs use: a node has an
// identity and a UDP port, finds other nodes by their peer ID, and exchanges
// messages with them. Sessions live on while either side changes its address.
//
//	n, err := node.Listen(&node.Config{Rendezvous: []string{"hf1...@rv.example.net:3478"}})
//	c, err := n.Dial(ctx, peer)
//	err = c.Send(ctx, []byte("hello"))
//	m, err := c.Recv(ctx)
//
// # Promises
//
// A reliable message arrives once, whole and in the order of its channel, or
// the session ends with an error that says so. "Sent" is not "stored", and
// "stored" is not "read": a [Receipt] tells them apart. Everything is encrypted
// and authenticated by the peers' keys; rendezvous servers and relays are not
// trusted.
//
// # Parts
//
//	            application
//	   Dial, Accept, Send, Recv  │  Handler, Trace
//	┌────────────────────────────┴────────────────────────────┐
//	│ Node        shard 0                      shard 1 ...    │
//	│   ┌──────────────────────────────┐  ┌───────────────┐   │
//	│   │ mutex, timer, dispatcher     │  │               │   │
//	│   │ ┌──────────────┐ ┌─────────┐ │  │ ┌───────────┐ │   │
//	│   │ │session core  │ │ reach   │ │  │ │ session   │ │   │
//	│   │ │(no I/O)      │ │ (no I/O)│ │  │ │ core      │ │   │
//	│   │ └──────────────┘ └─────────┘ │  │ └───────────┘ │   │
//	│   │ sockets: UDP4, UDP6          │  │ sockets       │   │
//	│   │ side sockets, streams        │  │               │   │
//	│   └──────────────────────────────┘  └───────────────┘   │
//	│ netmon: interfaces, sleep   portmap: gateway   lan      │
//	└──────────────────────── one port ───────────────────────┘
//	     datagrams of sessions │ STUN │ relay links
//
// The protocol is in two state machines that do no I/O: package session has the
// sessions, package reach how peers find each other. This package is the shell
// around them: every socket, goroutine, lock and clock reading is here. It keeps
// one law: make one change to the core, then drain it (shard.go).
//
// # Paths
//
// A session that Dial opens starts over the relay of a rendezvous server, one
// round trip over it after the call, and moves to a direct path once one is found. When
// the path dies, because a NAT forgot it or a laptop changed networks, the
// session falls back to the relay, on which what is sent is doubled as soon as the
// path is in doubt, or waits for an introduction; it keeps its messages, and
// resumes. [Conn.Path] tells the way at present, [Conn.Paths] all that are proved;
// [Conn.Events], [Trace] and [Handler] tell of changes.
//
// Direct paths are looked for among the host's own addresses, those that servers
// see, one that the gateway maps (PCP, NAT-PMP, UPnP-IGD), and, where a NAT gives
// each destination another port, among the ports that it may have given
// ([Config.Search]). [Conn.Explain] says why there is none, from both sides, and
// [Node.Diagnose] what the network is like. With [Config.RelayOnly] no peer learns
// an address of the node.
//
// A network that blocks UDP is crossed by a WebSocket to the server. An idle
// session is almost silent: one message over the relay wakes it.
//
// # Concurrency
//
// Methods of [Node], [Conn], [Channel] and [Receipt] may be called by several
// goroutines at once. A context ends the call it is given to, never the session.
// No session has a goroutine of its own. A call that waits for messages may read the
// socket itself, if the application has always been back within 100 µs so far. So may one
// that sends messages without a pause as fast as there is room, while no call waits to
// receive, on sockets that can be read without waiting (those of Linux). When the
// application stays away after that, what arrives waits for up to 5 ms.
package node
