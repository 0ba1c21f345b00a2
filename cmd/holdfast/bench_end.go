package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// Channels of a bench. Orders and what is told of them are JSON; on the others
// travel the messages that are measured.
const (
	benchControl    = dataChannel + iota
	benchFlow       // bulk and small: an empty message is before the first and after the last
	benchReliable   // pings, sent back as they are
	benchUnreliable // the same
)

// benchSmall is the length of a small message.
const benchSmall = 64

// A benchOrder is what the side that measures wants the other to do.
type benchOrder struct {
	Do         string `json:"do"` // tell, take or give
	Bytes      int    `json:"bytes,omitempty"`
	DurationMS int64  `json:"duration_ms,omitempty"`
}

const (
	doTell = "tell" // how many unreliable pings have come
	doTake = "take" // a flow
	doGive = "give" // a flow
)

func (o benchOrder) check() error {
	if o.Do == doTell {
		return nil
	}
	if d := o.duration(); o.Bytes < 1 || o.Bytes > benchSizeMax || d <= 0 || d > benchDurationMax {
		return errors.New("no such size or duration")
	}
	return nil
}

func (o benchOrder) duration() time.Duration { return time.Duration(o.DurationMS) * time.Millisecond }

// A benchNews is what the other side tells. Flows are told of again and again
// until they are done.
type benchNews struct {
	flowSoFar
	Pings int       `json:"pings"`
	Done  bool      `json:"done"`
	Side  benchSide `json:"side"` // if done
}

// A flowSoFar is how much of a flow has arrived.
type flowSoFar struct {
	Messages int64         `json:"messages"`
	Bytes    int64         `json:"bytes"`
	Elapsed  time.Duration `json:"elapsed_ns"` // since the empty message before the first
}

// benchEvery is the time from one point of a plot to the next.
func benchEvery(duration time.Duration) time.Duration {
	return max(duration/plotWidth, time.Millisecond)
}

// A benchEnd is one end of a session in which something is measured.
type benchEnd struct {
	conn                 *node.Conn
	control, flow        *node.Channel
	reliable, unreliable *node.Channel
	pings                atomic.Int64 // unreliable ones that were sent back
}

func newBenchEnd(c *node.Conn) *benchEnd {
	urgent := func(mode node.Delivery) *node.ChannelConfig {
		return &node.ChannelConfig{Mode: mode, Priority: 1, LowLatency: true}
	}
	return &benchEnd{
		conn:       c,
		control:    c.Channel(benchControl, urgent(node.Reliable)),
		flow:       c.Channel(benchFlow, &node.ChannelConfig{}),
		reliable:   c.Channel(benchReliable, urgent(node.Reliable)),
		unreliable: c.Channel(benchUnreliable, urgent(node.Unreliable)),
	}
}

// A benchHost lets peers measure.
type benchHost struct {
	*run
	busy sync.Mutex
}

func (h *benchHost) serve(ctx context.Context, c *node.Conn) {
	if !h.busy.TryLock() {
		c.CloseWith(closeRefused, "it measures with another peer just now; try again later")
		h.log.WithField("peer", c.Peer().Short()).Info("refused a peer: another is measuring")
		return
	}
	defer h.busy.Unlock()
	h.print.result(peerEvent{"connected", c.Peer()})
	defer h.print.result(peerEvent{"closed", c.Peer()})
	bounded, cancel := context.WithTimeout(ctx, benchSessionMax)
	defer cancel()
	err := newBenchEnd(c).obey(bounded)
	switch {
	case ctx.Err() != nil: // interrupted
	case bounded.Err() != nil:
		c.CloseWith(closeRefused, fmt.Sprintf("a peer may measure for %v", benchSessionMax))
	case ended(err) != nil && c.Err() == nil:
		c.CloseWith(closeRefused, ended(err).Error())
	}
}

// obey does what the other side orders until the session ends. Whatever it orders
// takes no more than one buffer of benchSizeMax, and a few messages a millisecond
// beside the flow, which the session's congestion control bounds.
func (e *benchEnd) obey(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var echoes sync.WaitGroup
	defer echoes.Wait()
	defer cancel()
	echoes.Go(func() { e.echo(ctx, e.reliable, nil) })
	echoes.Go(func() { e.echo(ctx, e.unreliable, &e.pings) })
	for {
		o, err := e.nextOrder(ctx)
		if err != nil {
			return err
		}
		if err := e.do(ctx, o); err != nil {
			return err
		}
	}
}

// echo sends pings back. One that is too long is nobody's ping, and ends it.
func (e *benchEnd) echo(ctx context.Context, ch *node.Channel, count *atomic.Int64) {
	var buf [benchSmall]byte
	for {
		n, err := ch.RecvInto(ctx, buf[:])
		if err != nil {
			return
		}
		if count != nil {
			count.Add(1)
		}
		if ch.Send(ctx, buf[:n]) != nil {
			return
		}
	}
}

