package node_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/nodetest"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// What an idle session costs decides how many a node can have: 100,000 are to fit
// into 400 MB.
func TestIdleSessionsAreSmall(t *testing.T) {
	const (
		sessions = 1000
		bytesMax = 3500
	)
	bubble(t, func(t *testing.T, net *nodetest.Net) {
		p := newPair(t, net, wiretest.Link{Delay: time.Millisecond}, node.Config{})
		before := inUse()
		conns := make([]*node.Conn, 0, 2*sessions)
		ctx, text := t.Context(), []byte("hello")
		for range sessions {
			ab, err := p.alice.DialAddr(ctx, p.bob.ID(), p.bob.addr())
			if err != nil {
				t.Fatal(err)
			}
			ba, err := p.bob.Accept(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := ab.Send(ctx, text); err != nil {
				t.Fatal(err)
			}
			if _, err := ba.Recv(ctx); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, ab, ba)
		}
		time.Sleep(5 * time.Minute)
		if got := (inUse() - before) / len(conns); got > bytesMax {
			t.Errorf("an idle session takes %d bytes at each end, %d are allowed", got, bytesMax)
		} else {
			t.Logf("%d bytes", got)
		}
		runtime.KeepAlive(conns)
	})
}

// inUse is what the program holds once all garbage is gone.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
