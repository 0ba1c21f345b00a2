package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func statusVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:   "status",
		Usage:  "show this machine's addresses, as it and the rendezvous servers see them",
		Action: verb(s, 0, 0, status),
	}
}

// status uses a fresh key: under the user's own it would take the place of a
// verb that is running at the same time.
func status(ctx context.Context, _ *cli.Command, r *run) error {
	key, err := node.NewKey()
	if err != nil {
		return err
	}
	n, err := r.node(key, nil)
	if err != nil {
		return err
	}
	defer n.Close()
	err = r.online(ctx, n)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	st := n.Status()
	r.print.result(statusReport{"status", st})
	return err
}

type statusReport struct {
	Event string `json:"event"`
	node.Status
}

func (s statusReport) String() string {
	var b strings.Builder
	row := func(name string, values ...string) { fmt.Fprintf(&b, "%-10s %s\n", name, strings.Join(values, ", ")) }
	row("addresses", texts(s.Addresses)...)
	row("public", texts(s.Reflexive)...)
	if len(s.Servers) == 0 {
		row("server", "none: name one with --server or HOLDFAST_RENDEZVOUS")
	}
	for _, srv := range s.Servers {
		facts := []string{srv.Addr, srv.State.String()}
		if srv.State == node.ServerRegistered {
			facts = append(facts, srv.RTT.Round(100*time.Microsecond).String(), "sees "+srv.Observed.String())
		} else if srv.Error != "" {
			facts = append(facts, trouble(srv))
		}
		row("server", facts...)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func texts[T fmt.Stringer](values []T) []string {
	if len(values) == 0 {
		return []string{"unknown"}
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
