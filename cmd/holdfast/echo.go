package main

import (
	"context"
	"fmt"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func echoVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:   "echo",
		Usage:  "wait for pings and send them back, until interrupted",
		Action: verb(s, 0, 0, echo),
	}
}

// pingConfig is the channel of pings: a lost one is to count as lost.
var pingConfig = &node.ChannelConfig{Mode: node.Unreliable, LowLatency: true}

func echo(ctx context.Context, _ *cli.Command, r *run) error {
	n, err := r.awaits(ctx, "holdfast ping")
	if err != nil {
		return err
	}
	defer n.Close()
	return r.serve(ctx, n, echoService, r.echoTo)
}

func (r *run) echoTo(ctx context.Context, c *node.Conn) {
	r.print.result(peerEvent{"connected", c.Peer()})
	defer func() { r.print.result(peerEvent{"closed", c.Peer()}) }()
	pings := c.Channel(dataChannel, pingConfig)
	for {
		m, err := pings.Recv(ctx)
		if err != nil {
			return
		}
		if pings.Send(ctx, m.Data) != nil {
			return
		}
	}
}

// A peerEvent says that a session with a peer opened or closed.
type peerEvent struct {
	Event string      `json:"event"`
	Peer  node.PeerID `json:"peer"`
}

func (e peerEvent) String() string { return fmt.Sprintf("%s  %s", e.Peer.Short(), e.Event) }
