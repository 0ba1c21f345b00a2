package main

import (
	"context"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func whyVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:      "why",
		Usage:     "explain how a peer is reached, and what stands in the way of a direct path",
		ArgsUsage: "PEER",
		Description: `Calls the peer, which may run any verb that waits for one, lets both sides try to
find a direct path, and prints what each of them has tried and seen. It fails if
there is nothing to explain.`,
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "wait", Aliases: []string{"w"}, Value: 5 * time.Second, Usage: "`TIME` for the two to try; it ends once the path is direct"},
		},
		Action: verb(s, 1, 1, why),
	}
}

func why(ctx context.Context, cmd *cli.Command, r *run) error {
	if cmd.Duration("wait") < 0 {
		return program.Misused("why: --wait must not be negative")
	}
	l, err := r.lookAt(ctx, cmd, nil)
	if err != nil {
		return err
	}
	defer l.close()
	rep := whyReport{Event: "why"}
	if err := l.open(ctx, lookService); err != nil {
		rep.Explanation = l.node.Explain(l.peer.Peer)
		if rep.Cause == node.CauseNone || ctx.Err() != nil {
			return err // that the dial failed is all that is known
		}
		rep.Unreached = program.Plain(err)
	} else {
		rep.DirectAfterMS = milliseconds(l.awaitDirect(ctx, cmd.Duration("wait")))
		rep.Explanation = l.conn.Explain(ctx)
	}
	r.print.result(rep)
	return nil
}

// A whyReport is an explanation of how a peer is reached.
type whyReport struct {
	Event         string  `json:"event"`
	Unreached     string  `json:"unreached,omitempty"`       // why there is no session
	DirectAfterMS float64 `json:"direct_after_ms,omitempty"` // since the dial began
	node.Explanation
}

func (w whyReport) String() string {
	var l lines
	l.row("peer", w.Peer.Short())
	switch {
	case w.Path == nil:
		l.row("path", "none: "+w.Unreached)
	case w.DirectAfterMS > 0:
		l.row("path", w.Path.String(), brief(w.Path.RTT)+" round trip", "direct after "+brief(time.Duration(w.DirectAfterMS*float64(time.Millisecond))))
	default:
		l.row("path", w.Path.String(), brief(w.Path.RTT)+" round trip")
	}
	if w.Cause != node.CauseNone {
		l.row("cause", w.Cause.Text())
		l.row("whose", w.Whose)
		l.row("advice", w.Advice)
	}
	l.WriteByte('\n')
	l.WriteString(sideBySide(w.Local, w.Remote))
	return l.text()
}
