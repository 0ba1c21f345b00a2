package node

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"

	"github.com/seed-67dce94e/holdfast/session"
)

// A Channel is one line of messages within a session. Channels share nothing but
// the path: a slow reader of one never holds up another.
type Channel struct {
	conn *Conn
	id   uint16
	mode atomic.Uint32 // a Delivery

	// Guarded by the shard's mutex.
	opened  bool // by Conn.Channel: messages wait here, and not for Conn.Recv
	ready   bool // on conn.ready
	readers waitList
}

// A ChannelConfig says how this side sends on a channel.
type ChannelConfig struct {
	// Mode is how messages are delivered.
	Mode Delivery
	// Priority orders channels: what waits on a higher one is sent first. Normal
	// is 0; it may be from -128 to 127.
	Priority int
	// Weight is the share of a channel among those of its priority. If zero, 1.
	Weight int
	// LowLatency makes loss cost less time and a little more traffic. The peer
	// acknowledges at once. Reliable and Unordered messages of up to 256 bytes
	// ride along again in the datagrams of the next one to three, until they are
	// acknowledged (as those of any channel do while there are few); wait neither
	// for the pacer nor for a full congestion window; and are not held back to
	// share a datagram. All this is bounded: see SPEC §5.1 of package session.
	// While messages of up to 256 bytes are sent, and with BBR, bulk beside them
	// leaves 3 % of what a path of 2 ms or more carries free, so that its queue
	// stays short (SPEC §5.2).
	LowLatency bool
}

// Channel opens a channel: its messages wait for Channel.Recv from now on, and
// not for Conn.Recv. Both sides use the same id. A nil cfg is reliable and
// ordered, or leaves a channel that is open as it is.
func (c *Conn) Channel(id uint16, cfg *ChannelConfig) *Channel {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	ch := c.channel(id)
	ch.opened = true
	if cfg != nil {
		ch.mode.Store(uint32(cfg.Mode))
		c.sess.Configure(id, session.ChannelOptions{
			Priority:   int8(min(max(cfg.Priority, -128), 127)),
			Weight:     cfg.Weight,
			LowLatency: cfg.LowLatency,
		})
	}
	return ch
}

// channel returns the record of a channel. The core bounds how many there are.
func (c *Conn) channel(id uint16) *Channel {
	i, found := slices.BinarySearchFunc(c.channels, id, func(ch *Channel, id uint16) int { return cmp.Compare(ch.id, id) })
	if !found {
		c.channels = slices.Insert(c.channels, i, &Channel{conn: c, id: id})
	}
	return c.channels[i]
}

// ID returns the channel's number.
func (ch *Channel) ID() uint16 { return ch.id }

// Conn returns the session that the channel belongs to.
func (ch *Channel) Conn() *Conn { return ch.conn }

func (ch *Channel) delivery() Delivery { return Delivery(ch.mode.Load()) }

// Send sends data in the channel's mode, blocking while the send buffer is full.
// Its errors are those of [Conn.SendMessage].
func (ch *Channel) Send(ctx context.Context, data []byte) error {
	return ch.conn.send(ctx, &Message{Channel: ch.id, Mode: ch.delivery(), Data: data}, nil)
}

// SendMessage sends m on the channel, whatever m.Channel and m.Mode say.
func (ch *Channel) SendMessage(ctx context.Context, m Message) error {
	m.Channel, m.Mode = ch.id, ch.delivery()
	return ch.conn.send(ctx, &m, nil)
}

// TrySend sends data, or returns ErrWouldBlock if the send buffer is full.
func (ch *Channel) TrySend(data []byte) error {
	return ch.conn.TrySend(Message{Channel: ch.id, Mode: ch.delivery(), Data: data})
}

// SendReceipt sends data and returns a receipt that tells what becomes of it.
func (ch *Channel) SendReceipt(ctx context.Context, data []byte) (*Receipt, error) {
	return ch.conn.SendReceipt(ctx, Message{Channel: ch.id, Mode: ch.delivery(), Data: data})
}

// Recv returns the next message of the channel. Its errors are those of
// [Conn.Recv].
func (ch *Channel) Recv(ctx context.Context) (Message, error) {
	return ch.conn.receive(ctx, &ch.readers, ch.take)
}

func (ch *Channel) take(now session.Time) (session.Received, bool) {
	return ch.conn.sess.Recv(now, ch.id)
}

// RecvInto copies the next message of the channel into buf and returns its
// length. If buf is too short, it returns the length needed and ErrShortBuffer,
// and the message stays.
func (ch *Channel) RecvInto(ctx context.Context, buf []byte) (int, error) {
	c, s := ch.conn, ch.conn.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	for now := s.back(); ; {
		if c.closing {
			return 0, ErrClosed
		}
		n, _, ok, err := c.sess.RecvInto(now, ch.id, buf)
		s.took(ok || err != nil)
		switch {
		case ok || err != nil:
			return n, err
		case c.err != nil:
			return 0, c.err
		}
		if now, err = c.await(ctx, &ch.readers); err != nil {
			return 0, err
		}
	}
}
