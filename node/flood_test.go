package node_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A polled is a socket that counts how often it is polled.
type polled struct {
	*nodetest.PacketConn
	polls  int
	during func() // called by each poll; may be nil
	noise  bool   // there is always something to read
}

func (c *polled) PollFrom(b []byte) (int, net.Addr, error) {
	c.polls++
	if c.during != nil {
		c.during()
	}
	if c.noise {
		return copy(b, "noise"), net.UDPAddrFromAddrPort(c.AddrPort()), nil
	}
	return c.PacketConn.PollFrom(b)
}

// A flooder is a pair of which alice sends as fast as there is room, and bob takes it all.
type flooder struct {
	pair
	polled *polled
	rest   *node.Channel // alice's end of a channel that she does not flood
}

const floodDelay = time.Millisecond // one way

// newFlooder returns one whose node has a polled socket, or what wrap makes of it.
func newFlooder(t *testing.T, n *nodetest.Net, wrap func(*polled) net.PacketConn) *flooder {
	t.Helper()
	f := &flooder{}
	f.net = n
	host := n.Host("alice", nil, addr("192.0.2.200"))
	f.polled = &polled{PacketConn: n.Listen(host, 4000)}
	var conn net.PacketConn = f.polled
	if wrap != nil {
		conn = wrap(f.polled)
	}
	f.alice = start(t, host, f.polled.PacketConn, node.Config{PacketConn: conn})
	f.bob = listen(t, n, "bob", node.Config{})
	f.setLink(wiretest.Link{Delay: floodDelay})
	f.ab, f.ba = dial(t, f.alice, f.bob), accept(t, f.bob)
	f.rest = f.ab.Channel(1, nil)
	go func() {
		for {
			if _, err := f.ba.Recv(context.Background()); err != nil {
				return
			}
		}
	}()
	return f
}

// flood sends so many bytes in messages of a size.
func (f *flooder) flood(t *testing.T, bytes, size int) {
	t.Helper()
	for sent := 0; sent < bytes; sent += size {
		if err := f.ab.Send(t.Context(), make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
}

// floodUntilLent sends until the reader has lent the socket, or for as long as it should
// have.
func (f *flooder) floodUntilLent(t *testing.T) (lent bool) {
	t.Helper()
	for i := 0; i < 100 && !f.ab.Lent(); i++ {
		f.flood(t, 1<<20, 1200)
	}
	return f.ab.Lent()
}

// Who sends as fast as there is room reads the answers, between messages as well.
func TestFloodReadsItsAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, n *nodetest.Net) {
		f := newFlooder(t, n, nil)
		if !f.floodUntilLent(t) {
			t.Fatal("the reader has not lent the socket")
		}
		for range 20 {
			if f.flood(t, 1<<20, 1200); !f.ab.Lent() {
				t.Fatal("the reader goes on although the flood does")
			}
		}
		send(t, f.ba, "hello")
		time.Sleep(floodDelay)
		f.polled.polls = 0
		if send(t, f.ab, "hello"); f.polled.polls > 0 {
			t.Error("polled for a message after a pause")
		}
		before := f.ab.Stats().Received
		f.flood(t, 256<<10, 1200)
		if f.ab.Stats().Received == before || f.polled.polls == 0 {
			t.Error("what has come is not read between messages")
		}
		f.polled.polls = 0
		f.flood(t, 128<<10, 64<<10)
		if f.polled.polls > 0 {
			t.Errorf("polled %d times for two long messages", f.polled.polls)
		}
		time.Sleep(3 * floodDelay) // there is room again
		f.flood(t, 128<<10, 1200)
		f.polled.polls = 0
		for range 40 {
			time.Sleep(9 * time.Microsecond)
			f.flood(t, 60<<10, 60<<10)
		}
		if f.polled.polls == 0 {
			t.Error("not polled for longer than between long messages")
		}
	})
}

// When a flood is over, the socket is not left unread.
func TestReaderIsCalledBackAfterAFlood(t *testing.T) {
	const patience = 5 * time.Millisecond
	bubble(t, func(t *testing.T, n *nodetest.Net) {
		f := newFlooder(t, n, nil)
		if !f.floodUntilLent(t) {
			t.Fatal("the reader has not lent the socket")
		}
		send(t, f.ba, "hello")
		time.Sleep(patience + floodDelay)
		synctest.Wait()
		if f.ab.Lent() {
			t.Error("the reader is not called back")
		}
		before := f.ab.Stats().Received
		send(t, f.ba, "hello")
		time.Sleep(floodDelay)
		synctest.Wait()
		if f.ab.Stats().Received == before {
			t.Error("nobody reads")
		}
		time.Sleep(time.Second)
		f.flood(t, 4096, 64)
		send(t, f.ba, "hello") // the reader has something, and does not lend for what was long ago
		time.Sleep(floodDelay)
		synctest.Wait()
		if f.ab.Lent() {
			t.Error("the socket is lent although nobody floods")
		}
	})
}

