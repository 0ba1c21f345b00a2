package node_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

const lendDelay = 10 * time.Millisecond // one way

// newConversation returns a pair of which alice has asked and bob has answered until she
// reads in her own goroutine. Bob goes on answering.
func newConversation(t *testing.T, net *nodetest.Net) *pair {
	t.Helper()
	p := newPair(t, net, wiretest.Link{Delay: lendDelay}, node.Config{})
	go func() {
		for {
			m, err := p.ba.Recv(context.Background())
			if err != nil || p.ba.Send(context.Background(), m.Data) != nil {
				return
			}
		}
	}()
	for i := range 100 {
		p.ask(t, number(i))
	}
	if !p.ab.Lent() {
		t.Fatal("the reader has not lent the socket")
	}
	return p
}

func (p *pair) ask(t *testing.T, text string) {
	t.Helper()
	begun := time.Now()
	send(t, p.ab, text)
	want(t, p.ab, text)
	if took := time.Since(begun); took != 2*lendDelay {
		t.Fatalf("%s: answered after %v", text, took)
	}
}

func TestConversationReadsInItsOwnGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newConversation(t, net)
		for i := range 100 {
			p.ask(t, number(i))
		}
	})
}

// An application that turns to something else does not leave the socket unread, and has
// what came meanwhile at once when it is back.
func TestReaderIsCalledBackWhenTheApplicationStaysAway(t *testing.T) {
	const patience = 5 * time.Millisecond
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newConversation(t, net)
		for range 10 {
			before := p.ab.Stats().Received
			send(t, p.ba, "are you there?")
			time.Sleep(lendDelay + patience)
			if p.ab.Stats().Received == before {
				t.Fatal("nobody reads")
			}
		}
		time.Sleep(time.Second)
		begun := time.Now()
		for range 10 {
			want(t, p.ab, "are you there?")
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("what had come was there after %v", took)
		}
	})
}

// A socket that an application brings may know no deadlines. It is not lent: a wait could
// not be ended.
func TestSocketWithoutDeadlinesIsNotLent(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		host := net.Host("alice", nil, addr("192.0.2.200"))
		conn := net.Listen(host, 4000)
		alice := start(t, host, conn, node.Config{PacketConn: timeless{conn}})
		bob := listen(t, net, "bob", node.Config{})
		ab, ba := dial(t, alice, bob), accept(t, bob)
		for i := range 100 {
			send(t, ba, number(i))
			want(t, ab, number(i))
		}
		begun := time.Now()
		if _, err := ab.Recv(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

type timeless struct{ *nodetest.PacketConn }

func (timeless) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

func TestContextEndsAWaitThatReads(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newConversation(t, net)
		const d = 300 * time.Millisecond
		for range 3 {
			begun := time.Now()
			if _, err := p.ab.Recv(within(t, d)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != d {
				t.Fatalf("%v after %v", err, time.Since(begun))
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(d, cancel)
			if _, err := p.ab.Recv(ctx); !errors.Is(err, context.Canceled) || time.Since(begun) != 2*d {
				t.Fatalf("%v after %v", err, time.Since(begun))
			}
			for i := range 40 {
				p.ask(t, number(i)) // and it is lent again
			}
			if !p.ab.Lent() {
				t.Fatal("the reader has not lent the socket again")
			}
		}
	})
}

// What ends a session without a datagram wakes who reads for it.
func TestCloseEndsAWaitThatReads(t *testing.T) {
	for name, end := range map[string]func(p *pair){
		"Conn.CloseWith": func(p *pair) { p.ab.CloseWith(7, "enough") },
		"Conn.Close":     func(p *pair) { p.ab.Close() },
		"Node.Close":     func(p *pair) { p.alice.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, net *nodetest.Net) {
				p := newConversation(t, net)
				var waiting sync.WaitGroup
				begun := time.Now()
				waiting.Go(func() {
					_, err := p.ab.Recv(context.Background())
					if took := time.Since(begun); !errors.Is(err, node.ErrClosed) || took != 0 {
						t.Errorf("%v after %v", err, took)
					}
				})
				synctest.Wait()
				end(p)
				waiting.Wait()
			})
		})
	}
}

// Whoever has waited and read goes away, and the other that waits has its message in time.
func TestWaitThatReadsLeavesNobodyBehind(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newConversation(t, net)
		var waiting sync.WaitGroup
		for id := range uint16(2) {
			in := p.ab.Channel(id+1, nil)
			begun := time.Now()
			waiting.Go(func() {
				m, err := in.Recv(t.Context())
				at := time.Duration(id+1)*time.Millisecond + lendDelay
				if took := time.Since(begun); err != nil || string(m.Data) != "hello" || took != at {
					t.Errorf("%q, %v after %v, want it after %v", m.Data, err, took, at)
				}
			})
			synctest.Wait()
		}
		for id := range uint16(2) {
			time.Sleep(time.Millisecond)
			if err := p.ba.SendMessage(t.Context(), node.Message{Channel: id + 1, Data: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
		}
		waiting.Wait()
	})
}

// The same on the system's sockets, which a rebind replaces while they are read from.
func TestWaitThatReadsOutlivesItsSocket(t *testing.T) {
	alice, bob := listenUDP(t, node.Config{}), listenUDP(t, node.Config{})
	ab, ba := connectUDP(t, alice, bob, bob.LocalAddr())
	go func() {
		for m, err := range ba.Messages(context.Background()) {
			if err != nil || ba.Send(context.Background(), m.Data) != nil {
				return
			}
		}
	}()
	ctx := within(t, 30*time.Second)
	for i := range 2000 {
		if i%500 == 499 {
			if err := alice.Rebind("127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
		}
		if err := ab.Send(ctx, []byte(number(i))); err != nil {
			t.Fatal(err)
		}
		if m, err := ab.Recv(ctx); err != nil || string(m.Data) != number(i) {
			t.Fatalf("%q, %v; want %q", m.Data, err, number(i))
		}
	}
}
