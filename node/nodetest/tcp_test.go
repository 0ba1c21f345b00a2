package nodetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

const port = 443

// stream opens one from alice to the server.
func (l *lab) stream() (a, s net.Conn) {
	l.t.Helper()
	ln, err := l.s.ListenTCP(port)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { ln.Close() })
	a, err = l.a.DialTCP(l.t.Context(), netip.AddrPortFrom(serverAddr, port))
	if err != nil {
		l.t.Fatal(err)
	}
	s, err = ln.Accept()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { a.Close(); s.Close() })
	return a, s
}

func wantData(t *testing.T, r io.Reader, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if n, err := io.ReadFull(r, buf); err != nil || string(buf) != want {
		t.Errorf("read %q, %v, want %q", buf[:n], err, want)
	}
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestStreamTakesTheDelayOfItsWay(t *testing.T) {
	bubble(t, wiretest.NATConfig{BlockUDP: true}, func(t *testing.T, l *lab) {
		l.do(func() { l.home.SetLink(wiretest.Link{Delay: 30 * time.Millisecond}) })
		start := time.Now()
		a, s := l.stream()
		if took := time.Since(start); took != 80*time.Millisecond {
			t.Errorf("dialled in %v, want one round trip of 80ms", took)
		}
		if seen := s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); seen != publicAlice {
			t.Errorf("accepted from %v", seen)
		}
		start = time.Now()
		a.Write([]byte("hel"))
		a.Write([]byte("lo"))
		wantData(t, s, "hello")
		s.Write([]byte("answer"))
		wantData(t, a, "answer")
		if took := time.Since(start); took != 80*time.Millisecond {
			t.Errorf("there and back in %v, want 80ms", took)
		}
		if l.a.Addresses()[0].Addr() != a.LocalAddr().(*net.TCPAddr).AddrPort().Addr() {
			t.Errorf("local address %v", a.LocalAddr())
		}
	})
}

func TestStreamEndsAfterWhatWasWritten(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		a, s := l.stream()
		a.Write([]byte("last words"))
		a.Close()
		if got, err := io.ReadAll(s); string(got) != "last words" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		_, err := s.Write([]byte("anybody?"))
		wantErr(t, "write to a closed end", err, syscall.EPIPE)
		_, err = a.Read(make([]byte, 1))
		wantErr(t, "read from a closed one", err, net.ErrClosed)
		wantErr(t, "second close", a.Close(), net.ErrClosed)
	})
}

func TestHalfClosedStreamStillCarriesTheAnswer(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		a, s := l.stream()
		a.Write([]byte("question"))
		a.(*nodetest.Conn).CloseWrite()
		if got, err := io.ReadAll(s); string(got) != "question" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		s.Write([]byte("answer"))
		wantData(t, a, "answer")
	})
}

func TestStreamDeadlines(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		a, s := l.stream()
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Hour))
		time.AfterFunc(time.Second, func() { a.SetReadDeadline(time.Now()) })
		_, err := a.Read(make([]byte, 1))
		wantErr(t, "read", err, os.ErrDeadlineExceeded)
		if took := time.Since(start); took != time.Second {
			t.Errorf("read failed after %v", took)
		}
		a.SetDeadline(time.Now().Add(time.Second))
		_, err = a.Write(make([]byte, 1<<20)) // nobody reads
		wantErr(t, "write", err, os.ErrDeadlineExceeded)
		a.SetDeadline(time.Time{})
		go s.Write([]byte("later"))
		wantData(t, a, "later")
	})
}

func TestSlowReaderHoldsTheWriterUp(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		a, s := l.stream()
		sent, done := bytes.Repeat([]byte("0123456789"), 200_000), make(chan error)
		go func() { _, err := a.Write(sent); done <- err }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("two megabytes were written that nobody reads")
		default:
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("two megabytes came out wrong: %v", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestStreamKeepsToTheRate(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		l.do(func() { l.alice.Up.Rate = 8e6 })
		a, s := l.stream()
		if took := l.transfer(a, s, 1e6); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("a megabyte at a megabyte a second took %v", took)
		}
	})
}

func TestStreamRepeatsWhatIsLost(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		l.do(func() { l.alice.Up.Loss = 0.2 })
		a, s := l.stream()
		if took := l.transfer(a, s, 1e5); took < 220*time.Millisecond || took > 5*time.Second {
			t.Errorf("72 datagrams with losses took %v", took)
		}
	})
}

// transfer writes to a what s reads, and returns how long it took.
func (l *lab) transfer(a, s net.Conn, size int) time.Duration {
	l.t.Helper()
	start, sent := time.Now(), bytes.Repeat([]byte("0123456789"), size/10)
	go a.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
		l.t.Errorf("came out wrong: %v", err)
	}
	return time.Since(start)
}

