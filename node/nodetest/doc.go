// Package nodetest lets nodes run on a pretend network: hosts behind NATs whose
// sockets are [net.PacketConn]s, for [github.com/seed-67dce94e/holdfast/node.Config].
// The network is a wiretest.Net that moves with time.Now. Inside a bubble of
// testing/synctest that is virtual time: a test of an hour takes no longer than
// its computation, and nothing is left to chance but what the seed decides.
//
//	synctest.Test(t, func(t *testing.T) {
//		net := nodetest.New(1)
//		alice := net.Host("alice", nil, netip.MustParseAddr("192.0.2.1"))
//		n, err := node.Listen(&node.Config{PacketConn: net.Listen(alice, 4000)})
//		...
//	})
//
// Net.Listen opens one socket. Net.Stack gives a host all that an operating system
// has for a node:
//
//	   the program under test
//	     | ListenUDP    | DialTCP, ListenTCP   | Addresses, Changed
//	+----v--------------v----------------------v----+
//	|              Stack of a host                  |
//	|  PacketConn ...   Conn ...      Listener ...  |
//	+----+--------------+---------------------------+
//	     | datagrams    | a model of streams: they take the delays and the rate
//	+----v---------+    | of the links on their way (wiretest.Course), go out
//	| wiretest.Net |<---+ through NATs but not in, and pass where UDP is blocked
//	+--------------+
//
// Streams lose nothing, but what is lost on a link comes later. While nothing
// passes between their hosts they wait, and fail after StreamTimeout; they do not
// outlive a move of a host, or a NAT that forgets. They share no rate with
// datagrams or each other, and know neither MTU, jitter nor congestion.
package nodetest
