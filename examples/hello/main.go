// Command hello says hello to a peer, wherever it is.
//
//	hello SERVER         waits for hellos, and prints the ID to say it to
//	hello SERVER PEER    says it
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/seed-67dce94e/holdfast/node"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: hello SERVER [PEER]")
	}
	ctx := context.Background()
	n := must(node.Listen(&node.Config{App: "hello", Rendezvous: os.Args[1:2]}))
	defer n.Close()
	if len(os.Args) > 2 {
		c := must(n.Dial(ctx, must(node.ParsePeerID(os.Args[2]))))
		must(0, c.Send(ctx, []byte("hello")))
		must(0, c.Close()) // delivers first
		return
	}
	must(0, n.WaitOnline(ctx))
	fmt.Println(n.ID())
	for {
		c := must(n.Accept(ctx))
		if m, err := c.Recv(ctx); err == nil {
			fmt.Printf("%s says %s\n", c.Peer().Short(), m.Data)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
