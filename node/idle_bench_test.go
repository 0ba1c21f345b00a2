//go:build unix

package node_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-67dce94e/holdfast/node"
)

var idleFlag = flag.Int("idle", 2000, "sessions of BenchmarkIdle")

// idleRate is how many keepalives a second BenchmarkIdle makes: those of 100,000
// sessions every 25 s.
const idleRate = 4000

// idlePeers names the environment variable by which the process of the benchmark
// tells the one with the peers which node to dial.
const idlePeers = "HOLDFAST_IDLE_PEERS"

// BenchmarkIdle measures what idle sessions cost a node: memory, and processor time
// for their keepalives, the collector's included. Their peers are ten nodes in
// another process. With "-benchtime 4x -idle 100000" the interval is 25 s.
func BenchmarkIdle(b *testing.B) {
	sessions := *idleFlag
	cfg := node.Config{
		Addr:        "127.0.0.1:0",
		MaxSessions: 4 * sessions,
		KeepAlive:   time.Duration(sessions) * time.Second / idleRate,
		IdleTimeout: -1,
	}
	if ticket := os.Getenv(idlePeers); ticket != "" {
		openIdle(b, cfg, ticket, sessions)
		return
	}
	before := inUse()
	opened := make(opened, 2*sessions)
	cfg.Handler = opened
	n, err := node.Listen(&cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	awaitIdle(b, n, opened, sessions)
	time.Sleep(cfg.KeepAlive + 4*time.Second) // to rest
	size := float64(inUse()-before) / float64(sessions)
	spent := processorTime(b)
	start := time.Now()
	for b.Loop() {
		time.Sleep(cfg.KeepAlive)
	}
	took := time.Since(start)
	used := processorTime(b) - spent
	keepAlives := took.Seconds() * idleRate
	b.ReportMetric(float64(used.Nanoseconds())/keepAlives, "ns/keepalive")
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "%core")
	b.ReportMetric(size, "B/session")
}

// awaitIdle starts the process with the peers and waits for their sessions.
func awaitIdle(b *testing.B, n *node.Node, opened opened, count int) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkIdle$", "-test.benchtime=1x", fmt.Sprint("-idle=", count))
	ticket := node.Ticket{Peer: n.ID(), Addrs: []netip.AddrPort{n.LocalAddr()}}
	cmd.Env = append(os.Environ(), idlePeers+"="+ticket.String())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	for n := 0; n < count; {
		select {
		case more := <-opened:
			n += more
		case <-time.After(time.Minute):
			b.Fatalf("the peers have opened %d sessions, and open no more", n)
		}
	}
}

// opened is a Handler that tells of each session that begins or ends: Accept holds few of
// them ready.
type opened chan int

func (o opened) Connected(*node.Conn)                         { o <- 1 }
func (o opened) Message(*node.Conn, node.Message)             {}
func (o opened) PathChanged(_ *node.Conn, old, new node.Path) {}
func (o opened) Closed(*node.Conn, error) {
	select {
	case o <- -1:
	default: // nobody counts any more
	}
}

// failed is a Handler that tells of each session that has ended: the node it is with
// heard of it too late.
type failed chan struct{}

func (f failed) Connected(*node.Conn)                         {}
func (f failed) Message(*node.Conn, node.Message)             {}
func (f failed) PathChanged(_ *node.Conn, old, new node.Path) {}
func (f failed) Closed(*node.Conn, error)                     { f <- struct{}{} }

// openIdle is the process with the peers. It ends when its standard input does, and
// without a word: to close so many sessions would take long.
func openIdle(b *testing.B, cfg node.Config, ticket string, sessions int) {
	go func() {
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	const peers, at = 10, 4
	to, err := node.ParseTicket(strings.TrimSpace(ticket))
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for range peers {
		cfg := cfg
		lost := make(failed, sessions)
		cfg.Handler = lost
		n, err := node.Listen(&cfg)
		if err != nil {
			b.Fatal(err)
		}
		dial := func() { // until it works: the machine may be too busy
			for {
				if _, err := n.DialTicket(context.Background(), to); err == nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		for range at {
			wg.Go(func() {
				for range sessions / peers / at {
					dial()
				}
			})
		}
		go func() {
			for range lost {
				dial()
			}
		}()
	}
	wg.Wait()
	select {}
}

// processorTime is how long this process has been at work.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
