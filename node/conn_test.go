package node_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// lossy is a bad mobile connection.
var lossy = wiretest.Link{
	Delay: 30 * time.Millisecond, Loss: 0.1, Reorder: 0.05, Duplicate: 0.05, Corrupt: 0.02,
}

func TestMessagesArriveOnceInOrderOverABadLink(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, lossy, node.Config{})
		const count = 500
		go func() {
			for i := range count {
				if p.ab.Send(t.Context(), []byte(number(i))) != nil {
					return
				}
			}
		}()
		for i := range count {
			want(t, p.ba, number(i))
		}
		send(t, p.ba, "the other way")
		want(t, p.ab, "the other way")
	})
}

func TestBothEndsAgreeOnTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		if p.ab.ID() != p.ba.ID() {
			t.Errorf("session IDs differ: %v and %v", p.ab.ID(), p.ba.ID())
		}
		if p.ab.Peer() != p.bob.ID() || p.ba.Peer() != p.alice.ID() {
			t.Error("an end names the wrong peer")
		}
		if !p.ab.Initiator() || p.ba.Initiator() {
			t.Error("alice opened the session")
		}
		if path := p.ab.Path(); path.Kind != node.Direct || path.Remote != p.bob.addr() {
			t.Errorf("alice's path is %v", path)
		}
	})
}

func TestEveryDeliveryModeArrivesOnItsChannel(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		modes := []node.Delivery{node.Reliable, node.Unordered, node.Unreliable, node.Sequenced}
		for i, mode := range modes {
			m := node.Message{Channel: uint16(i), Mode: mode, Data: []byte(number(i))}
			if err := p.ab.SendMessage(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		seen := make(map[uint16]bool)
		for range modes {
			m, err := p.ba.Recv(within(t, time.Second))
			if err != nil {
				t.Fatal(err)
			}
			if m.Mode != modes[m.Channel] || string(m.Data) != number(int(m.Channel)) || seen[m.Channel] {
				t.Errorf("received %+v", m)
			}
			seen[m.Channel] = true
		}
	})
}

func TestOpenedChannelKeepsItsMessagesFromRecv(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		game := p.ba.Channel(7, nil)
		sending := p.ab.Channel(7, &node.ChannelConfig{Priority: 1, LowLatency: true})
		if err := sending.Send(t.Context(), []byte("position")); err != nil {
			t.Fatal(err)
		}
		send(t, p.ab, "chat")
		want(t, p.ba, "chat")
		buf := make([]byte, 4)
		if n, err := game.RecvInto(t.Context(), buf); n != 8 || !errors.Is(err, node.ErrShortBuffer) {
			t.Fatalf("a short buffer gave %d, %v", n, err)
		}
		buf = make([]byte, 64)
		if n, err := game.RecvInto(t.Context(), buf); err != nil || string(buf[:n]) != "position" {
			t.Fatalf("received %q, %v", buf[:n], err)
		}
	})
}

func TestSlowReaderOfOneChannelDoesNotHoldUpAnother(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		p.ba.Channel(1, nil) // that nobody reads
		big := make([]byte, 1<<20)
		for range 3 {
			if err := p.ab.SendMessage(t.Context(), node.Message{Channel: 1, Data: big}); err != nil {
				t.Fatal(err)
			}
		}
		send(t, p.ab, "still here")
		want(t, p.ba, "still here")
	})
}

func TestReceiptTellsStoredFromRead(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 10 * time.Millisecond}, node.Config{})
		r, err := p.ab.SendReceipt(t.Context(), node.Message{Data: []byte("hello")})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Stored(within(t, time.Second)); err != nil {
			t.Fatalf("not stored: %v", err)
		}
		if err := r.Read(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("read before the application took it: %v", err)
		}
		want(t, p.ba, "hello")
		if err := r.Read(within(t, time.Second)); err != nil {
			t.Fatalf("not reported as read: %v", err)
		}
		if r.Cancel() {
			t.Error("canceled a message that was read")
		}
	})
}