func TestDialFailsAsItShould(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		dial := func(s *nodetest.Stack, to netip.Addr, limit time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			_, err := s.DialTCP(ctx, netip.AddrPortFrom(to, port))
			return time.Since(start), err
		}
		took, err := dial(l.a, serverAddr, time.Minute)
		wantErr(t, "nobody listens", err, syscall.ECONNREFUSED)
		if took != 20*time.Millisecond {
			t.Errorf("refused after %v", took)
		}
		_, err = dial(l.s, publicAlice, time.Minute)
		wantErr(t, "into a NAT", err, syscall.ETIMEDOUT)
		l.do(func() { l.alice.Up.Blackhole = true })
		took, err = dial(l.a, serverAddr, time.Second)
		wantErr(t, "into a black hole", err, context.DeadlineExceeded)
		if took != time.Second {
			t.Errorf("gave up after %v", took)
		}
		l.do(func() { l.alice.Unplug() })
		_, err = dial(l.a, serverAddr, time.Minute)
		wantErr(t, "unplugged", err, syscall.ENETUNREACH)
	})
}

func TestDialWaitsForALinkThatComesBack(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		l.do(func() { l.alice.Up.Blackhole = true })
		time.AfterFunc(2*time.Second, func() { l.do(func() { l.alice.Up.Blackhole = false }) })
		l.stream()
	})
}

func TestStreamSurvivesAShortInterruption(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		a, s := l.stream()
		a.Write([]byte("before "))
		time.Sleep(5 * time.Millisecond) // half way
		l.do(func() { l.alice.Unplug() })
		a.Write([]byte("meanwhile "))
		s.SetReadDeadline(time.Now().Add(time.Second))
		_, err := s.Read(make([]byte, 1))
		wantErr(t, "read while nothing passes", err, os.ErrDeadlineExceeded)
		s.SetReadDeadline(time.Time{})
		time.Sleep(nodetest.StreamTimeout / 2)
		l.do(func() { l.alice.Plug() })
		a.Write([]byte("after"))
		wantData(t, s, "before meanwhile after")

		l.do(func() { l.alice.Unplug() })
		a.Write([]byte("nothing else is on the way"))
		s.SetReadDeadline(time.Now().Add(time.Second))
		_, err = s.Read(make([]byte, 1))
		wantErr(t, "read while nothing passes", err, os.ErrDeadlineExceeded)
	})
}

func TestStreamDiesOfALongInterruption(t *testing.T) {
	for what, fault := range map[string]func(l *lab){
		"unplugged":    func(l *lab) { l.alice.Unplug() },
		"black hole":   func(l *lab) { l.home.Down.Blackhole = true },
		"moved":        func(l *lab) { l.alice.Move(nil, publicBob) },
		"moved back":   func(l *lab) { l.alice.Move(nil); l.alice.Move(l.home, private) },
		"NAT rebound":  func(l *lab) { l.home.Rebind() },
		"NAT rebooted": func(l *lab) { l.home.Reboot(l.Now(), time.Second, publicBob) },
	} {
		bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
			a, s := l.stream()
			l.do(func() { fault(l) })
			start := time.Now()
			for _, c := range []net.Conn{a, s} {
				_, err := c.Read(make([]byte, 1))
				wantErr(t, what, err, syscall.ETIMEDOUT)
				_, err = c.Write(make([]byte, 1))
				wantErr(t, what, err, syscall.ETIMEDOUT)
			}
			if took := time.Since(start); took != nodetest.StreamTimeout {
				t.Errorf("%s: failed after %v", what, took)
			}
		})
	}
}

func TestBlockedPairStopsStreamsToo(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		a, _ := l.stream()
		l.Do(func(n *wiretest.Net) { n.Block(publicAlice, serverAddr) })
		_, err := a.Read(make([]byte, 1))
		wantErr(t, "read", err, syscall.ETIMEDOUT)
	})
}

func TestClosedListenerAcceptsNothing(t *testing.T) {
	bubble(t, wiretest.NATConfig{}, func(t *testing.T, l *lab) {
		ln, err := l.s.ListenTCP(0)
		if err != nil {
			t.Fatal(err)
		}
		to := netip.AddrPortFrom(serverAddr, ln.Addr().(*net.TCPAddr).AddrPort().Port())
		a, err := l.a.DialTCP(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.s.ListenTCP(to.Port()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listens twice: %v", err)
		}
		ln.Close()
		_, err = a.Read(make([]byte, 1))
		wantErr(t, "a stream that was not accepted", err, io.EOF)
		_, err = ln.Accept()
		wantErr(t, "accept", err, net.ErrClosed)
		_, err = l.a.DialTCP(t.Context(), to)
		wantErr(t, "dial", err, syscall.ECONNREFUSED)
	})
}
