// Package netnstest builds small internets out of Linux network namespaces, for
// tests with real processes, real sockets and the kernel's own NAT.
//
//	 host a           router ra          Internet          router rb           host b
//	+--------+ veth  +-----------+ TUN  +---------+ TUN   +-----------+ veth  +--------+
//	| eth-ra |-------| lan  wan  |------| (this   |-------| wan  lan  |-------| eth-rb |
//	+--------+       | nftables  |      | process)|       | nftables  |       +--------+
//	                 +-----------+      +---------+       +-----------+
//
// How a host is connected is its Kind, from a public address to two NATs in a row:
//
//	in := netnstest.New("lab")
//	defer in.Close()
//	server, err := in.PublicHost("s", 15*time.Millisecond, stun, otherSTUN, stun6)
//	alice, err := in.HostOf(netnstest.CGNPortRestricted, "a", aliceAddr, 15*time.Millisecond)
//
// The Internet carries IPv4 and IPv6 packets between the namespaces attached to
// it, each with a delay, by their public addresses; the kernel needs no netem for
// that. It lowers their time to live as the routers of a real one would, so that a
// packet can be made to open the NATs of its sender and get no further. What a
// router does to addresses and which packets it lets in are nftables rules (see
// NAT), named after RFC 4787.
//
// Networks fail in the ways that methods of Internet, Router and Host are named
// after: Rebind, Renumber, Reboot, BlockUDP, BlockBetween, ExpireMappings,
// Timeouts, Move, Switch, Unplug.
//
// It needs root, the commands ip, nft and conntrack, and /dev/net/tun. Everything
// it makes has a name of its own, and is gone after Close.
package netnstest
