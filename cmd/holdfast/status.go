package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func statusVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:   "status",
		Usage:  "show this machine's addresses and NAT, as it and the rendezvous servers see them",
		Action: verb(s, 0, 0, status),
	}
}

func status(ctx context.Context, _ *cli.Command, r *run) error {
	n, err := r.stranger()
	if err != nil {
		return err
	}
	defer n.Close()
	err = r.online(ctx, n)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	st := surveyed(ctx, n)
	r.print.result(statusReport{"status", st})
	return err
}

// Waiting for the survey of the NAT, which a server without probe ports never
// lets come to an end.
const (
	surveyTimeout = 2 * time.Second
	surveyTick    = 20 * time.Millisecond
)

// surveyed returns the status of the node once it has looked at its NAT, or looks
// for too long.
func surveyed(ctx context.Context, n *node.Node) node.Status {
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	tick := time.NewTicker(surveyTick)
	defer tick.Stop()
	for {
		st := n.Status()
		if st.Surveyed || !reachedAny(st.Servers) {
			return st
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return st
		}
	}
}

type statusReport struct {
	Event string `json:"event"`
	node.Status
}

func (s statusReport) String() string {
	var l lines
	l.row("addresses", texts(s.Addresses)...)
	l.row("seen as", texts(s.Reflexive)...)
	l.row("NAT", natFacts(s.Status)...)
	if len(s.Servers) == 0 {
		l.row("server", "none: name one with --server or HOLDFAST_RENDEZVOUS")
	}
	for _, srv := range s.Servers {
		l.row("server", serverFacts(srv)...)
	}
	return l.text()
}

// natFacts says what is known of the NAT before the node.
func natFacts(s node.Status) []string {
	switch {
	case !s.Surveyed:
		return []string{"unknown"}
	case s.Public == node.Yes:
		return append([]string{"none"}, natWords(s.NAT)[1:]...) // there is no mapping to speak of
	}
	return natWords(s.NAT)
}

// serverFacts says what is known of a server.
func serverFacts(s node.ServerStatus) []string {
	facts := []string{s.Addr, s.State.String()}
	switch {
	case s.State == node.ServerRegistered && s.Observed.IsValid():
		return append(facts, brief(s.RTT)+" round trip", "sees "+s.Observed.String())
	case s.State == node.ServerRegistered:
		return append(facts, brief(s.RTT)+" round trip", "over a WebSocket")
	case s.Error != "":
		return append(facts, trouble(s))
	}
	return facts
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
