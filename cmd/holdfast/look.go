package main

import (
	"context"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/urfave/cli/v3"
)

// A look is a session that is opened for the sake of the way to the peer.
type look struct {
	*run
	peer  node.Ticket
	node  *node.Node
	start time.Time // of the dial
	conn  *node.Conn
}

// lookAt starts a node that may look at the peer which the verb's argument names,
// and waits until it is online. The caller closes the look.
func (r *run) lookAt(ctx context.Context, cmd *cli.Command, trace *node.Trace) (*look, error) {
	peer, err := parsePeer(cmd.Args().First())
	if err != nil {
		return nil, err
	}
	key, err := r.guest()
	if err != nil {
		return nil, err
	}
	if err := r.mayCall(key, peer); err != nil {
		return nil, err
	}
	n, err := r.node(key, trace)
	if err != nil {
		return nil, err
	}
	l := &look{run: r, peer: peer, node: n}
	if err := r.online(ctx, n); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// open opens the session, asking for the service.
func (l *look) open(ctx context.Context, s service) (err error) {
	l.start = time.Now()
	l.conn, err = l.call(ctx, l.node, l.peer, s)
	return err
}

func (l *look) close() {
	if l.conn != nil {
		l.conn.Close()
	}
	l.node.Close()
}

// awaitDirect waits until the path is direct, and returns how long after the dial
// that was; 0 if it was not within the limit, or the session ended.
func (l *look) awaitDirect(ctx context.Context, limit time.Duration) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	changes := l.conn.Events(ctx)
	if l.conn.Path().Kind == node.Direct {
		return time.Since(l.start)
	}
	for ev := range changes {
		if ev.Kind == node.EventPathChanged && ev.New.Kind == node.Direct {
			return time.Since(l.start)
		}
	}
	return 0
}
