package node_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A recorder is a Handler that answers every message, and notes what it is told.
type recorder struct {
	calls chan string
	block chan struct{} // if not nil, Message waits for it
	onMsg func(c *node.Conn)
}

func newRecorder() *recorder { return &recorder{calls: make(chan string, 10000)} }

func (r *recorder) Connected(c *node.Conn) { r.calls <- "connected" }
func (r *recorder) Message(c *node.Conn, m node.Message) {
	if r.block != nil {
		<-r.block
	}
	if r.onMsg != nil {
		r.onMsg(c)
	}
	r.calls <- "message " + string(m.Data)
	c.TrySend(node.Message{Channel: m.Channel, Data: append([]byte("re: "), m.Data...)})
}
func (r *recorder) PathChanged(c *node.Conn, old, new node.Path) { r.calls <- "path " + new.String() }
func (r *recorder) Closed(c *node.Conn, err error) {
	var closed *node.CloseError
	if errors.As(err, &closed) {
		r.calls <- "closed"
		return
	}
	r.calls <- "closed by " + err.Error()
}

func (r *recorder) next(t *testing.T) string {
	t.Helper()
	select {
	case call := <-r.calls:
		return call
	case <-time.After(30 * time.Second):
		t.Fatal("the handler was not called")
		return ""
	}
}

func TestHandlerIsToldEverythingInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		h := newRecorder()
		alice, bob := listen(t, net, "alice", node.Config{}), listen(t, net, "bob", node.Config{Handler: h})
		c := dial(t, alice, bob)
		const count = 100
		for i := range count {
			send(t, c, number(i))
		}
		for i := range count {
			want(t, c, "re: "+number(i))
		}
		c.Close()
		if call := h.next(t); call != "connected" {
			t.Fatalf("first call: %s", call)
		}
		for i := range count {
			if call := h.next(t); call != "message "+number(i) {
				t.Fatalf("call for message %d: %s", i, call)
			}
		}
		if call := h.next(t); call != "closed" {
			t.Fatalf("last call: %s", call)
		}
	})
}

func TestHandlerIsToldOfTheDiallersOwnSessionsToo(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		h := newRecorder()
		alice, bob := listen(t, net, "alice", node.Config{Handler: h}), listen(t, net, "bob", node.Config{})
		dial(t, alice, bob)
		if call := h.next(t); call != "connected" {
			t.Fatalf("first call: %s", call)
		}
		send(t, accept(t, bob), "hi")
		if call := h.next(t); call != "message hi" {
			t.Fatalf("second call: %s", call)
		}
		if _, err := alice.Accept(t.Context()); !errors.Is(err, node.ErrHandled) {
			t.Errorf("Accept: %v", err)
		}
	})
}

func TestHandlerSeesThePeerMove(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		h := newRecorder()
		alice, bob := listen(t, net, "alice", node.Config{}), listen(t, net, "bob", node.Config{Handler: h})
		c := dial(t, alice, bob)
		net.Do(func(*wiretest.Net) { alice.host.Move(nil, addr("198.51.100.9")) })
		send(t, c, "moved")
		var got []string
		for range 3 {
			got = append(got, h.next(t))
		}
		all := strings.Join(got, ", ")
		if !strings.Contains(all, "path direct 198.51.100.9:4000") || !strings.Contains(all, "message moved") {
			t.Errorf("the calls were %s", all)
		}
	})
}

func TestHandlerThatBlocksHoldsUpNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		h := newRecorder()
		h.block = make(chan struct{})
		alice, bob := listen(t, net, "alice", node.Config{}), listen(t, net, "bob", node.Config{Handler: h})
		c := dial(t, alice, bob)
		r, err := c.SendReceipt(t.Context(), node.Message{Data: []byte("one")})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Stored(within(t, time.Second)); err != nil {
			t.Errorf("bob's node does not acknowledge: %v", err)
		}
		dial(t, alice, bob)
		start := time.Now()
		bob.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		close(h.block)
	})
}

func TestHandlerMayCloseItsSessionAndItsNode(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		h := newRecorder()
		alice, bob := listen(t, net, "alice", node.Config{}), listen(t, net, "bob", node.Config{Handler: h})
		h.onMsg = func(c *node.Conn) {
			c.CloseWith(1, "")
			bob.Close()
		}
		c := dial(t, alice, bob)
		send(t, c, "close, please")
		if _, err := c.Recv(within(t, 10*time.Second)); !errors.Is(err, node.ErrClosed) {
			t.Errorf("alice got %v", err)
		}
	})
}

func TestTraceSeesSessionsComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		calls := make(chan string, 10)
		trace := &node.Trace{
			Connected: func(*node.Conn) { calls <- "connected" },
			Stranded:  func(*node.Conn) { calls <- "stranded" },
			Closed:    func(_ *node.Conn, err error) { calls <- err.Error() },
		}
		alice := listen(t, net, "alice", node.Config{Trace: trace, ResumeTime: 5 * time.Second})
		bob := listen(t, net, "bob", node.Config{})
		c := dial(t, alice, bob)
		net.Do(func(*wiretest.Net) { alice.host.SetLink(wiretest.Link{Blackhole: true}) })
		send(t, c, "lost")
		for _, want := range []string{"connected", "stranded", node.ErrStranded.Error()} {
			if got := <-calls; got != want {
				t.Fatalf("hook told %q, want %q", got, want)
			}
		}
	})
}
