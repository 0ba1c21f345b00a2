package session

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Config sets up an endpoint. The zero value of every field but Key works. It
// must not be changed after NewEndpoint.
type Config struct {
	// Key is the private key of the identity (X25519).
	Key [32]byte
	// App separates applications: a handshake completes only between sides that
	// name the same one.
	App string
	// Allow, if not nil, says whether a peer may open a session. It must not
	// call back into the endpoint. A refused peer meets silence.
	Allow func(wire.PeerID) bool
	// MaxDatagram is the largest UDP payload to send, in bytes. If zero,
	// whatever the path carries.
	MaxDatagram int
	// Congestion decides how much a path may carry and how fast, on sessions that
	// are not dialled with another. If zero, BBR.
	Congestion congestion.Algorithm
	// MaxMessage is the largest message to accept, in bytes. If zero, 16 MiB.
	MaxMessage int
	// SendBuffer is how many bytes of messages a channel may hold that are not
	// yet acknowledged before Send reports ErrWouldBlock. If zero, twice the
	// congestion window, from 256 KiB to 4 MiB.
	SendBuffer int
	// ReceiveWindow is how many bytes a channel may hold for a slow reader, at
	// least 256 KiB; it starts there and grows with the path. If zero, 8 MiB.
	ReceiveWindow int
	// HandshakeTimeout ends a dial that is not answered. If zero, 10 s.
	HandshakeTimeout time.Duration
	// IdleTimeout ends a session that hears nothing, on both sides, which speak
	// often enough to prevent it. If zero, it adapts: the session ends after
	// 30 s, or two of its keepalive intervals if that is longer, and the peer is
	// asked for nothing. If negative, never.
	IdleTimeout time.Duration
	// KeepAlive is the longest that a session stays silent, or half of the idle
	// timeout that either side names if that is less. Session.SetKeepAlive
	// changes it for one session. If zero, 15 s. If negative, a session may stay
	// silent for ever.
	KeepAlive time.Duration
	// ResumeTime is how long a session without any path waits for a new one,
	// keeping its messages. If zero, 60 s.
	ResumeTime time.Duration
	// MaxSessions bounds the sessions of the endpoint. If zero, 65536.
	MaxSessions int
	// NoAES makes the endpoint say that it has no AES hardware, so that
	// ChaCha20-Poly1305 is used.
	NoAES bool
	// RekeyAfter is how many packets are sealed with one key. If zero, 1<<22,
	// which is also the most.
	RekeyAfter uint64
	// Shards is how many endpoints share the node's port, and Shard which of
	// them this is: the first byte of every connection ID of this endpoint is
	// Shard modulo Shards. If Shards is zero, there is one.
	Shard, Shards uint8

	// Keypair returns a key pair for one handshake. If nil, it is made of the
	// endpoint's randomness.
	Keypair func() *handshake.Keypair
}

func orDefault[T ~int | ~int64 | ~uint8 | ~uint64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func (c Config) withDefaults() Config {
	orDefault(&c.Congestion, congestion.BBR)
	orDefault(&c.MaxMessage, 16<<20)
	orDefault(&c.HandshakeTimeout, 10*time.Second)
	orDefault(&c.KeepAlive, 15*time.Second)
	orDefault(&c.ResumeTime, 60*time.Second)
	orDefault(&c.MaxSessions, 65536)
	orDefault(&c.RekeyAfter, 1<<22)
	c.RekeyAfter = min(c.RekeyAfter, 1<<22) // well below what one key may seal
	return c
}

// initialCredit is how many bytes each channel may carry before its receiver
// has granted more.
const initialCredit = 256 << 10

// windowMax is how far the window of a channel grows.
func (c *Config) windowMax() int {
	if c.ReceiveWindow > 0 {
		return max(c.ReceiveWindow, initialCredit)
	}
	return 8 << 20
}