// One who waits for a message has it as soon as it comes, whoever floods.
func TestFloodLeavesNoReceiverWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, n *nodetest.Net) {
		f := newFlooder(t, n, nil)
		var told time.Time
		var waiting sync.WaitGroup
		wait := func() {
			waiting.Go(func() {
				m, err := f.rest.Recv(t.Context())
				if took := time.Since(told); err != nil || string(m.Data) != "hello" || took != floodDelay {
					t.Errorf("%q, %v after %v", m.Data, err, took)
				}
			})
			synctest.Wait()
		}
		tell := func() {
			told = time.Now()
			if err := f.ba.SendMessage(t.Context(), node.Message{Channel: 1, Data: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
			waiting.Wait()
		}
		if !f.floodUntilLent(t) {
			t.Fatal("the reader has not lent the socket")
		}
		waits := false
		f.polled.during = func() { // else it would be who reads
			if !waits {
				waits = true
				wait()
			}
		}
		f.flood(t, 256<<10, 1200)
		if !waits {
			t.Fatal("the socket is not polled")
		}
		tell()
		f.polled.during = nil
		time.Sleep(time.Second)
		wait()
		if f.floodUntilLent(t) {
			t.Error("the socket is lent while somebody waits for a message")
		}
		tell()
	})
}

// Who pauses between messages is lent no socket, which would be unread in the pauses,
// whether or not the messages have to wait for room.
func TestLongMessagesWithPausesAreNoFlood(t *testing.T) {
	for name, link := range map[string]wiretest.Link{
		"there is room after each pause": {Delay: floodDelay},
		"each has to wait for room":      {Delay: floodDelay, Rate: 100_000_000, Queue: 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *nodetest.Net) {
				f := newFlooder(t, n, nil)
				f.setLink(link)
				for range 100 {
					f.flood(t, 1<<20, 1<<20)
					time.Sleep(3 * time.Millisecond)
					if f.ab.Lent() {
						t.Fatal("the reader has lent the socket")
					}
				}
			})
		})
	}
}

// Where more comes than a sender has the time for, the reader takes over.
func TestSenderDoesNotReadForLong(t *testing.T) {
	bubble(t, func(t *testing.T, n *nodetest.Net) {
		f := newFlooder(t, n, nil)
		if !f.floodUntilLent(t) {
			t.Fatal("the reader has not lent the socket")
		}
		time.Sleep(3 * floodDelay) // there is room again
		f.polled.noise = true
		f.polled.during = func() { time.Sleep(10 * time.Microsecond) }
		begun := time.Now()
		f.flood(t, 128<<10, 1200)
		if took := time.Since(begun); took > 2100*time.Microsecond {
			t.Errorf("to send takes %v", took)
		}
		if f.ab.Lent() {
			t.Error("the reader is not called back")
		}
	})
}

// One who floods for a moment again and again does not leave the socket unread after each
// of them.
func TestShortFloodsAreSeldomLentASocket(t *testing.T) {
	bubble(t, func(t *testing.T, n *nodetest.Net) {
		f := newFlooder(t, n, nil)
		lent := 0
		for range 40 {
			f.flood(t, 12<<20, 4096)
			if f.ab.Lent() {
				lent++
			}
			time.Sleep(20 * time.Millisecond)
		}
		if lent == 0 || lent > 10 {
			t.Errorf("%d of 40 floods were lent a socket", lent)
		}
		time.Sleep(time.Second)
		f.flood(t, 1<<28, 64<<10)
		if !f.ab.Lent() {
			t.Error("a long flood was not")
		}
		time.Sleep(20 * time.Millisecond)
		if !f.floodUntilLent(t) {
			t.Error("nor was the one that followed it")
		}
	})
}

// A socket that cannot be polled is lent to no flood, and is not polled if it is lent for
// another reason.
func TestSocketThatCannotBePolled(t *testing.T) {
	bubble(t, func(t *testing.T, n *nodetest.Net) {
		f := newFlooder(t, n, func(c *polled) net.PacketConn { return struct{ net.PacketConn }{c} })
		if f.floodUntilLent(t) {
			t.Error("it is lent")
		}
		for range 100 {
			if err := f.ba.SendMessage(t.Context(), node.Message{Channel: 1, Data: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
			if _, err := f.rest.Recv(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !f.ab.Lent() {
			t.Error("it is not lent to a conversation")
		}
		f.flood(t, 256<<10, 1200)
	})
}

// What is sent through a net.Conn cannot be waited for by who reads.
func TestFloodThroughANetConnIsNotLentASocket(t *testing.T) {
	bubble(t, func(t *testing.T, n *nodetest.Net) {
		f := newFlooder(t, n, nil)
		c := f.ab.NetConn(0)
		for range 4000 {
			if _, err := c.Write(make([]byte, 16<<10)); err != nil {
				t.Fatal(err)
			}
			if f.ab.Lent() {
				t.Fatal("it is lent")
			}
		}
		if f.ab.BurstRun() < 64 {
			t.Error("this is no flood")
		}
	})
}