func TestReceiptOfAMessageWhoseSessionEndsIsUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 10 * time.Millisecond}, node.Config{})
		p.setLink(wiretest.Link{Blackhole: true})
		r, err := p.ab.SendReceipt(t.Context(), node.Message{Data: []byte("hello")})
		if err != nil {
			t.Fatal(err)
		}
		p.ab.CloseWith(7, "enough")
		var failed *node.SendError
		if err := r.Stored(within(t, time.Second)); !errors.As(err, &failed) || failed.Fate != node.Unknown {
			t.Fatalf("fate is %v, want unknown", err)
		}
	})
}

func TestCanceledMessageDoesNotArrive(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 10 * time.Millisecond}, node.Config{})
		p.setLink(wiretest.Link{Blackhole: true})
		r, err := p.ab.SendReceipt(t.Context(), node.Message{Data: []byte("regretted")})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Cancel() {
			t.Fatal("could not cancel a message that is not stored")
		}
		var failed *node.SendError
		if err := r.Stored(within(t, time.Second)); !errors.As(err, &failed) || failed.Fate != node.Canceled {
			t.Fatalf("fate is %v, want canceled", err)
		}
		p.setLink(wiretest.Link{})
		send(t, p.ab, "meant")
		want(t, p.ba, "meant")
	})
}

func TestMessageWithADeadlineExpires(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 10 * time.Millisecond}, node.Config{})
		p.setLink(wiretest.Link{Blackhole: true})
		m := node.Message{Data: []byte("now or never"), Deadline: time.Now().Add(time.Second)}
		r, err := p.ab.SendReceipt(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var failed *node.SendError
		if err := r.Stored(t.Context()); !errors.As(err, &failed) || failed.Fate != node.Expired {
			t.Fatalf("fate is %v, want expired", err)
		}
		if took := time.Since(start); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("expired after %v, want 1 s", took)
		}
	})
}

func TestSendBlocksWhileTheBufferIsFullAndFollowsItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		p.setLink(wiretest.Link{Blackhole: true})
		big := make([]byte, 1<<20)
		var err error
		for range 10 {
			if err = p.ab.TrySend(node.Message{Data: big}); err != nil {
				break
			}
		}
		if !errors.Is(err, node.ErrWouldBlock) {
			t.Fatalf("TrySend: %v, want ErrWouldBlock", err)
		}
		start := time.Now()
		if err := p.ab.Send(within(t, time.Second), big); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Send: %v, want DeadlineExceeded", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("Send returned after %v, want 1 s", took)
		}
		p.setLink(wiretest.Link{Delay: time.Millisecond})
		go func() {
			for range p.ba.Messages(t.Context()) {
			}
		}()
		if err := p.ab.Send(within(t, 30*time.Second), big); err != nil {
			t.Fatalf("Send after the path came back: %v", err)
		}
	})
}

func TestLoneMessageLeavesAtOnceAndABurstSharesDatagrams(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		time.Sleep(time.Second) // virtual: until the handshake has settled
		before := p.ab.Stats().Sent
		send(t, p.ab, "alone")
		if n := p.ab.Stats().Sent - before; n != 1 {
			t.Errorf("a message alone: %d datagrams when Send returned, want 1", n)
		}
		want(t, p.ba, "alone")
		before = p.ab.Stats().Sent
		const count = 1000
		for i := range count {
			send(t, p.ab, number(i))
		}
		for i := range count {
			want(t, p.ba, number(i))
		}
		if n := p.ab.Stats().Sent - before; n > count/20 {
			t.Errorf("%d messages in a burst took %d datagrams", count, n)
		}
	})
}

// A sender of unreliable messages that are too many at a time waits until some have left,
// which may be at once: what its own burst holds back.
func TestFloodOfUnreliableMessagesLosesNone(t *testing.T) {
	const count = 5000
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 100 * time.Microsecond}, node.Config{})
		time.Sleep(time.Second) // virtual: until the handshake has settled
		ctx := within(t, time.Second)
		got := make(chan int)
		go func() {
			n := 0
			for n < count {
				if _, err := p.ba.Recv(ctx); err != nil {
					break
				}
				n++
			}
			got <- n
		}()
		for i := range count {
			if err := p.ab.SendMessage(ctx, node.Message{Mode: node.Unreliable, Data: []byte(number(i))}); err != nil {
				t.Errorf("message %d: %v", i, err)
				break
			}
		}
		if n := <-got; n != count {
			t.Errorf("%d of %d messages came", n, count)
		}
	})
}

