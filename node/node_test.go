package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

func TestDialOfAPeerThatDoesNotAnswerNamesEveryAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		alice, stranger := listen(t, net, "alice", node.Config{}), newKey(t)
		one, two := addrPort("203.0.113.1:1"), addrPort("203.0.113.2:2")
		start := time.Now()
		_, err := alice.DialAddr(within(t, 3*time.Second), stranger.ID(), one, two, one)
		var failed *node.DialError
		if !errors.As(err, &failed) || failed.Peer != stranger.ID() || len(failed.Attempts) != 2 {
			t.Fatalf("DialAddr: %v", err)
		}
		if failed.Attempts[0].Remote != one || failed.Attempts[1].Remote != two {
			t.Errorf("the attempts are %v", failed.Attempts)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, node.ErrHandshakeTimeout) {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestDialThatCannotWorkFailsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		alice, stranger := listen(t, net, "alice", node.Config{}), newKey(t).ID()
		start := time.Now()
		_, noAddr := alice.DialAddr(t.Context(), stranger)
		_, self := alice.DialAddr(t.Context(), alice.ID(), alice.addr())
		_, noServer := alice.Dial(t.Context(), stranger)
		for _, c := range []struct{ got, want error }{
			{noAddr, node.ErrNoAddress}, {self, node.ErrSelf}, {noServer, node.ErrNoRendezvous},
		} {
			if !errors.Is(c.got, c.want) {
				t.Errorf("got %v, want %v", c.got, c.want)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestCanceledDialLeavesNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		alice := listen(t, net, "alice", node.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := alice.DialAddr(ctx, newKey(t).ID(), addrPort("203.0.113.1:1"))
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("DialAddr: %v", err)
		}
		if n := alice.Status().Socket.Core[0].Sessions; n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

func TestPeersThatDialEachOtherShareOneSession(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		alice, bob := listen(t, net, "alice", node.Config{}), listen(t, net, "bob", node.Config{})
		net.Do(func(*wiretest.Net) { alice.host.SetLink(wiretest.Link{Delay: 20 * time.Millisecond}) })
		found := make(chan *node.Conn, 2)
		go func() { found <- dial(t, alice, bob) }()
		go func() { found <- dial(t, bob, alice) }()
		one, two := <-found, <-found
		if one.ID() != two.ID() {
			t.Errorf("two sessions: %v and %v", one.ID(), two.ID())
		}
		send(t, one, "hello")
		want(t, two, "hello")
	})
}

func TestAllowRefusesStrangers(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		friend := newKey(t)
		bob := listen(t, net, "bob", node.Config{Allow: func(id node.PeerID) bool { return id == friend.ID() }})
		stranger := listen(t, net, "stranger", node.Config{})
		if _, err := stranger.DialAddr(within(t, time.Second), bob.ID(), bob.addr()); err == nil {
			t.Error("a stranger got in")
		}
		dial(t, listen(t, net, "friend", node.Config{Key: friend}), bob)
	})
}

func TestNodesOfDifferentAppsDoNotMeet(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		chat, game := listen(t, net, "chat", node.Config{App: "chat"}), listen(t, net, "game", node.Config{App: "game"})
		if _, err := chat.DialAddr(within(t, time.Second), game.ID(), game.addr()); err == nil {
			t.Error("they met")
		}
	})
}

func TestNodeCloseDeliversAndSaysGoodbye(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 20 * time.Millisecond}, node.Config{})
		send(t, p.ab, "last words")
		if err := p.alice.Close(); err != nil {
			t.Fatal(err)
		}
		want(t, p.ba, "last words")
		_, err := p.ba.Recv(within(t, time.Second))
		var closed *node.CloseError
		if !errors.As(err, &closed) || closed.Code != node.CodeGoodbye {
			t.Errorf("the peer got %v", err)
		}
	})
}

func TestNodeCloseReturnsThoughThePeersAreGone(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		p.setLink(wiretest.Link{Blackhole: true})
		send(t, p.ab, "into the void")
		start := time.Now()
		p.alice.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		if !errors.Is(p.ab.Err(), node.ErrClosed) {
			t.Errorf("the session ended with %v", p.ab.Err())
		}
	})
}

func TestCallsThatWaitEndWhenTheNodeCloses(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		ended := make(chan error, 3)
		go func() { _, err := p.alice.Accept(t.Context()); ended <- err }()
		go func() { _, err := p.ab.Recv(t.Context()); ended <- err }()
		go func() {
			_, err := p.alice.DialAddr(t.Context(), newKey(t).ID(), addrPort("203.0.113.1:1"))
			ended <- err
		}()
		synctest.Wait()
		for range 10 {
			go p.alice.Close()
		}
		for range cap(ended) {
			if err := <-ended; !errors.Is(err, node.ErrClosed) {
				t.Errorf("a call returned %v", err)
			}
		}
		if _, err := p.alice.DialAddr(t.Context(), p.bob.ID(), p.bob.addr()); !errors.Is(err, node.ErrClosed) {
			t.Errorf("DialAddr on a closed node: %v", err)
		}
		if _, err := p.alice.Accept(t.Context()); !errors.Is(err, node.ErrClosed) {
			t.Errorf("Accept on a closed node: %v", err)
		}
		if err := p.alice.Rebind(""); err == nil {
			t.Error("Rebind on a closed node succeeded")
		}
	})
}