func (e *benchEnd) nextOrder(ctx context.Context) (o benchOrder, err error) {
	var buf [256]byte
	n, err := e.control.RecvInto(ctx, buf[:])
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(buf[:n], &o); err != nil {
		return o, fmt.Errorf("no such order: %w", err)
	}
	return o, o.check()
}

func (e *benchEnd) do(ctx context.Context, o benchOrder) error {
	begin := e.mark()
	var f flowSoFar
	var err error
	switch o.Do {
	case doTell:
	case doTake:
		if err = sendJSON(ctx, e.control, benchNews{}); err != nil {
			return err
		}
		f, err = e.take(ctx, o.Bytes, benchEvery(o.duration()), func(f flowSoFar) {
			sendJSON(ctx, e.control, benchNews{flowSoFar: f}) // its error is that of the session
		})
	case doGive:
		err = e.give(ctx, o.Bytes, o.duration())
	default:
		err = errors.New("no such order")
	}
	if err != nil {
		return err
	}
	return sendJSON(ctx, e.control, benchNews{flowSoFar: f, Pings: int(e.pings.Load()), Done: true, Side: e.since(begin)})
}

// give sends a flow of messages, as fast as they are taken, for some time.
func (e *benchEnd) give(ctx context.Context, size int, d time.Duration) error {
	if err := e.flow.Send(ctx, nil); err != nil {
		return err
	}
	var over atomic.Bool
	timer := time.AfterFunc(d, func() { over.Store(true) })
	defer timer.Stop()
	for data := make([]byte, size); !over.Load(); {
		if err := e.flow.Send(ctx, data); err != nil {
			return err
		}
	}
	return e.flow.Send(ctx, nil)
}

// take receives a flow of messages of at most size bytes to its end, calling note
// from time to time, in another goroutine.
func (e *benchEnd) take(ctx context.Context, size int, every time.Duration, note func(flowSoFar)) (flowSoFar, error) {
	buf := make([]byte, size)
	if n, err := e.flow.RecvInto(ctx, buf); err != nil || n > 0 {
		return flowSoFar{}, cmp.Or(err, errors.New("a flow without a beginning"))
	}
	begin := time.Now()
	var messages, bytes atomic.Int64
	soFar := func() flowSoFar { return flowSoFar{messages.Load(), bytes.Load(), time.Since(begin)} }
	stop := repeat(every, func() { note(soFar()) })
	defer stop()
	for {
		n, err := e.flow.RecvInto(ctx, buf)
		if err != nil {
			return flowSoFar{}, err
		}
		if n == 0 {
			return soFar(), nil
		}
		messages.Add(1)
		bytes.Add(int64(n))
	}
}

// repeat does something again and again in the background, until stop is called.
func repeat(every time.Duration, do func()) (stop func()) {
	quit := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		running.Wait()
	}
}

// A benchSide is what one side knows of how a measurement went.
type benchSide struct {
	Cores     int     `json:"cores"`
	BusyCores float64 `json:"busy_cores"` // processor time of the whole program, by the time that passed; 0 if unknown

	// Of what this side sent.
	Datagrams     uint64  `json:"datagrams"`
	DatagramsLost uint64  `json:"datagrams_lost"`
	DatagramBytes int     `json:"datagram_bytes"` // largest UDP payload, in the end
	Window        int     `json:"window_bytes"`   // that may be on the way, in the end
	RTTMS         float64 `json:"rtt_ms"`         // of datagrams, smoothed, in the end
	MinRTTMS      float64 `json:"rtt_min_ms"`

	// Of the socket, as node.SocketStatus.
	ReceiveBuffer int  `json:"receive_buffer"`
	SendBuffer    int  `json:"send_buffer"`
	GRO           bool `json:"gro"`
	GSO           bool `json:"gso"`
}

// A benchMark is the start of a measurement.
type benchMark struct {
	at    time.Time
	cpu   time.Duration
	stats node.Stats
}

func (e *benchEnd) mark() benchMark { return benchMark{time.Now(), processorTime(), e.conn.Stats()} }

// since returns what this side knows of the time from a mark until now.
func (e *benchEnd) since(m benchMark) benchSide {
	now := e.mark()
	sock := e.conn.Node().Status().Socket
	s := benchSide{
		Cores:         runtime.GOMAXPROCS(0),
		Datagrams:     now.stats.Sent - m.stats.Sent,
		DatagramBytes: now.stats.MTU,
		Window:        now.stats.CongestionWindow,
		RTTMS:         milliseconds(now.stats.SmoothedRTT),
		MinRTTMS:      milliseconds(now.stats.MinRTT),
		ReceiveBuffer: sock.ReceiveBuffer,
		SendBuffer:    sock.SendBuffer,
		GRO:           sock.GRO,
		GSO:           sock.GSO,
	}
	// What was acknowledged after all is taken off, though it may be of before.
	s.DatagramsLost = sub(now.stats.Lost-m.stats.Lost, now.stats.Spurious-m.stats.Spurious)
	if d := now.at.Sub(m.at); d > 0 {
		s.BusyCores = float64(now.cpu-m.cpu) / float64(d)
	}
	return s
}

func sub(a, b uint64) uint64 { return a - min(a, b) }
