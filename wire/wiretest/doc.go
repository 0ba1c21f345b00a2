// Package wiretest is a pretend network in virtual time, for tests of
// everything that speaks UDP through NATs. It has no goroutine, clock or
// socket: the test says what time it is, and the same seed and calls give the
// same network to the byte.
//
//	      the internet (Net)
//	 up | ^ down        up | ^ down      a Pipe each: delay, loss, rate, queue, MTU ...
//	    | v                | v
//	+--------+         +--------+
//	| NAT    |         | Host   |        an address of its own
//	+--------+         +--------+
//	 up | ^ down
//	+--------+
//	| Host   |                           an address that its NAT translates
//	+--------+
//
// A test sends with Host.Send, asks Net.Next when something will move next, and
// takes what has arrived from Net.Deliver:
//
//	net := wiretest.New(seed)
//	nat := net.NAT("home", nil, wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent}, public)
//	alice, bob := net.Host("alice", nat, private), net.Host("bob", nil, server)
//	alice.SetLink(wiretest.Link{Delay: 20 * time.Millisecond, Loss: 0.1})
//	alice.Send(now, 4000, netip.AddrPortFrom(server, 5000), data)
//	for at, ok := net.Next(); ok; at, ok = net.Next() {
//		for _, p := range net.Deliver(at) { ... }
//	}
//
// # NATs
//
// A NATConfig says how a NAT maps and filters (in the words of RFC 4787), which
// ports it gives out, how long mappings live and how many there may be. NATs
// nest, and one without an external address is a firewall:
//
//	                   the internet, Net.Hops routers
//	      .------------------+------------------.-----------------.
//	 +---------+        +----------+       +----------+       +--------+
//	 | carrier | a block| firewall | IPv6  |   home   |       | server |
//	 |   NAT   | each   |          | only  |   NAT    |       +--------+
//	 +---------+        +----------+       +----------+
//	  |       |              |              |    |    `-----.
//	+----+  +----+        +-----+        +----+ +----+  +-------+
//	|home|  |home|        | dan |        | eve| | fay|  | guest |  other segment:
//	+----+  +----+        +-----+        +----+ +----+  +-------+  no multicast
//	  |       |                           one segment:
//	alice    bob                          multicast
//
// alice and bob have the same external address, and meet by it only if the
// carrier has a Hairpin. Each NAT on the way takes one from the TTL, and the
// internet Net.Hops: a datagram of alice's with the TTL 4 opens both her NATs and
// dies before it reaches anybody else's.
//
// What Linux' connection tracking does to hole punching is drawn in poison.go;
// LinuxNAT is a NAT with it or without.
//
// # Faults
//
// Besides what a Link does: Net.Block loses what goes between two addresses,
// Host.Unplug takes a link down, Host.Move goes to another network, NAT.Rebind
// forgets mappings, NAT.Renumber changes the address, and NAT.Reboot does both
// and takes its time.
//
// The last datagrams and what became of each can be printed with Net.Ladder
// when a test fails. Streams are not carried, but Net.Course tells a model of
// them which way they go and how long it is.
package wiretest
