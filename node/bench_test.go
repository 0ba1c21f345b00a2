package node_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// benchNodes returns two nodes on loopback, the first of which has dialled the
// second. The benchmarks here use real sockets: what a program gets.
func benchNodes(b *testing.B) (dialler, listener *node.Node, near, far *node.Conn) {
	b.Helper()
	dialler, listener = benchNode(b), benchNode(b)
	near, far = benchDial(b, dialler, listener)
	return dialler, listener, near, far
}

func benchNode(b *testing.B) *node.Node {
	b.Helper()
	n, err := node.Listen(&node.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { n.Close() })
	return n
}

func benchDial(b *testing.B, from, to *node.Node) (near, far *node.Conn) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	near, err := from.DialAddr(ctx, to.ID(), to.LocalAddr())
	if err != nil {
		b.Fatal(err)
	}
	if far, err = to.Accept(ctx); err != nil {
		b.Fatal(err)
	}
	return near, far
}

// benchStream sends b.N messages of size bytes one way and waits for the last.
func benchStream(b *testing.B, size int) {
	_, _, near, far := benchNodes(b)
	in := far.Channel(1, nil)
	out := near.Channel(1, nil)
	ctx := b.Context()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, size)
		for range b.N {
			if _, err := in.RecvInto(ctx, buf); err != nil {
				b.Error(err)
				return
			}
		}
	})
	data := make([]byte, size)
	for range b.N {
		if err := out.Send(ctx, data); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkLoopback64KiB(b *testing.B) { benchStream(b, 64<<10) }
func BenchmarkLoopback1200B(b *testing.B) { benchStream(b, 1200) }
func BenchmarkLoopback64B(b *testing.B)   { benchStream(b, 64) }

// BenchmarkLoopback64BUnreliable sends as fast as messages are taken. The rate is
// that of those which arrive.
func BenchmarkLoopback64BUnreliable(b *testing.B) {
	_, _, near, far := benchNodes(b)
	in, end := far.Channel(1, nil), far.Channel(2, nil)
	out := near.Channel(1, &node.ChannelConfig{Mode: node.Unreliable})
	ctx, stop := context.WithCancel(b.Context())
	b.ReportAllocs()
	b.ResetTimer()
	arrived := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for buf := make([]byte, 64); ; arrived++ {
			if _, err := in.RecvInto(ctx, buf); err != nil {
				return
			}
		}
	})
	data := make([]byte, 64)
	for range b.N {
		if err := out.Send(ctx, data); err != nil {
			b.Fatal(err)
		}
	}
	if err := near.Channel(2, nil).Send(ctx, nil); err != nil {
		b.Fatal(err)
	}
	if _, err := end.Recv(ctx); err != nil {
		b.Fatal(err)
	}
	stop()
	wg.Wait()
	b.ReportMetric(float64(arrived)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(100*(1-float64(arrived)/float64(b.N)), "%lost")
}

// BenchmarkLoopbackUDP1200B is plain UDP, one datagram a call, for comparison. It
// keeps a window of datagrams under way, so that none is lost.
func BenchmarkLoopbackUDP1200B(b *testing.B) {
	from, to := benchSocket(b), benchSocket(b)
	dst := to.LocalAddr().(*net.UDPAddr).AddrPort()
	b.SetBytes(1200)
	b.ReportAllocs()
	window := make(chan struct{}, 64)
	b.ResetTimer()
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 1500)
		for range b.N {
			if _, _, err := to.ReadFromUDPAddrPort(buf); err != nil {
				b.Error(err)
				return
			}
			<-window
		}
	})
	data := make([]byte, 1200)
	for range b.N {
		window <- struct{}{}
		if _, err := from.WriteToUDPAddrPort(data, dst); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func benchSocket(b *testing.B) *net.UDPConn {
	b.Helper()
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// reportPercentiles reports the median and the 99th percentile of round trips.
func reportPercentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100])/1e3, "p99-µs")
}

func BenchmarkEcho64B(b *testing.B) {
	_, _, near, far := benchNodes(b)
	ctx := b.Context()
	go func() {
		buf := make([]byte, 64)
		for ch := far.Channel(1, nil); ; {
			if _, err := ch.RecvInto(ctx, buf); err != nil {
				return
			}
			if ch.Send(ctx, buf) != nil {
				return
			}
		}
	}()
	ch, buf := near.Channel(1, nil), make([]byte, 64)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		start := time.Now()
		if err := ch.Send(ctx, buf); err != nil {
			b.Fatal(err)
		}
		if _, err := ch.RecvInto(ctx, buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	reportPercentiles(b, took)
}

func BenchmarkEchoUDP64B(b *testing.B) {
	from, to := benchSocket(b), benchSocket(b)
	go func() {
		buf := make([]byte, 64)
		for {
			n, src, err := to.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			to.WriteToUDPAddrPort(buf[:n], src)
		}
	}()
	dst, buf := to.LocalAddr().(*net.UDPAddr).AddrPort(), make([]byte, 64)
	took := make([]time.Duration, 0, b.N)
	for b.Loop() {
		start := time.Now()
		if _, err := from.WriteToUDPAddrPort(buf, dst); err != nil {
			b.Fatal(err)
		}
		if _, _, err := from.ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	reportPercentiles(b, took)
}

// BenchmarkDial opens a session, and closes it, one after the other.
func BenchmarkDial(b *testing.B) {
	from, to := benchNode(b), benchNode(b)
	b.ReportAllocs()
	for b.Loop() {
		near, far := benchDial(b, from, to)
		near.CloseWith(0, "")
		far.CloseWith(0, "")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
}
