package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/node"
)

// labPeerEnv makes the test binary one of the two peers of the tests with real
// NATs. It holds a labPeer as JSON.
const labPeerEnv = "HOLDFAST_TEST_PEER"

// A labPeer says 200 numbered reliable messages a second to another, and
// tallies what it hears, as its standard input tells it:
//
//	mark       report the longest silence since the last mark
//	hear N     report when N more messages have been heard
//	direct     report when the path is direct
//	hush       say no more, and report how many were said
//	total N    report the tally when N messages have been heard in all, or after a while
type labPeer struct {
	Listen string
	Server string
	Peer   string // whom to dial; if empty, wait for a call

	print   *printer
	speaker speaker
}

// labTimeout is how long the last messages, and a new direct path, may take.
const labTimeout = 10 * time.Second

func labPeerMain(cfg string) int {
	p := &labPeer{print: &printer{w: os.Stdout, json: true}}
	err := json.Unmarshal([]byte(cfg), p)
	if err == nil {
		err = p.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		return 1
	}
	return 0
}

func (p *labPeer) run(ctx context.Context) error {
	n, err := node.Listen(&node.Config{
		App:        appName,
		Addr:       p.Listen,
		Rendezvous: []string{p.Server},
		Trace: &node.Trace{
			Registered:  func(node.PeerID) { p.report(labEvent{Event: "registered"}) },
			ServerLost:  func(_ node.PeerID, err error) { p.report(labEvent{Event: "server lost", Text: err.Error()}) },
			PathChanged: func(_ *node.Conn, _, path node.Path) { p.report(labEvent{Event: "path", Text: path.String()}) },
			Stranded:    func(*node.Conn) { p.report(labEvent{Event: "stranded"}) },
			Introduced:  func(id uuid.UUID, _ node.PeerID) { p.report(labEvent{Event: "introduced", Text: id.String()}) },
			Closed:      func(_ *node.Conn, err error) { p.report(labEvent{Event: "closed", Text: fmt.Sprint(err)}) },
		},
	})
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.WaitOnline(ctx); err != nil {
		return err
	}
	p.report(labEvent{Event: "online", Ticket: n.Ticket().String()})
	p.speaker = speaker{says: []node.Delivery{node.Reliable}, node: n}
	if p.speaker.conn, err = p.meet(ctx, n); err != nil {
		return err
	}
	p.report(labEvent{Event: "connected", Text: p.speaker.conn.Path().String()})
	return p.obey(ctx)
}

func (p *labPeer) meet(ctx context.Context, n *node.Node) (*node.Conn, error) {
	if p.Peer == "" {
		return n.Accept(ctx)
	}
	t, err := node.ParseTicket(p.Peer)
	if err != nil {
		return nil, err
	}
	return n.DialTicket(ctx, t)
}

// obey talks, and does as it is told until standard input ends.
func (p *labPeer) obey(ctx context.Context) error {
	ctx, deaf := context.WithCancel(ctx)
	speaking, hush := context.WithCancel(ctx)
	var speaker, listener sync.WaitGroup
	defer listener.Wait()
	defer deaf()
	defer hush()
	speaker.Go(func() { p.complain(p.speaker.speak(speaking)) })
	listener.Go(func() { p.complain(p.speaker.listen(ctx)) })
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var order string
		var count int
		fmt.Sscan(in.Text(), &order, &count)
		switch order {
		case "mark":
			p.report(labEvent{Event: "mark", GapMS: milliseconds(p.speaker.longestSilence())})
		case "hear":
			p.awaitHeard(p.speaker.heardCount(node.Reliable)+count, testTimeout)
			p.report(labEvent{Event: "hear"})
		case "direct":
			p.awaitDirect()
			p.report(labEvent{Event: "direct", Text: p.speaker.conn.Path().Kind.String()})
		case "hush":
			hush()
			speaker.Wait()
			p.report(labEvent{Event: "hush", Said: p.speaker.said(node.Reliable)})
		case "total":
			p.awaitHeard(count, labTimeout)
			p.report(p.total())
		default:
			return fmt.Errorf("order %q", in.Text())
		}
	}
	return nil
}

func (p *labPeer) complain(err error) {
	if err != nil {
		p.report(labEvent{Event: "broken", Text: err.Error()})
	}
}

func (p *labPeer) awaitHeard(count int, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	await(ctx, func() bool { return p.speaker.heardCount(node.Reliable) >= count })
}

func (p *labPeer) awaitDirect() {
	ctx, cancel := context.WithTimeout(context.Background(), labTimeout)
	defer cancel()
	await(ctx, func() bool { return p.speaker.conn.Path().Kind == node.Direct })
}

func (p *labPeer) total() labEvent {
	p.speaker.mu.Lock()
	defer p.speaker.mu.Unlock()
	t := p.speaker.heard[node.Reliable]
	return labEvent{Event: "total", Heard: len(t.seen), Repeated: t.repeated, Overtaken: t.overtaken}
}

func (p *labPeer) report(e labEvent) {
	e.AtMS = time.Now().UnixMilli()
	p.print.result(e)
}

// A labEvent is what a labPeer reports.
type labEvent struct {
	Event     string  `json:"event"`
	AtMS      int64   `json:"at_ms"`
	Ticket    string  `json:"ticket,omitempty"`
	Text      string  `json:"text,omitempty"`
	GapMS     float64 `json:"gap_ms,omitempty"`
	Said      int     `json:"said,omitempty"`
	Heard     int     `json:"heard,omitempty"`
	Repeated  int     `json:"repeated,omitempty"`
	Overtaken int     `json:"overtaken,omitempty"`
}

func (e labEvent) String() string { return e.Event }