// However long a burst is, its last message waits 20 us for another one at most, as all of
// it happens at one moment; so do messages without content.
func TestBurstEndsInTime(t *testing.T) {
	const delay, hold = time.Millisecond, 20 * time.Microsecond
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: delay}, node.Config{})
		for _, text := range []string{"message", ""} {
			for count := range 100 {
				time.Sleep(time.Second) // virtual: the burst before is forgotten
				begun, last := time.Now(), time.Duration(0)
				for range count + 1 {
					send(t, p.ab, text)
				}
				for range count + 1 {
					want(t, p.ba, text)
					last = time.Since(begun)
				}
				if last < delay || last > delay+hold {
					t.Fatalf("the last of %d messages %q was there after %v, want %v and up to %v more", count+1, text, last, delay, hold)
				}
			}
		}
	})
}

// What follows after a pause leaves at once. If that was short and the burst long, the
// system may have taken the processor away: then those behind it share datagrams at once.
func TestBurstAfterAPause(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		for pause, alone := range map[time.Duration]uint64{50 * time.Microsecond: 1, 150 * time.Microsecond: 1, time.Millisecond: 3} {
			time.Sleep(time.Second)
			for i := range 100 {
				send(t, p.ab, number(i))
			}
			time.Sleep(pause)
			before := p.ab.Stats().Sent
			for i := range 10 {
				send(t, p.ab, number(100+i))
			}
			if n := p.ab.Stats().Sent - before; n != alone {
				t.Errorf("of ten messages after a pause of %v %d left at once, want %d", pause, n, alone)
			}
			for i := range 110 {
				want(t, p.ba, number(i))
			}
		}
		// Those that come one by one after a burst are not held back for it.
		for i := range 100 {
			send(t, p.ab, number(i))
		}
		for i := range 100 {
			time.Sleep(100 * time.Microsecond)
			before := p.ab.Stats().Sent
			send(t, p.ab, number(100+i))
			if p.ab.Stats().Sent == before {
				t.Fatalf("message %d after a burst is held back", i)
			}
		}
	})
}

// A sender that is kept waiting for room makes no pause.
func TestBurstGoesOnWhileItsSenderWaitsForRoom(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 20 * time.Millisecond}, node.Config{})
		const n = 2000
		var receiver sync.WaitGroup
		receiver.Go(func() {
			for range n {
				if _, err := p.ba.Recv(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
		waited := 0
		for i := range n {
			begun := time.Now()
			send(t, p.ab, string(make([]byte, 1000)))
			if time.Since(begun) > time.Millisecond {
				waited++
			}
			if run := p.ab.BurstRun(); i > 64 && run < 64 {
				t.Fatalf("message %d is number %d of its burst", i, run)
			}
		}
		if waited < 5 {
			t.Errorf("the sender has waited %d times", waited)
		}
		receiver.Wait()
	})
}

// Who waits for the peer lets go what a burst of its own holds back: the peer may wait
// for that. Here both ends do, so that a round trip takes as long as on the wire.
func TestReplyAfterABurstIsNotHeldBack(t *testing.T) {
	const burst, delay = 10, time.Millisecond
	for name, recv := range map[string]func(c *node.Conn, ctx context.Context) error{
		"Conn.Recv":    func(c *node.Conn, ctx context.Context) error { _, err := c.Recv(ctx); return err },
		"Channel.Recv": func(c *node.Conn, ctx context.Context) error { _, err := c.Channel(0, nil).Recv(ctx); return err },
		"Channel.RecvInto": func(c *node.Conn, ctx context.Context) error {
			_, err := c.Channel(0, nil).RecvInto(ctx, make([]byte, 64))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, net *nodetest.Net) {
				p := newPair(t, net, wiretest.Link{Delay: delay}, node.Config{})
				time.Sleep(time.Second) // virtual: until the handshake has settled
				go func() {
					for recv(p.ba, t.Context()) == nil && p.ba.Send(t.Context(), []byte("reply")) == nil {
					}
				}()
				before, begun := p.ab.Stats().Sent, time.Now()
				for i := range burst {
					send(t, p.ab, number(i))
				}
				if n := p.ab.Stats().Sent - before; n >= burst {
					t.Fatalf("%d datagrams: nothing is held back", n)
				}
				for range burst {
					if err := recv(p.ab, within(t, time.Second)); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(begun); took != 2*delay {
					t.Errorf("the last reply came after %v, want %v", took, 2*delay)
				}
			})
		})
	}
}

