// Command game is tag for two, on one screen each. A player's position goes out
// 60 times a second as sequenced messages: only the newest matters, and a lost
// one is not worth sending again. Who was tagged is an event, which must arrive.
//
//	game -server hf1...@host:port          waits for another player, and prints the ID to give
//	game -server hf1...@host:port PEER     joins
//
// Type w, a, s or d and Enter to turn; q to leave.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// Channels. Events come before positions when both wait to be sent.
const (
	positions uint16 = iota
	events
)

const tick = time.Second / 60

func main() {
	log.SetFlags(0)
	server := flag.String("server", os.Getenv("HOLDFAST_RENDEZVOUS"), "rendezvous server, hf1...@host:port")
	flag.Parse()
	if *server == "" {
		log.Fatal("game: name a rendezvous server with -server")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := game(ctx, *server, flag.Arg(0)); err != nil {
		log.Fatal("game: ", err)
	}
}

func game(ctx context.Context, server, peerID string) error {
	n, err := node.Listen(&node.Config{App: "example-game", Rendezvous: []string{server}})
	if err != nil {
		return err
	}
	defer n.Close()
	c, err := meet(ctx, n, peerID)
	if err != nil {
		return err
	}
	defer c.Close()
	return play(ctx, c)
}

// meet joins the player with the ID, or waits for one to join.
func meet(ctx context.Context, n *node.Node, peerID string) (*node.Conn, error) {
	if err := n.WaitOnline(ctx); err != nil {
		return nil, err
	}
	if peerID == "" {
		fmt.Println(n.ID())
		return n.Accept(ctx)
	}
	peer, err := node.ParsePeerID(peerID)
	if err != nil {
		return nil, err
	}
	return n.Dial(ctx, peer)
}

// play runs the game until either player leaves.
func play(ctx context.Context, c *node.Conn) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	seen, tags, turns := make(chan point), make(chan string), make(chan byte)
	go receive(ctx, c.Channel(positions, &node.ChannelConfig{Mode: node.Sequenced, LowLatency: true}), seen, parsePoint)
	go receive(ctx, c.Channel(events, &node.ChannelConfig{Priority: 1}), tags, func(b []byte) (string, bool) { return string(b), string(b) == "tag" })
	go typed(ctx, turns, quit)

	w := newWorld(c.Initiator())
	frame := time.NewTicker(tick)
	defer frame.Stop()
	for {
		select {
		case <-frame.C:
			if err := w.step(c); err != nil {
				return ended(err)
			}
			w.draw(os.Stdout, c.Path())
		case w.other = <-seen:
		case <-tags:
			w.tagged()
		case key := <-turns:
			w.turn(key)
		case <-c.Done():
			return ended(c.Err())
		case <-ctx.Done():
			return nil
		}
	}
}

// receive passes on the messages of a channel that make sense.
func receive[T any](ctx context.Context, ch *node.Channel, to chan<- T, parse func([]byte) (T, bool)) {
	for {
		m, err := ch.Recv(ctx)
		if err != nil {
			return
		}
		v, ok := parse(m.Data)
		if !ok {
			continue
		}
		select {
		case to <- v:
		case <-ctx.Done():
			return
		}
	}
}

func typed(ctx context.Context, turns chan<- byte, quit func()) {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "q" {
			quit()
			return
		}
		if len(in.Text()) == 1 {
			select {
			case turns <- in.Text()[0]:
			case <-ctx.Done():
				return
			}
		}
	}
}

// ended tells a player who left from a session that broke.
func ended(err error) error {
	if errors.Is(err, node.ErrClosed) {
		fmt.Println("the other player has left")
		return nil
	}
	return err
}
