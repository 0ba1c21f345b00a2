// Command chat is a room for two people or several. One of them holds the room:
// the others call, and what anybody says goes through the holder to all.
//
//	chat -name ann -server hf1...@host:port          holds a room, and prints its ID
//	chat -name ben -server hf1...@host:port ROOM     enters it
//
// Everybody may change networks while they talk; nothing that was said is lost.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"unicode"

	"github.com/seed-67dce94e/holdfast/node"
)

func main() {
	log.SetFlags(0)
	name := flag.String("name", "somebody", "what the others call you")
	server := flag.String("server", os.Getenv("HOLDFAST_RENDEZVOUS"), "rendezvous server, hf1...@host:port")
	flag.Parse()
	if *server == "" {
		log.Fatal("chat: name a rendezvous server with -server")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := chat(ctx, *name, *server, flag.Arg(0)); err != nil {
		log.Fatal("chat: ", err)
	}
}

func chat(ctx context.Context, name, server, roomID string) error {
	n, err := node.Listen(&node.Config{App: "example-chat", Rendezvous: []string{server}})
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.WaitOnline(ctx); err != nil {
		return err
	}
	if roomID == "" {
		return hold(ctx, n, name)
	}
	return enter(ctx, n, name, roomID)
}

// enter calls the holder of a room and talks until the end of input.
func enter(ctx context.Context, n *node.Node, name, roomID string) error {
	peer, err := node.ParsePeerID(roomID)
	if err != nil {
		return err
	}
	c, err := n.Dial(ctx, peer)
	if err != nil {
		return err
	}
	defer c.Close() // delivers what was said last
	ctx, leave := context.WithCancel(ctx)
	go func() {
		defer leave()
		for line := range lines(ctx) {
			if c.Send(ctx, []byte(name+": "+line)) != nil {
				return
			}
		}
	}()
	for m, err := range c.Messages(ctx) {
		if ctx.Err() != nil {
			return nil // we left
		}
		if err != nil {
			return err
		}
		show(m.Data)
	}
	return nil
}

// hold answers calls, and passes on what anybody says, until the end of input.
func hold(ctx context.Context, n *node.Node, name string) error {
	fmt.Println(n.ID())
	ctx, closeRoom := context.WithCancel(ctx)
	r := room{guests: make(map[*node.Conn]bool)}
	go func() {
		defer closeRoom()
		for line := range lines(ctx) {
			r.say(nil, []byte(name+": "+line))
		}
	}()
	for {
		c, err := n.Accept(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go r.serve(ctx, c)
	}
}

// A room is who is in it.
type room struct {
	mu     sync.Mutex
	guests map[*node.Conn]bool
}

// serve passes on what a guest says until it leaves.
func (r *room) serve(ctx context.Context, c *node.Conn) {
	r.mu.Lock()
	r.guests[c] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.guests, c)
		r.mu.Unlock()
		c.Close()
	}()
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		show(m.Data)
		r.say(c, m.Data)
	}
}

// say sends to every guest but the one who said it. A guest who does not keep up
// misses lines rather than holding up the room.
func (r *room) say(from *node.Conn, text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.guests {
		if c != from {
			_ = c.TrySend(node.Message{Data: text})
		}
	}
}

// lines returns the lines of standard input as they are typed.
func lines(ctx context.Context) <-chan string {
	typed := make(chan string)
	go func() {
		defer close(typed)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			select {
			case typed <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return typed
}

// show prints what came from another machine, without the control characters
// that could play tricks on a terminal.
func show(text []byte) {
	fmt.Println(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, string(text)))
}