func TestCloseDeliversWhatWasSent(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, lossy, node.Config{})
		const count = 50
		for i := range count {
			send(t, p.ab, number(i))
		}
		if err := p.ab.Close(); err != nil {
			t.Fatal(err)
		}
		i := 0
		for m, err := range p.ba.Messages(within(t, 10*time.Second)) {
			if err != nil || string(m.Data) != number(i) {
				t.Fatalf("message %d is %q, %v", i, m.Data, err)
			}
			i++
		}
		if i != count {
			t.Errorf("%d messages arrived, want %d", i, count)
		}
	})
}

func TestCloseReturnsThoughThePeerIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		p.setLink(wiretest.Link{Blackhole: true})
		send(t, p.ab, "into the void")
		start := time.Now()
		if err := p.ab.Close(); !errors.Is(err, node.ErrUndelivered) {
			t.Errorf("Close: %v, want ErrUndelivered", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		if err := p.ab.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestCloseReportsThatThePeerClosedBeforeItHadEverything(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 20 * time.Millisecond}, node.Config{})
		p.ba.CloseWith(7, "no more")
		send(t, p.ab, "too late")
		err := p.ab.Close()
		if e, ok := errors.AsType[*node.CloseError](err); !errors.Is(err, node.ErrUndelivered) || !ok || e.Code != 7 {
			t.Errorf("Close: %v, want ErrUndelivered and the peer's reason", err)
		}
	})
}

func TestBothSidesMayCloseOnceEverythingIsStored(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 20 * time.Millisecond}, node.Config{})
		send(t, p.ab, "bye")
		closed := make(chan error)
		go func() {
			_, err := p.ba.Recv(within(t, time.Second))
			closed <- errors.Join(err, p.ba.Close())
		}()
		if err := errors.Join(p.ab.Close(), <-closed); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWithTellsThePeerWhy(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 5 * time.Millisecond}, node.Config{})
		p.ab.CloseWith(42, "game over")
		_, err := p.ba.Recv(within(t, time.Second))
		var closed *node.CloseError
		if !errors.As(err, &closed) || closed.Code != 42 || closed.Reason != "game over" || !closed.Remote {
			t.Errorf("the peer got %v", err)
		}
		select {
		case <-p.ba.Done():
		default:
			t.Error("Done is not closed")
		}
		if p.ba.Err() != err {
			t.Errorf("Err is %v", p.ba.Err())
		}
	})
}

func TestCallsAfterCloseReturnErrClosed(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		if err := p.ab.Close(); err != nil {
			t.Fatal(err)
		}
		_, recv := p.ab.Recv(t.Context())
		_, receipt := p.ab.SendReceipt(t.Context(), node.Message{})
		for name, err := range map[string]error{
			"Send":        p.ab.Send(t.Context(), nil),
			"TrySend":     p.ab.TrySend(node.Message{}),
			"Recv":        recv,
			"SendReceipt": receipt,
			"Channel":     p.ab.Channel(3, nil).Send(t.Context(), nil),
		} {
			if !errors.Is(err, errNetClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
		p.ab.Path()
		p.ab.Stats()
	})
}

