package rendezvous_test

import (
	"context"
	"fmt"
	"log"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/rendezvous"
)

// Two nodes meet through a server and talk.
func Example() {
	server, err := rendezvous.Listen(&rendezvous.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	cfg := &node.Config{Addr: "127.0.0.1:0", Rendezvous: []string{server.Server().String()}}
	alice, err := node.Listen(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	bob, err := node.Listen(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()
	if err := bob.WaitOnline(ctx); err != nil { // bob is waiting to be called
		log.Fatal(err)
	}

	call, err := alice.Dial(ctx, bob.ID())
	if err != nil {
		log.Fatal(err)
	}
	if err := call.Send(ctx, []byte("hello, bob")); err != nil {
		log.Fatal(err)
	}
	answer, err := bob.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	m, err := answer.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", m.Data)
	// Output: hello, bob
}
