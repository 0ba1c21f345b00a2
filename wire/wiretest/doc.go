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
// The last datagrams and what became of each can be printed with Net.Ladder
// when a test fails.
//
// Words for NATs are those of RFC 4787.
package wiretest
