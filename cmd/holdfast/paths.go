package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func pathsVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:      "paths",
		Usage:     "show the paths to a peer, and which of them carries the data",
		ArgsUsage: "PEER",
		Description: `Calls the peer, which may run any verb that waits for one. A path is shown once
it is proved: the peer has answered there.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "print each change as well, until interrupted"},
			&cli.DurationFlag{Name: "wait", Value: 3 * time.Second, Usage: "`TIME` to wait for a direct path, without --watch"},
		},
		Action: verb(s, 1, 1, paths),
	}
}

func paths(ctx context.Context, cmd *cli.Command, r *run) error {
	if cmd.Duration("wait") < 0 {
		return program.Misused("paths: --wait must not be negative")
	}
	l, err := r.lookAt(ctx, cmd, nil)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.open(ctx, lookService); err != nil {
		return err
	}
	if cmd.Bool("watch") {
		return l.watch(ctx)
	}
	l.awaitDirect(ctx, cmd.Duration("wait"))
	l.show()
	return cmp.Or(ctx.Err(), l.conn.Err())
}

// show prints the paths there are.
func (l *look) show() {
	for k, p := range l.conn.Paths() {
		l.print.result(provedPath{"path", milliseconds(time.Since(l.start)), k == 0, p})
	}
}

// watch prints the paths, and what happens to them, until the session ends.
func (l *look) watch(ctx context.Context) error {
	changes := l.conn.Events(ctx)
	l.show()
	for ev := range changes {
		l.print.result(changeOf(ev, time.Since(l.start)))
	}
	if ctx.Err() != nil {
		return nil
	}
	return cmp.Or(ended(l.conn.Err()), errors.New("the peer has left"))
}

// A provedPath is a path of a session.
type provedPath struct {
	Event     string  `json:"event"`
	ElapsedMS float64 `json:"elapsed_ms"` // since the dial began
	Active    bool    `json:"active"`     // it carries the data
	node.Path
}

func (p provedPath) String() string {
	role := "stands by"
	if p.Active {
		role = "carries the data"
	}
	return fmt.Sprintf("%s  %s%s, %s, %s%s%s", since(p.ElapsedMS), p.Path, from(p.Path), roundTrip(p.RTT), role, marks(p.Path), singly(p.Path))
}

// singly says so if batches of datagrams get lost.
func singly(p node.Path) string {
	if p.Singly {
		return ", one datagram in each system call, since batches got lost"
	}
	return ""
}

// marks says what routers on the path do to marks, if that is known.
func marks(p node.Path) string {
	switch {
	case p.ECN == node.ECNUnknown:
		return ""
	case p.Marked > 0:
		return fmt.Sprintf(", ECN %v, %d marked", p.ECN, p.Marked)
	}
	return fmt.Sprintf(", ECN %v", p.ECN)
}

// from names the socket of a direct path.
func from(p node.Path) string {
	if !p.Local.IsValid() {
		return ""
	}
	return " from " + p.Local.String()
}

func roundTrip(d time.Duration) string {
	if d == 0 {
		return "not measured yet"
	}
	return brief(d) + " round trip"
}

// A pathChange is what happened to the paths of a session.
type pathChange struct {
	Event     string     `json:"event"` // changed, stranded or closed
	ElapsedMS float64    `json:"elapsed_ms"`
	Old       *node.Path `json:"old,omitempty"`
	New       *node.Path `json:"new,omitempty"`
	Error     string     `json:"error,omitempty"`
}

func changeOf(ev node.Event, elapsed time.Duration) pathChange {
	c := pathChange{ElapsedMS: milliseconds(elapsed)}
	switch ev.Kind {
	case node.EventPathChanged:
		c.Event, c.Old, c.New = "changed", &ev.Old, &ev.New
	case node.EventStranded:
		c.Event, c.Old = "stranded", &ev.Old
	case node.EventClosed:
		c.Event, c.Error = "closed", program.Printable(program.Plain(ev.Err))
	}
	return c
}

func (c pathChange) String() string {
	switch c.Event {
	case "changed":
		return fmt.Sprintf("%s  path is now %s%s (was %s)", since(c.ElapsedMS), c.New, from(*c.New), c.Old)
	case "stranded":
		return fmt.Sprintf("%s  no path answers any more; looking for another", since(c.ElapsedMS))
	}
	return fmt.Sprintf("%s  closed: %s", since(c.ElapsedMS), c.Error)
}

// since starts a line with the time since the dial.
func since(ms float64) string { return fmt.Sprintf("%8.2f s", ms/1000) }
