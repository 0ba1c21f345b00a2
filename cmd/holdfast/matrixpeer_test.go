package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/holdfast/netnstest"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/rendezvous/lab"
)

// matrixPeerEnv makes the test binary one of the two peers of the matrix of real
// NATs. It holds a matrixPeer as JSON.
const matrixPeerEnv = "HOLDFAST_TEST_MATRIX"

// A matrixPeer waits for calls, or calls the other again and again, with a new
// node each time, and reports how it went.
type matrixPeer struct {
	Server   string
	Peer     string // whom to call; if empty, wait for calls
	Attempts int
	Patience time.Duration // for a direct path

	print *printer
}

// A matrixEvent is what a matrixPeer reports.
type matrixEvent struct {
	Event    string  `json:"event"`
	Ticket   string  `json:"ticket,omitempty"`
	FirstMS  float64 `json:"first_ms,omitempty"`  // from the dial until the first message was there
	DirectMS float64 `json:"direct_ms,omitempty"` // from the dial until the path was direct; 0 if it was not
	Cause    string  `json:"cause,omitempty"`
	Remote   bool    `json:"remote,omitempty"` // the other side has told its part
	Text     string  `json:"text,omitempty"`
}

func (e matrixEvent) String() string { return e.Event }

// surveyTime is how long a node looks at its NATs before it calls.
const surveyTime = 2 * time.Second

func matrixPeerMain(cfg string) int {
	p := &matrixPeer{print: &printer{w: os.Stdout, json: true}}
	err := json.Unmarshal([]byte(cfg), p)
	if err == nil {
		if p.Peer == "" {
			err = p.answer(context.Background())
		} else {
			err = p.call(context.Background())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		return 1
	}
	return 0
}

func (p *matrixPeer) node(ctx context.Context) (*node.Node, error) {
	n, err := node.Listen(&node.Config{App: appName, Rendezvous: []string{p.Server}, Search: true})
	if err != nil {
		return nil, err
	}
	if err := n.WaitOnline(ctx); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// answer sends back with each first message how long ago its sender began to dial:
// both are on one machine, and its clock is theirs.
func (p *matrixPeer) answer(ctx context.Context) error {
	n, err := p.node(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	netnstest.Pass(surveyTime)
	p.print.result(matrixEvent{Event: "online", Ticket: n.Ticket().String()})
	for {
		c, err := n.Accept(ctx)
		if err != nil {
			return err
		}
		go func() {
			for m, err := range c.Messages(ctx) {
				if err != nil || len(m.Data) != 8 {
					return
				}
				begun := time.Unix(0, int64(binary.BigEndian.Uint64(m.Data)))
				c.Send(ctx, binary.BigEndian.AppendUint64(nil, uint64(time.Since(begun))))
			}
		}()
	}
}

func (p *matrixPeer) call(ctx context.Context) error {
	t, err := node.ParseTicket(p.Peer)
	if err != nil {
		return err
	}
	t.Servers = nil // the other family's, perhaps
	for range p.Attempts {
		n, err := p.node(ctx)
		if err != nil {
			return err
		}
		netnstest.Pass(surveyTime)
		e, err := p.attempt(ctx, n, t)
		n.Close()
		if err != nil {
			return err
		}
		p.print.result(e)
	}
	return nil
}

func (p *matrixPeer) attempt(ctx context.Context, n *node.Node, t node.Ticket) (e matrixEvent, err error) {
	e.Event = "attempt"
	begun := time.Now()
	c, err := n.DialTicket(ctx, t)
	if err != nil {
		return e, err
	}
	if err := c.Send(ctx, binary.BigEndian.AppendUint64(nil, uint64(begun.UnixNano()))); err != nil {
		return e, err
	}
	m, err := c.Recv(ctx)
	if err != nil || len(m.Data) != 8 {
		return e, fmt.Errorf("answer %q, %v", m.Data, err)
	}
	e.FirstMS = milliseconds(time.Duration(binary.BigEndian.Uint64(m.Data)))
	wait, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	await(wait, func() bool { return c.Path().Kind == node.Direct || lab.Hopeless(n.Explain(t.Peer).Cause) })
	if c.Path().Kind == node.Direct {
		e.DirectMS = milliseconds(time.Since(begun))
	}
	x := c.Explain(ctx)
	e.Cause, e.Remote = x.Cause.String(), x.Remote.Known
	if e.DirectMS == 0 {
		text, _ := json.Marshal(x)
		e.Text = string(text)
	}
	return e, c.Close()
}
