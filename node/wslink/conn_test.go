package wslink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// link runs a test with both ends of a link, in virtual time.
func link(t *testing.T, test func(t *testing.T, client, server *Conn)) {
	synctest.Test(t, func(t *testing.T) {
		accepted, release := make(chan *Conn, 1), make(chan struct{})
		m, stop := serve(t, nil, nil, func(c *Conn) {
			accepted <- c
			<-release
		})
		client := m.dial(t)
		test(t, client, <-accepted)
		client.Close()
		close(release)
		stop()
	})
}

func TestDatagramsPassBothWaysInOrder(t *testing.T) {
	link(t, func(t *testing.T, client, server *Conn) {
		var atClient, atServer mailbox
		go atClient.serve(client)
		go atServer.serve(server)
		longest := strings.Repeat("x", DatagramMax)
		for range 10 { // 20 kB a turn: several messages
			for _, way := range []struct {
				from *Conn
				to   *mailbox
			}{{client, &atServer}, {server, &atClient}} {
				var want []string
				for i := range 10 {
					want = append(want, fmt.Sprint(i), longest[:DatagramMax-i])
				}
				for _, d := range want {
					if !way.from.Send([]byte(d)) {
						t.Fatal("a datagram was dropped")
					}
				}
				synctest.Wait()
				if got := way.to.take(); !slices.Equal(got, want) {
					t.Fatalf("%d datagrams arrived, want %d in order", len(got), len(want))
				}
			}
		}
		if client.RemoteAddr() != serverAddr || server.RemoteAddr() != clientAddr {
			t.Errorf("remote addresses %v and %v", client.RemoteAddr(), server.RemoteAddr())
		}
	})
}

// While the peer reads nothing, Send returns at once, and the queue is bounded.
// What was queued travels together.
func TestSendNeverBlocksAndDropsTheNewest(t *testing.T) {
	link(t, func(t *testing.T, client, server *Conn) {
		var want []string
		for i := range queueMax + 10 {
			d := fmt.Sprint("datagram ", i)
			if sent := client.Send([]byte(d)); sent != (i < queueMax) {
				t.Fatalf("datagram %d: sent %t", i, sent)
			} else if sent {
				want = append(want, d)
			}
			synctest.Wait() // the writer waits for the peer with the first one
		}
		var atServer mailbox
		go atServer.serve(server)
		synctest.Wait()
		if got := atServer.take(); !slices.Equal(got, want) {
			t.Errorf("arrived: %q", got)
		}
		if s := client.Stats(); s != (Stats{Sent: queueMax, Messages: 2, Dropped: 10}) {
			t.Errorf("client: %+v", s)
		}
		if s := server.Stats(); s.Received != queueMax {
			t.Errorf("server: %+v", s)
		}
		if !client.Send([]byte("again")) {
			t.Error("the queue is empty, but does not take a datagram")
		}
	})
}

func TestSendRefusesWhatNoMessageHolds(t *testing.T) {
	link(t, func(t *testing.T, client, server *Conn) {
		if client.Send(nil) || client.Send(make([]byte, DatagramMax+1)) {
			t.Error("sent")
		}
		if s := client.Stats(); s.Dropped != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConnectionThatTakesNoDataIsClosed(t *testing.T) {
	link(t, func(t *testing.T, client, server *Conn) {
		began := time.Now()
		client.Send([]byte("one"))
		if err := client.Serve(nil); err != errStalled {
			t.Errorf("the link ended: %v", err)
		}
		if d := time.Since(began); d != writeTimeout {
			t.Errorf("after %v, want %v", d, writeTimeout)
		}
		if client.Send([]byte("two")) {
			t.Error("an ended link took a datagram")
		}
		if s := client.Stats(); s.Dropped != 2 || s.Sent != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestIdleLinkLives(t *testing.T) {
	link(t, func(t *testing.T, client, server *Conn) {
		var atClient, atServer mailbox
		go atClient.serve(client)
		go atServer.serve(server)
		time.Sleep(time.Hour)
		server.Send([]byte("still there?"))
		synctest.Wait()
		if got := atClient.take(); len(got) != 1 || atClient.ended() != nil || atServer.ended() != nil {
			t.Errorf("%q; ended %v, %v", got, atClient.ended(), atServer.ended())
		}
	})
}

func TestCloseInsideHandleIsTheLastOfIt(t *testing.T) {
	link(t, func(t *testing.T, client, server *Conn) {
		for range 3 {
			client.Send([]byte("x")) // at most two messages
			synctest.Wait()
		}
		calls := 0
		err := server.Serve(func([]byte) {
			if calls++; calls == 2 {
				server.Close()
			}
		})
		if err != ErrClosed || !errors.Is(err, net.ErrClosed) || calls != 2 {
			t.Errorf("%d calls, then %v", calls, err)
		}
	})
}

// Over TLS, closing says goodbye, for which a peer that reads nothing would not
// have the time.
func TestCloseDoesNotWaitForPeer(t *testing.T) {
	serverTLS, clientTLS := selfSigned(t)
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		m, stop := serve(t, nil, serverTLS, func(c *Conn) { <-release })
		for _, queued := range []int{0, 1, queueMax} {
			c, err := Dial(t.Context(), "wss://rv.example", &DialConfig{Dial: m.dialFrom(clientAddr), TLS: clientTLS, Proxy: noProxy})
			if err != nil {
				t.Fatal(err)
			}
			var box mailbox
			go box.serve(c)
			for range queued {
				c.Send([]byte("x"))
			}
			synctest.Wait()
			began := time.Now()
			c.Close()
			synctest.Wait()
			if d := time.Since(began); d != 0 || box.ended() != ErrClosed {
				t.Errorf("with %d datagrams queued: took %v, Serve returned %v", queued, d, box.ended())
			}
		}
		close(release)
		stop()
	})
}

func TestLinkEndsWhenNoPongComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := serveRaw(t, func(ws *websocket.Conn) { ws.Read(context.Background()) })
		c := m.dial(t)
		began := time.Now()
		err := c.Serve(nil)
		if d := time.Since(began); d != pingInterval+pongTimeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", d, err)
		}
		stop()
	})
}
