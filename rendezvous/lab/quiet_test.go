package lab

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// inWorld runs a test in a world of its own, in virtual time.
func inWorld(t *testing.T, f func(t *testing.T, w *World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, err := New(*seed, oneWay)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		defer func() {
			if t.Failed() {
				t.Logf("replay: go test ./rendezvous/lab -run '%s' -seed %d\n%s", t.Name(), *seed, w.Net.Ladder())
			}
		}()
		f(t, w)
	})
}

func (w *World) add(t *testing.T, k Kind, cfg *node.Config) Place {
	t.Helper()
	p, err := w.Add(k, cfg)
	return online(t, p, err)
}

// addBehind is add for a NAT that is none of the kinds.
func (w *World) addBehind(t *testing.T, nat wiretest.NATConfig) Place {
	t.Helper()
	p, err := w.AddBehind(nat, nil)
	return online(t, p, err)
}

// online waits until a new node is online.
func online(t *testing.T, p Place, err error) Place {
	t.Helper()
	if err == nil {
		err = p.Node.WaitOnline(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// call opens a session and returns both ends.
func call(t *testing.T, a, b *node.Node) (ab, ba *node.Conn) {
	t.Helper()
	ab, err := a.Dial(t.Context(), b.ID())
	if err != nil {
		t.Fatal(err)
	}
	if ba, err = b.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ab, ba
}

// A node that holds 10 idle sessions and a registration sends almost nothing, and
// can be spoken to at once all the same.
func TestIdleNodeIsQuiet(t *testing.T) {
	inWorld(t, func(t *testing.T, w *World) {
		a := w.add(t, PortRestricted, nil)
		var there, here []*node.Conn
		for range 10 {
			b := w.add(t, PortRestricted, nil)
			ba, ab := call(t, b.Node, a.Node)
			there, here = append(there, ba), append(here, ab)
		}
		time.Sleep(10 * time.Minute) // lifetimes are measured, retries are over
		var sent atomic.Int64
		w.Net.Do(func(*wiretest.Net) {
			a.Host.Up.Drop = func(time.Duration, []byte) bool { sent.Add(1); return false }
		})
		const minutes = 60
		time.Sleep(minutes * time.Minute)
		if perMinute := float64(sent.Load()) / minutes; perMinute > 4 {
			t.Errorf("an idle node sent %.1f datagrams a minute, want at most 4", perMinute)
		} else {
			t.Logf("%.2f datagrams a minute", perMinute)
		}
		for k := range there {
			begun := time.Now()
			for _, way := range [][2]*node.Conn{{there[k], here[k]}, {here[k], there[k]}} {
				if err := way[0].Send(t.Context(), []byte("wake up")); err != nil {
					t.Fatal(err)
				}
				if _, err := way[1].Recv(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(begun); took > 300*time.Millisecond {
				t.Errorf("a message each way took %v after an hour of silence", took)
			}
		}
	})
}
