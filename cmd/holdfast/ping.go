package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func pingVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:      "ping",
		Usage:     "measure the way to a peer that runs echo: kind of path, round-trip time, loss",
		ArgsUsage: "PEER",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` pings; 0 goes on until interrupted"},
			&cli.BoolFlag{Name: "until-direct", Usage: "stop when the path is direct; fail if it does not become so"},
			&cli.DurationFlag{Name: "interval", Aliases: []string{"i"}, Value: time.Second, Usage: "`TIME` between pings"},
			&cli.DurationFlag{Name: "timeout", Value: 2 * time.Second, Usage: "`TIME` after which a ping counts as lost"},
		},
		Action: verb(s, 1, 1, ping),
	}
}

func ping(ctx context.Context, cmd *cli.Command, r *run) error {
	if cmd.Int("count") < 0 || cmd.Duration("interval") <= 0 || cmd.Duration("timeout") <= 0 {
		return program.Misused("ping: --count must not be negative; --interval and --timeout must be positive")
	}
	p := &pinger{
		count:       cmd.Int("count"),
		untilDirect: cmd.Bool("until-direct"),
		interval:    cmd.Duration("interval"),
		timeout:     cmd.Duration("timeout"),
		upgraded:    make(chan struct{}, 1),
	}
	var err error
	if p.look, err = r.lookAt(ctx, cmd, &node.Trace{PathChanged: p.pathChanged}); err != nil {
		return err
	}
	defer p.close()
	if err := p.open(ctx, echoService); err != nil {
		return err
	}
	return p.loop(ctx)
}

// A pinger sends pings one after the other and adds up what came back.
type pinger struct {
	*look
	count       int
	untilDirect bool
	interval    time.Duration
	timeout     time.Duration
	upgraded    chan struct{} // the path has become direct

	sent, received int
	min, max, sum  time.Duration

	directAfter atomic.Int64 // time.Duration from start until the path was direct; 0 if it never was
}

// loop pings until there is a reason to stop, and prints the summary.
func (p *pinger) loop(ctx context.Context) error {
	ch := p.conn.Channel(dataChannel, pingConfig)
	var err error
	for !p.done(ctx) && err == nil {
		next := time.Now().Add(p.interval)
		err = p.once(ctx, ch)
		if !p.done(ctx) && err == nil {
			p.rest(ctx, next)
		}
	}
	p.print.result(p.summary())
	switch {
	case err != nil && ctx.Err() == nil:
		return cmp.Or(ended(err), errors.New("the peer has left"))
	case p.received == 0:
		return program.Hint(errors.New("no ping was answered"), "does the other side run \"holdfast echo\"?")
	case p.untilDirect && p.directAfter.Load() == 0:
		return notDirect(p.conn.Explain(ctx))
	}
	return nil
}

// notDirect is the error of a search for a direct path that ended without one.
func notDirect(e node.Explanation) error {
	if e.Cause == node.CauseNone {
		return program.Hint(errors.New("no direct path was found yet"), "let it ping longer, or look at \"holdfast why\"")
	}
	return program.Hint(fmt.Errorf("no direct path was found: %s", e.Why), "%s", e.Advice)
}

func (p *pinger) done(ctx context.Context) bool {
	return ctx.Err() != nil ||
		p.count > 0 && p.sent >= p.count ||
		p.untilDirect && p.directAfter.Load() > 0 && p.received > 0
}

// once sends one ping and waits for its echo.
func (p *pinger) once(ctx context.Context, ch *node.Channel) error {
	p.sent++
	seq := uint64(p.sent)
	begin := time.Now()
	if err := ch.Send(ctx, binary.BigEndian.AppendUint64(nil, seq)); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for {
		m, err := ch.Recv(wait)
		switch {
		case err != nil && wait.Err() == nil:
			return err
		case err != nil && errors.Is(wait.Err(), context.DeadlineExceeded):
			p.print.result(lostPing{"lost", seq, milliseconds(p.timeout)})
			return nil
		case err != nil: // interrupted: the ping is neither answered nor lost
			p.sent--
			return err
		case len(m.Data) == 8 && binary.BigEndian.Uint64(m.Data) == seq:
			p.echoed(seq, time.Since(begin))
			return nil
		}
	}
}

func (p *pinger) echoed(seq uint64, rtt time.Duration) {
	if p.received == 0 {
		p.min = rtt
	}
	p.received++
	p.min, p.max, p.sum = min(p.min, rtt), max(p.max, rtt), p.sum+rtt
	path := p.conn.Path()
	p.noteDirect(path)
	p.print.result(pong{"pong", seq, milliseconds(rtt), path, milliseconds(time.Since(p.start)), p.conn.Peer()})
}

func (p *pinger) noteDirect(path node.Path) {
	if path.Kind == node.Direct {
		p.directAfter.CompareAndSwap(0, int64(time.Since(p.start)))
	}
}

// rest waits for the time of the next ping. A change of path that ends the
// search for a direct one ends the wait as well.
func (p *pinger) rest(ctx context.Context, next time.Time) {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	var upgraded chan struct{}
	if p.untilDirect {
		upgraded = p.upgraded
	}
	select {
	case <-upgraded:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pathChanged is called by the node.
func (p *pinger) pathChanged(_ *node.Conn, old, new node.Path) {
	p.print.result(pathEvent{"path", old, new, milliseconds(time.Since(p.start))})
	p.noteDirect(new)
	if new.Kind == node.Direct {
		select {
		case p.upgraded <- struct{}{}:
		default:
		}
	}
}

func (p *pinger) summary() pingSummary {
	s := pingSummary{
		Event: "summary", Sent: p.sent, Received: p.received, Lost: p.sent - p.received,
		MinMS: milliseconds(p.min), MaxMS: milliseconds(p.max),
		Path: p.conn.Path(), DirectAfterMS: milliseconds(time.Duration(p.directAfter.Load())),
	}
	if p.received > 0 {
		s.MeanMS = milliseconds(p.sum / time.Duration(p.received))
	}
	return s
}

type pong struct {
	Event     string    `json:"event"`
	Seq       uint64    `json:"seq"`
	RTT       float64   `json:"rtt_ms"`
	Path      node.Path `json:"path"`
	ElapsedMS float64   `json:"elapsed_ms"` // since the dial began

	peer node.PeerID
}

func (p pong) String() string {
	return fmt.Sprintf("%s  %s  seq %d  %.1f ms", p.peer.Short(), p.Path, p.Seq, p.RTT)
}

type lostPing struct {
	Event   string  `json:"event"`
	Seq     uint64  `json:"seq"`
	AfterMS float64 `json:"after_ms"`
}

func (l lostPing) String() string {
	return fmt.Sprintf("seq %d  no answer after %.0f ms", l.Seq, l.AfterMS)
}

type pathEvent struct {
	Event     string    `json:"event"`
	Old       node.Path `json:"old"`
	New       node.Path `json:"new"`
	ElapsedMS float64   `json:"elapsed_ms"`
}

func (e pathEvent) String() string {
	return fmt.Sprintf("path is now %s, after %.0f ms (was %s)", e.New, e.ElapsedMS, e.Old)
}

type pingSummary struct {
	Event         string    `json:"event"`
	Sent          int       `json:"sent"`
	Received      int       `json:"received"`
	Lost          int       `json:"lost"`
	MinMS         float64   `json:"rtt_min_ms"`
	MeanMS        float64   `json:"rtt_mean_ms"`
	MaxMS         float64   `json:"rtt_max_ms"`
	Path          node.Path `json:"path"`
	DirectAfterMS float64   `json:"direct_after_ms,omitempty"` // since the dial began
}

func (s pingSummary) String() string {
	return fmt.Sprintf("%d sent, %d answered, %d lost; round trip min/mean/max %.1f/%.1f/%.1f ms; %s",
		s.Sent, s.Received, s.Lost, s.MinMS, s.MeanMS, s.MaxMS, s.Path)
}
