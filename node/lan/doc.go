// Package lan finds peers on the local link without any server. It only moves
// datagrams; that they are handshakes is the node's affair.
//
//	dialling node                    link                     every other node
//	main socket ── INIT ── 239.255.72.70, ff02::4846 ──┬──▶ Socket ─▶ not its key: silent
//	     ▲                     port 34783              └──▶ Socket ─▶ its key: MAC1 fits
//	     └───────────────── RESP, unicast ───────────────── main socket ◀─┘
//
// A node that dials sends the first datagram of its handshake to the groups, and
// whoever owns the key it is addressed to recognises it and answers. The others
// can neither tell whom it is for nor that anything was found: nothing is ever
// announced.
//
//	s, err := lan.Listen(lan.Config{Handle: func(b []byte, from netip.AddrPort) { ... }})
//	defer s.Close()
//	lan.NewSender(conn).Send(init) // conn is the node's main socket, so the answer comes there
//
// # What is let in
//
// Anyone on the link may send to the groups, so a [Socket] hands on only what is
// small, comes from an address of the link, and is within limits per source and
// in all. Where the system tells (everywhere but Windows), it was also sent to
// the group, and its hop limit is what a [Sender] sets: 255 for IPv6, which no
// router leaves as it is (RFC 5082), and 1 for IPv4, which no router forwards. The
// rest is counted and dropped.
//
// # Networks
//
// Groups are joined on each interface, so [Socket.Refresh] has to be called when
// the network changes. A machine without multicast is no error: there is nobody
// to be found. Several processes on a machine share the port, each gets every
// datagram, and they find each other.
package lan
