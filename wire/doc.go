// Package wire holds every byte that holdfast puts on the network: the frame
// header, the chunks inside a sealed frame, the handshake frames, the messages
// between a node and its rendezvous server, and the text forms of a peer ID and
// a ticket. SPEC.md beside this file is the normative description; the vectors
// in testdata/vectors are its worked examples.
//
// The nouns, one meaning each:
//
//	datagram  one UDP payload
//	frame     what a datagram of ours holds: a frame header and, for DATA, a sealed body
//	chunk     a unit inside the sealed body of a DATA frame
//	message   what the application sends; one message is one or more MESSAGE chunks
//
// A DATA frame (the one in steady use) looks like this:
//
//	 0      1                    9          9+n                        len-16
//	+------+--------------------+----------+--------------------------+------+
//	| bits |   connection ID    | packet # | chunk | chunk | chunk ... | tag  |
//	+------+--------------------+----------+--------------------------+------+
//	 \_ low six bits and packet _/\_ number  \________ sealed _________/
//	    number under header protection (RFC 9001 §5.4)
//
// Encoding appends to a slice, decoding consumes one; neither allocates. A
// decoder checks every length, refuses integers that are not in their shortest
// form, and refuses trailing bytes.
//
// The package imports no network, clock or random source; package session gives
// these bytes their meaning over time.
package wire
