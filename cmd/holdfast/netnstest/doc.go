// Package netnstest builds small internets out of Linux network namespaces, for
// tests with real processes, real sockets and the kernel's own NAT.
//
//	 host a           router ra          Internet          router rb           host b
//	+--------+ veth  +-----------+ TUN  +---------+ TUN   +-----------+ veth  +--------+
//	| eth-ra |-------| lan  wan  |------| (this   |-------| wan  lan  |-------| eth-rb |
//	+--------+       | nftables  |      | process)|       | nftables  |       +--------+
//	                 +-----------+      +---------+       +-----------+
//
// The Internet carries IPv4 packets between the namespaces attached to it, each
// with a delay, by their public addresses; the kernel needs no netem for that.
// What a router does to addresses and which packets it lets in are nftables rules
// (see NAT), named after RFC 4787.
//
// It needs root, the commands ip, nft and conntrack, and /dev/net/tun. Everything
// it makes has a name of its own, and is gone after Close.
package netnstest
