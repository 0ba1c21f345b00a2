package wslink

import (
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
)

// loopback returns a link over TCP, or TLS, to a server that hands what it receives
// to handle.
func loopback(t testing.TB, secure bool, handle func(c *Conn, d []byte)) *Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serverTLS, clientTLS := selfSigned(t)
	url := "wss://" + l.Addr().String()
	if !secure {
		serverTLS, url = nil, "ws://"+l.Addr().String()
	}
	s := NewServer(nil, func(c *Conn) { c.Serve(func(d []byte) { handle(c, d) }) })
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(l, serverTLS)
	}()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	c, err := Dial(t.Context(), url, &DialConfig{TLS: clientTLS})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestLoopbackOverTLS(t *testing.T) {
	c := loopback(t, true, func(c *Conn, d []byte) {
		if c.RemoteAddr().Addr().String() != "127.0.0.1" {
			t.Errorf("server sees %v", c.RemoteAddr())
		}
		c.Send(d)
	})
	back := make(chan int, 1)
	go c.Serve(func(d []byte) { back <- len(d) })
	for _, n := range []int{1, 100, 1200, DatagramMax} {
		c.Send(make([]byte, n))
		if got := <-back; got != n {
			t.Errorf("%d bytes came back of %d", got, n)
		}
	}
}

// Datagrams a second through a loopback link, sent as fast as the queue takes
// them.
func BenchmarkThroughput(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%t", secure), func(b *testing.B) {
			var received atomic.Int64
			c := loopback(b, secure, func(*Conn, []byte) { received.Add(1) })
			go c.Serve(func([]byte) {})
			d := make([]byte, 1200)
			b.SetBytes(int64(len(d)))
			b.ReportAllocs()
			for b.Loop() {
				for !c.Send(d) {
					runtime.Gosched()
				}
			}
			s := c.Stats()
			b.ReportMetric(float64(s.Sent)/float64(max(1, s.Messages)), "datagrams/message")
			b.ReportMetric(float64(received.Load())/b.Elapsed().Seconds(), "datagrams/s")
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%t", secure), func(b *testing.B) {
			back := make(chan struct{}, 1)
			c := loopback(b, secure, func(c *Conn, d []byte) { c.Send(d) })
			go c.Serve(func([]byte) { back <- struct{}{} })
			d := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				c.Send(d)
				<-back
			}
		})
	}
}
