package node_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// Two nodes on this machine. Elsewhere, one would know the other by its peer ID
// alone, and use Dial.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	bob, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()
	go func() {
		c, err := bob.Accept(ctx)
		if err != nil {
			return
		}
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return
			}
			c.Send(ctx, append([]byte("you said "), m.Data...))
		}
	}()

	alice, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	c, err := alice.DialAddr(ctx, bob.ID(), bob.LocalAddr())
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Send(ctx, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	m, err := c.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", m.Data)
	// Output: you said hello
}

// connected returns the two ends of a session, and what closes them.
func connected(ctx context.Context) (ab, ba *node.Conn, stop func()) {
	bob, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	alice, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	if ab, err = alice.DialAddr(ctx, bob.ID(), bob.LocalAddr()); err != nil {
		log.Fatal(err)
	}
	if ba, err = bob.Accept(ctx); err != nil {
		log.Fatal(err)
	}
	return ab, ba, func() { alice.Close(); bob.Close() }
}

func ExampleConn_SendReceipt() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ab, ba, stop := connected(ctx)
	defer stop()

	r, err := ab.SendReceipt(ctx, node.Message{Data: []byte("are you there?")})
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Stored(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the other machine has it")
	ba.Recv(ctx)
	if err := r.Read(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the other program has read it")
	// Output:
	// the other machine has it
	// the other program has read it
}

func ExampleConn_Channel() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ab, ba, stop := connected(ctx)
	defer stop()

	const chat, shots = 1, 2
	urgent := &node.ChannelConfig{Priority: 1, LowLatency: true}
	ab.Channel(chat, nil).Send(ctx, []byte("nice one"))
	ab.Channel(shots, urgent).Send(ctx, []byte("bang"))

	for _, id := range []uint16{shots, chat} {
		m, err := ba.Channel(id, nil).Recv(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("channel %d: %s\n", id, m.Data)
	}
	// Output:
	// channel 2: bang
	// channel 1: nice one
}

func ExampleConn_CloseWith() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ab, ba, stop := connected(ctx)
	defer stop()

	ab.CloseWith(7, "banned")
	_, err := ba.Recv(ctx)
	var closed *node.CloseError
	if errors.As(err, &closed) {
		fmt.Println(closed.Code, closed.Reason)
	}
	// Output: 7 banned
}

func ExampleConn_NetConn() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ab, ba, stop := connected(ctx)
	defer stop()

	fmt.Fprintln(ab.NetConn(9), "any code that wants a net.Conn")
	var line [64]byte
	n, err := ba.NetConn(9).Read(line[:])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", line[:n])
	// Output: any code that wants a net.Conn
}

func ExampleConn_Explain() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ab, _, stop := connected(ctx)
	defer stop()

	e := ab.Explain(ctx)
	fmt.Println(e.Path.Kind, e.Path.Validated)
	fmt.Println(e.Cause, "-", e.Why)
	fmt.Println("the peer has told:", e.Remote.Known)
	// Output:
	// direct true
	// none - the path is direct
	// the peer has told: true
}

func ExampleNode_Diagnose() {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	n, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"}) // with Config.Rendezvous there is more to find out
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()

	d := n.Diagnose(ctx)
	fmt.Println(d.Verdict)
	fmt.Println(d.Advice)
	// Output:
	// no rendezvous server was named: there is nobody to ask
	// name a server to learn more
}

func ExampleNode_Rebind() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	bob, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()
	alice, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	c, err := alice.DialAddr(ctx, bob.ID(), bob.LocalAddr())
	if err != nil {
		log.Fatal(err)
	}

	old := alice.LocalAddr()
	if err := alice.Rebind("127.0.0.1:0"); err != nil {
		log.Fatal(err)
	}
	r, err := c.SendReceipt(ctx, node.Message{Data: []byte("from another port")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(alice.LocalAddr() != old, r.Stored(ctx))
	// Output: true <nil>
}

func ExampleLoadOrCreateKey() {
	dir, err := os.MkdirTemp("", "holdfast")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "key")
	first, err := node.LoadOrCreateKey(path)
	if err != nil {
		log.Fatal(err)
	}
	again, err := node.LoadOrCreateKey(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.ID() == again.ID())
	// Output: true
}

func ExampleParsePeerID() {
	_, err := node.ParsePeerID("hf1aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqca5ovoqq")
	fmt.Println(err != nil) // mistyped
	// Output: true
}