// Systems report on a socket what befell a datagram sent from it before, and
// what ails the network for now.
func TestReadErrorsDoNotStopANode(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		var errs []error
		for range 5 {
			errs = append(errs, syscall.EPERM, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ECONNREFUSED,
				syscall.ENOBUFS, syscall.EMSGSIZE, syscall.EINVAL, syscall.EIO, syscall.ENETDOWN)
		}
		p.bob.conn.FailReads(errs...)
		send(t, p.ab, "still there?")
		want(t, p.ba, "still there?")
		time.Sleep(time.Minute) // virtual: the errors are spaced out
		if n := p.bob.Status().Socket.ReadErrors; n != uint64(len(errs)) {
			t.Errorf("%d errors counted, want %d", n, len(errs))
		}
		send(t, p.ab, "and now?")
		want(t, p.ba, "and now?")
	})
}

func TestGarbageIsCountedAndDropped(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		from, to := addrPort("203.0.113.5:5"), p.bob.addr()
		net.Do(func(w *wiretest.Net) {
			for size := range 200 {
				for _, first := range []byte{0x00, 0x01, 0x41, 0xc1, 0xc2, 0xc3, 0xc4, 0xff} {
					b := make([]byte, size)
					if size > 0 {
						b[0] = first
					}
					w.Inject(0, from, to, b)
				}
			}
		})
		send(t, p.ab, "unimpressed")
		want(t, p.ba, "unimpressed")
		if n := p.bob.Status().Socket.Core[0].Sessions; n != 1 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestStatusIsReadyForJSON(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		b, err := json.Marshal(p.alice.Status())
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{p.alice.ID().String(), p.bob.ID().String(), p.ab.ID().String(), `"kind":"direct"`} {
			if !strings.Contains(string(b), part) {
				t.Errorf("%s is missing in %s", part, b)
			}
		}
	})
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for field, cfg := range map[string]node.Config{
		"Shards":      {Shards: -1},
		"MaxDatagram": {MaxDatagram: 100},
		"Congestion":  {Congestion: 3},
		"MaxMessage":  {MaxMessage: -1},
		"ResumeTime":  {ResumeTime: -time.Second},
		"MaxSessions": {MaxSessions: -1},
		"Rendezvous":  {Rendezvous: []string{"example.net:3478"}},
		"bind":        {Addr: "nonsense"},
		"port":        {Addr: ":99999"},
	} {
		n, err := node.Listen(&cfg)
		if err == nil {
			n.Close()
			t.Errorf("%s: no error", field)
		} else if !strings.Contains(err.Error(), field) || !strings.HasPrefix(err.Error(), "node: ") {
			t.Errorf("%s: the error is %v", field, err)
		}
	}
}

func TestDialWithChoosesCongestionControlForOneSession(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		ctx := within(t, 10*time.Second)
		bob := node.Ticket{Peer: p.bob.ID(), Addrs: []netip.AddrPort{p.bob.addr()}}
		near, err := p.alice.DialWith(ctx, bob, &node.DialOptions{Congestion: node.CUBIC})
		if err != nil {
			t.Fatal(err)
		}
		far, err := p.bob.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			conn *node.Conn
			want node.Congestion
		}{"chosen": {near, node.CUBIC}, "other end": {far, node.BBR}, "other session": {p.ab, node.BBR}} {
			if got := c.conn.Stats().Congestion; got != c.want {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		if _, err := p.alice.DialWith(ctx, bob, &node.DialOptions{Congestion: 3}); err == nil || !strings.Contains(err.Error(), "DialOptions.Congestion is") {
			t.Errorf("an unknown algorithm: %v", err)
		}
	})
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func newKey(t *testing.T) node.Key {
	t.Helper()
	k, err := node.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestStatusTellsWhyAServerIsNotReached(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		key, err := node.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		nobody := key.ID().String() + "@192.0.2.250:3478"
		alice := listen(t, net, "alice", node.Config{Rendezvous: []string{nobody, nobody}})
		if err := alice.WaitOnline(within(t, 10*time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitOnline: %v", err)
		}
		servers := alice.Status().Servers
		if len(servers) != 1 {
			t.Fatalf("%d servers, want one: it was named twice", len(servers))
		}
		if servers[0].State != node.ServerDown || servers[0].Error == "" {
			t.Errorf("status %+v gives no reason", servers[0])
		}
	})
}

// Both sides take a key that was made before, and make another.
func TestHandshakesTakeTheSpareKey(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		synctest.Wait()
		for range 3 {
			before := [2]any{p.alice.SpareKey(), p.bob.SpareKey()}
			dial(t, p.alice, p.bob)
			accept(t, p.bob)
			synctest.Wait()
			for i, n := range []*peer{p.alice, p.bob} {
				if key := n.SpareKey(); key == nil || before[i] == nil || key == before[i] {
					t.Fatalf("node %d: was a key there: %v, is there another: %v", i, before[i] != nil, key != nil && key != before[i])
				}
			}
		}
	})
}
