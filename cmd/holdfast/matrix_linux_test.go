package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/holdfast/netnstest"
	"github.com/seed-67dce94e/holdfast/rendezvous/lab"
	"github.com/seed-67dce94e/holdfast/wire"
)

var (
	matrixAttempts = flag.Int("matrix-attempts", 3, "connection attempts for each pair of the matrix")
	matrixOnly     = flag.String("matrix-only", "", "the kinds to try, as A,B; if empty, all pairs")
	matrixAtOnce   = flag.Int("matrix-at-once", 6, "how many pairs are tried at the same time")
)

var server6 = netip.MustParseAddr("2001:db8:ffff::1")

// A matrixCell is what came of one pair of kinds.
type matrixCell struct {
	outcome       lab.Outcome
	first, direct time.Duration // medians
	directs       int
}

// Every pair of networks, with the kernel's own NATs, comes to what it must; the
// matrix of how long that takes is printed.
func TestEachPairBehindNATsComesToWhatItMust(t *testing.T) {
	netnstest.Require(t)
	cells := make(map[lab.Pair]matrixCell)
	var mu sync.Mutex
	t.Run("pairs", func(t *testing.T) {
		gate := make(chan struct{}, *matrixAtOnce)
		for _, p := range must(pairsOf("", false)) {
			ka, kb := kernelKind(p.A), kernelKind(p.B)
			if *matrixOnly != "" && *matrixOnly != ka.Name+","+kb.Name && *matrixOnly != kb.Name+","+ka.Name {
				continue
			}
			t.Run(ka.Name+","+kb.Name, func(t *testing.T) {
				t.Parallel()
				gate <- struct{}{}
				defer func() { <-gate }()
				c := tryPair(t, p, ka, kb)
				mu.Lock()
				defer mu.Unlock()
				cells[p] = c
			})
		}
	})
	t.Logf("seconds until the path was direct (median of %d), or why it is not:\n%s", *matrixAttempts, lab.Table(func(a, b lab.Kind) string {
		switch c, ok := cells[lab.Pair{A: a, B: b}]; {
		case !ok:
			return "?"
		case c.outcome.Direct:
			return fmt.Sprintf("%.2f", c.direct.Seconds())
		default:
			return strings.ToUpper(c.outcome.Cause.String()[:1])
		}
	}))
}

// kernelKind returns the kind of the laboratory's as the kernel's own NATs make it.
func kernelKind(k lab.Kind) netnstest.Kind {
	i := slices.IndexFunc(netnstest.Kinds, func(x netnstest.Kind) bool { return x.Name == k.String() })
	return netnstest.Kinds[i] // panics if there is none
}

// tryPair lets b answer and a call, and checks what comes of it.
func tryPair(t *testing.T, p lab.Pair, ka, kb netnstest.Kind) (cell matrixCell) {
	in := netnstest.New("mx")
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	host := must(in.PublicHost("s", uplink, serverAddr, server6))
	ctx := deadlineIn(t, 8*time.Minute)
	cmd := host.Command(ctx, builtCommand("rendezvous"), "--json", "--key", t.TempDir()+"/key", "--listen", ":3478", "--public-host", serverAddr.String())
	server := awaitServer(start(t, isolate(t, cmd)))
	peer := func(k netnstest.Kind, name, ticket string, addr netip.Addr) *process {
		if k.IPv6 {
			addr = netip.MustParseAddr("2001:db8:" + name + "::2")
		}
		h := must(in.HostOf(k, name, addr, uplink))
		cfg := must(json.Marshal(matrixPeer{
			Server: serverFor(server.addr, k), Peer: ticket, Attempts: *matrixAttempts, Patience: 25 * time.Second,
		}))
		cmd := isolate(t, h.Command(ctx, must(os.Executable())))
		cmd.Env = append(cmd.Env, matrixPeerEnv+"="+string(cfg))
		return start(t, cmd)
	}
	callee := peer(kb, "b", "", bobAddrs[0])
	caller := peer(ka, "a", ticketOf(callee), aliceAddrs[0])
	var first, direct []time.Duration
	want := lab.Expect(p.A, p.B, true)
	for range *matrixAttempts {
		var e matrixEvent
		caller.await("attempt", &e)
		first = append(first, time.Duration(e.FirstMS*float64(time.Millisecond)))
		if e.DirectMS > 0 {
			direct = append(direct, time.Duration(e.DirectMS*float64(time.Millisecond)))
			continue
		}
		cell.outcome.Cause.UnmarshalText([]byte(e.Cause))
		if want.Direct {
			t.Logf("not direct: %s", e.Text)
		} else if e.Cause != want.Cause.String() {
			t.Errorf("the cause is said to be %s, want %v: %s", e.Cause, want.Cause, e.Text)
		}
		if !e.Remote {
			t.Error("the other side did not tell its part")
		}
	}
	slices.Sort(first)
	slices.Sort(direct)
	cell.directs, cell.first = len(direct), first[len(first)/2]
	if len(direct) > 0 {
		cell.direct, cell.outcome = direct[len(direct)/2], lab.Outcome{Direct: true}
	}
	t.Logf("%v: first message after %v, direct in %d of %d attempts after %v", p, cell.first, len(direct), len(first), direct)
	if want.Direct && len(direct) < enough(p, len(first)) || !want.Direct && len(direct) > 0 {
		t.Errorf("%v: direct in %d of %d attempts, want %v", p, len(direct), len(first), want)
	}
	if limit := lab.DirectWithin(p.A, p.B); want.Direct && cell.direct > limit {
		t.Errorf("%v: direct after %v, want at most %v", p, cell.direct, limit)
	}
	return cell
}

// enough is how many attempts must come to a direct path: more than half, but one
// where that is a matter of chance.
func enough(p lab.Pair, attempts int) int {
	if p.A == lab.Random || p.B == lab.Random {
		return 1
	}
	return attempts/2 + 1
}

// serverFor names the server by an address that a host of the kind can reach.
func serverFor(addr string, k netnstest.Kind) string {
	s := must(wire.ParseServer(addr))
	if k.IPv6 {
		s.Addr = netip.AddrPortFrom(server6, 3478).String()
	}
	return s.String()
}
