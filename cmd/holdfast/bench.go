package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func benchVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure latency, loss and throughput to a peer; without PEER, wait for one that measures",
		ArgsUsage: "[PEER]",
		Description: `What can be measured, each for --duration:

   latency   round trips of reliable messages of 64 bytes, 500 a second
   loss      the same with unreliable messages: how many are lost, each way
   bulk      throughput of reliable messages of --size
   small     throughput of reliable messages of 64 bytes

Bulk and small also say how long a round trip takes meanwhile. "up" is from here to
the peer. A round trip is that of a message through both programs. The plots show
the measurement from its start to its end: throughput, or the longest round trip.

The side that waits measures with one peer at a time, for ten minutes at most.

Examples:
   holdfast bench --self
   holdfast bench --server hf1...@rendezvous.example:3478
   holdfast bench --only latency,bulk --duration 10s hft1...`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "self", Usage: "measure between two nodes in this process, on loopback"},
			&cli.DurationFlag{Name: "duration", Aliases: []string{"d"}, Value: 5 * time.Second, Usage: "`TIME` of each measurement, at most 1m"},
			&cli.IntFlag{Name: "size", Value: 64 << 10, Usage: "`BYTES` of a message of bulk, at most 1048576"},
			&cli.StringFlag{Name: "direction", Value: "both", Usage: "`WAY` of bulk and small: up, down, or both, one after the other"},
			&cli.StringSliceFlag{Name: "only", Usage: "measure `WHAT` alone: latency, loss, bulk, small"},
			&cli.DurationFlag{Name: "wait", Value: 3 * time.Second, Usage: "`TIME` to wait for a direct path before the first measurement"},
		},
		Action: verb(s, 0, 1, bench),
	}
}

// Bounds of what can be asked for, which the side that waits enforces.
const (
	benchDurationMax = time.Minute
	benchSizeMax     = 1 << 20
	benchSessionMax  = 10 * time.Minute
)

// A benchPlan is what to measure.
type benchPlan struct {
	self     bool          // both ends are in this process
	duration time.Duration // of each measurement
	size     int           // of a message of bulk
	up, down bool          // of bulk and small
	what     []string      // of benchKinds
	wait     time.Duration // for a direct path
}

var benchKinds = []string{"latency", "loss", "bulk", "small"}

func planOf(cmd *cli.Command) (p benchPlan, err error) {
	p = benchPlan{
		self:     cmd.Bool("self"),
		duration: cmd.Duration("duration"),
		size:     cmd.Int("size"),
		what:     cmd.StringSlice("only"),
		wait:     cmd.Duration("wait"),
	}
	way := cmd.String("direction")
	p.up, p.down = way != "down", way != "up"
	switch {
	case p.duration < time.Millisecond || p.duration > benchDurationMax:
		return p, program.Misused("bench: --duration must be from 1ms to %v", benchDurationMax)
	case p.size < 1 || p.size > benchSizeMax:
		return p, program.Misused("bench: --size must be from 1 to %d", benchSizeMax)
	case !slices.Contains([]string{"up", "down", "both"}, way):
		return p, program.Misused("bench: --direction must be up, down or both")
	case p.wait < 0:
		return p, program.Misused("bench: --wait must not be negative")
	}
	if len(p.what) == 0 {
		p.what = benchKinds
	}
	for _, what := range p.what {
		if !slices.Contains(benchKinds, what) {
			return p, program.Misused("bench: --only: there is no %q; there are %s", what, strings.Join(benchKinds, ", "))
		}
	}
	return p, nil
}

func bench(ctx context.Context, cmd *cli.Command, r *run) error {
	plan, err := planOf(cmd)
	if err != nil {
		return err
	}
	called := cmd.Args().Present()
	switch {
	case plan.self && called:
		return program.Misused("bench: --self needs no PEER")
	case plan.self:
		return r.benchSelf(ctx, plan)
	case called:
		return r.benchPeer(ctx, cmd, plan)
	}
	for _, name := range []string{"duration", "size", "direction", "only", "wait"} {
		if cmd.IsSet(name) {
			return program.Misused("bench: --%s is for the side that measures: name a PEER, or add --self", name)
		}
	}
	return r.benchWait(ctx)
}

// benchWait measures with those who call, one at a time.
func (r *run) benchWait(ctx context.Context) error {
	n, err := r.awaits(ctx, "holdfast bench")
	if err != nil {
		return err
	}
	defer n.Close()
	host := &benchHost{run: r}
	return r.serve(ctx, n, benchService, host.serve)
}

// benchPeer measures the way to the peer that the argument names.
func (r *run) benchPeer(ctx context.Context, cmd *cli.Command, plan benchPlan) error {
	l, err := r.lookAt(ctx, cmd, nil)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.open(ctx, benchService); err != nil {
		return err
	}
	l.awaitDirect(ctx, plan.wait)
	return r.measure(ctx, l.conn, plan)
}

// benchSelf measures between two nodes of this process.
func (r *run) benchSelf(ctx context.Context, plan benchPlan) error {
	var ends [2]*node.Node
	for i := range ends {
		n, err := node.Listen(&node.Config{App: appName, Addr: "127.0.0.1:0", Logger: r.log})
		if err != nil {
			return err
		}
		defer n.Close()
		ends[i] = n
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if c, err := ends[1].Accept(ctx); err == nil {
			newBenchEnd(c).obey(ctx)
		}
	}()
	c, err := ends[0].DialAddr(ctx, ends[1].ID(), ends[1].LocalAddr())
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer c.Close()
	return r.measure(ctx, c, plan)
}
