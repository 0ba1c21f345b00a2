package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

func chatVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:      "chat",
		Usage:     "talk to a peer line by line; without PEER, wait for one to call",
		ArgsUsage: "[PEER]",
		Description: `What is typed goes to the peer line by line; the end of input (Ctrl-D) or an
interrupt ends the chat, once what was said has been delivered.`,
		Action: verb(s, 0, 1, chat),
	}
}

func chat(ctx context.Context, cmd *cli.Command, r *run) error {
	var peer node.Ticket
	if arg := cmd.Args().First(); arg != "" {
		var err error
		if peer, err = parsePeer(arg); err != nil {
			return err
		}
	}
	key, err := r.identity()
	if err != nil {
		return err
	}
	if !peer.Peer.IsZero() {
		if err := r.mayCall(key, peer); err != nil {
			return err
		}
	}
	n, err := r.node(key, &node.Trace{PathChanged: r.notePath})
	if err != nil {
		return err
	}
	defer n.Close()
	if !peer.Peer.IsZero() {
		if err := r.online(ctx, n); err != nil {
			return err
		}
		c, err := r.call(ctx, n, peer, chatService)
		if err != nil {
			return err
		}
		return r.converse(ctx, c)
	}
	if err := r.announce(ctx, n, "holdfast chat"); err != nil {
		return err
	}
	return r.answerOne(ctx, n, chatService, r.converse)
}

// answerOne serves the first peer that calls, and nobody after it.
func (r *run) answerOne(ctx context.Context, n *node.Node, s service, handle func(context.Context, *node.Conn) error) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	taken := make(chan struct{}, 1)
	var result error
	err := r.serve(serving, n, s, func(_ context.Context, c *node.Conn) {
		select {
		case taken <- struct{}{}:
		default:
			c.CloseWith(closeRefused, "somebody else was first")
			return
		}
		result = handle(ctx, c)
		stop()
	})
	if err != nil {
		return err
	}
	return result
}

// converse carries lines in both directions until either side ends.
func (r *run) converse(ctx context.Context, c *node.Conn) error {
	defer c.Close()
	r.print.result(peerEvent{"connected", c.Peer()})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := c.Channel(dataChannel, nil)
	go func() { cancel(r.say(ctx, lines)) }()
	for {
		m, err := lines.Recv(ctx)
		if err != nil {
			return r.farewell(ctx, c, err)
		}
		r.print.result(chatLine{"message", c.Peer(), program.Printable(string(m.Data))})
	}
}

// errQuiet ends a conversation because this side has nothing more to say.
var errQuiet = errors.New("end of input")

// say sends the lines of standard input. Reading cannot be interrupted: after a
// conversation that the peer ended, it goes on until the process ends.
func (r *run) say(ctx context.Context, lines *node.Channel) error {
	in := bufio.NewScanner(r.in)
	for in.Scan() {
		if err := lines.Send(ctx, in.Bytes()); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return errQuiet
}

// farewell makes the error of chat from why receiving ended.
func (r *run) farewell(ctx context.Context, c *node.Conn, err error) error {
	defer r.print.result(peerEvent{"closed", c.Peer()})
	if ctx.Err() == nil {
		return ended(err)
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, errQuiet) || errors.Is(cause, context.Canceled) {
		return r.leave(c)
	}
	return ended(cause)
}

// leave closes the session, which delivers what was said.
func (r *run) leave(c *node.Conn) error {
	if err := c.Err(); err != nil {
		return ended(err)
	}
	if err := c.Close(); err != nil {
		return cmp.Or(ended(err), errors.New("the peer left before it had everything that was said"))
	}
	return nil
}

// notePath tells the user that the way to the peer is another.
func (r *run) notePath(c *node.Conn, _, new node.Path) {
	r.print.result(pathNote{"path", c.Peer(), new})
}

type chatLine struct {
	Event string      `json:"event"`
	From  node.PeerID `json:"from"`
	Text  string      `json:"text"`
}

func (l chatLine) String() string { return fmt.Sprintf("%s> %s", l.From.Short(), l.Text) }

type pathNote struct {
	Event string      `json:"event"`
	Peer  node.PeerID `json:"peer"`
	Path  node.Path   `json:"path"`
}

func (p pathNote) String() string { return fmt.Sprintf("%s  path is now %s", p.Peer.Short(), p.Path) }