func TestCallsThatWaitEndWithTheirContextOrTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{}, node.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		canceled, closed := make(chan error, 2), make(chan error, 3)
		go func() { _, err := p.ab.Recv(ctx); canceled <- err }()
		go func() { _, err := p.bob.Accept(ctx); canceled <- err }()
		ch := p.ab.Channel(1, nil)
		go func() { _, err := p.ab.Recv(t.Context()); closed <- err }()
		go func() { _, err := ch.Recv(t.Context()); closed <- err }()
		go func() { _, err := ch.RecvInto(t.Context(), nil); closed <- err }()
		synctest.Wait()
		start := time.Now()
		cancel()
		for range cap(canceled) {
			if err := <-canceled; !errors.Is(err, context.Canceled) {
				t.Errorf("a canceled call returned %v", err)
			}
		}
		p.ab.Close()
		for range cap(closed) {
			if err := <-closed; !errors.Is(err, node.ErrClosed) {
				t.Errorf("a call on a closed session returned %v", err)
			}
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestEveryMethodFromManyGoroutines(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond, Loss: 0.01}, node.Config{})
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				ctx := within(t, 2*time.Second)
				ch := p.ab.Channel(uint16(i%8), nil)
				for range 20 {
					p.ab.Send(ctx, []byte("x"))
					ch.TrySend([]byte("y"))
					p.ba.TrySend(node.Message{Mode: node.Unreliable, Data: []byte("z")})
					if r, err := ch.SendReceipt(ctx, bytes.Repeat([]byte("r"), i)); err == nil {
						r.Fate()
					}
					p.ab.Stats()
					p.ba.Path()
					p.alice.Status()
				}
				if i == 0 {
					p.ba.Close()
				}
				for _, err := range p.ba.Messages(ctx) {
					if err != nil {
						return
					}
				}
			})
		}
		all.Wait()
	})
}

func TestWatcherSeesTheEndOfTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		events := p.ba.Events(t.Context())
		p.ab.CloseWith(3, "")
		var last node.Event
		for ev := range events {
			last = ev
		}
		var closed *node.CloseError
		if last.Kind != node.EventClosed || !errors.As(last.Err, &closed) || closed.Code != 3 {
			t.Errorf("the last event is %+v", last)
		}
	})
}

func TestSessionFollowsAHostThatMoves(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: 10 * time.Millisecond}, node.Config{})
		events := p.ba.Events(t.Context())
		old := p.alice.addr()
		net.Do(func(*wiretest.Net) { p.alice.host.Move(nil, addr("198.51.100.9")) })
		send(t, p.ab, "from the new address")
		want(t, p.ba, "from the new address")
		send(t, p.ba, "back")
		want(t, p.ab, "back")
		for ev := range events {
			if ev.Kind != node.EventPathChanged || ev.Old.Remote != old || ev.New.Remote != p.alice.addr() {
				t.Errorf("the first event is %+v", ev)
			}
			break
		}
	})
}

var errNetClosed = net.ErrClosed // where a parameter hides package net

// A node that closes keeps its sockets until its peers have heard: a goodbye
// that is lost is said again.
func TestLostGoodbyeIsSaidAgain(t *testing.T) {
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		alice, bob := listen(t, net, "alice", node.Config{}), listen(t, net, "bob", node.Config{})
		dial(t, alice, bob)
		c := accept(t, bob)
		dropped := false
		net.Do(func(*wiretest.Net) {
			alice.host.SetLink(wiretest.Link{Delay: 15 * time.Millisecond})
			alice.host.Up.Drop = func(time.Duration, []byte) bool {
				first := !dropped
				dropped = true
				return first
			}
		})
		begun := time.Now()
		alice.Close()
		if took := time.Since(begun); took > time.Second {
			t.Errorf("closing took %v", took)
		}
		var closed *node.CloseError
		if _, err := c.Recv(within(t, time.Second)); !errors.As(err, &closed) || closed.Code != node.CodeGoodbye {
			t.Errorf("the peer heard %v", err)
		}
		if !dropped {
			t.Error("nothing was lost")
		}
	})
}
