package main

import (
	"context"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func idVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:   "id",
		Usage:  "print the peer ID of this user, making the key if there is none",
		Action: verb(s, 0, 0, showID),
	}
}

type identity struct {
	Event string      `json:"event"`
	ID    node.PeerID `json:"id"`
}

func (i identity) String() string { return i.ID.String() }

func showID(_ context.Context, _ *cli.Command, r *run) error {
	key, err := r.identity()
	if err != nil {
		return err
	}
	r.print.result(identity{"id", key.ID()})
	return nil
}
