// Package wslink carries holdfast datagrams over a WebSocket, for networks that
// block UDP. It moves datagrams and knows nothing of sessions: the session that
// runs over it encrypts, authenticates, orders and repeats, as it does over UDP,
// and may leave for another path at any time. A [Conn] is one more link.
//
//	conn, err := wslink.Dial(ctx, "wss://rv.example.net", nil)
//	go conn.Serve(func(datagram []byte) { ... }) // valid until it returns
//	conn.Send(datagram)                          // never blocks, may drop
//
// A [Server] is an http.Handler, so it can share a port with other pages, and
// can serve a listener by itself.
//
// # A message
//
// The subprotocol is holdfast.1, the path /holdfast. Each binary message holds
// 1 to 64 datagrams, each behind its length, and nothing else (wire/SPEC.md §6.6):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|  length, 1..2048              |  datagram (length bytes) ...
//	+-------------------------------+-------------------------------+
//	|  length, 1..2048              |  datagram ...                 |  up to 64 times,
//	+-------------------------------+-------------------------------+  16,376 bytes in all
//
// What was queued while the last message was written becomes the next message.
// So a datagram that finds the link idle goes out alone and at once, and under
// load one WebSocket header and one system call carry several.
//
// # Latency
//
// TCP loses nothing, so a datagram behind a lost segment waits. What keeps the
// wait bounded is that little stands in line before it:
//
//   - The queue of a Conn, with the message being written, has at most 64
//     datagrams, or 128 KiB. What comes when it is full is dropped and counted.
//     To the session this is loss, as on any path, and it slows down.
//   - The kernel holds about 32 KiB that it has not sent, where the system has
//     TCP_NOTSENT_LOWAT; else its send buffer could hold megabytes. What
//     has been sent is not acknowledged yet for one round trip.
//
// So over a path of rate r a datagram leaves about 160 KiB/r after Send at most,
// 1.3 s at 1 Mbit/s. A connection that takes no message for 5 s is closed.
//
// # Ends
//
// The client pings every 20 s so that proxies keep the connection, and closes it
// if no pong comes for 10 s. Either side closes it after 60 s in which nothing
// came, after a message that took 10 s to arrive, and at once on a message that
// breaks the rules above: it cannot be a peer of ours, and TCP corrupts nothing.
package wslink
