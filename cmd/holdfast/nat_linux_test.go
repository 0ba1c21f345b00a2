package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/holdfast/netnstest"
)

var attempts = flag.Int("attempts", 20, "connection attempts for each pair of NATs")

// uplink is the delay between each network and the middle of the Internet: 30 ms
// one way between any two of them.
const uplink = 15 * time.Millisecond

// Limits of what these tests measure.
const (
	directWithin   = 300 * time.Millisecond // median from dial to direct path
	followedWithin = 250 * time.Millisecond // silence when the peer can be followed
	metWithin      = time.Second            // silence when the server has to introduce again
	bothMetWithin  = 2 * time.Second        // the same, when both have moved at once
	registerWithin = 5 * time.Second        // after the server is back
)

var (
	serverAddr = netip.MustParseAddr("192.0.2.1")
	aliceAddrs = [...]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("198.51.100.3")}
	bobAddrs   = [...]netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.3")}
)

// A natLab is two hosts, each with two NATs to be behind of, and a rendezvous
// server.
type natLab struct {
	t          *testing.T
	internet   *netnstest.Internet
	alice, bob natHost
	server     rendezvousProcess
	serverHost *netnstest.Host
	serverKey  string
}

// A natHost is one of the two hosts.
type natHost struct {
	*netnstest.Host
	home, away *netnstest.Router
	spare      netip.Addr // another public address for the router
}

// newNATLab makes a lab whose hosts are behind NATs of these kinds.
func newNATLab(t *testing.T, alice, bob netnstest.Kind) *natLab {
	t.Helper()
	l := newEmptyLab(t)
	l.alice = l.newHost("a", alice, aliceAddrs)
	l.bob = l.newHost("b", bob, bobAddrs)
	return l
}

// newEmptyLab makes a lab with nothing but the server.
func newEmptyLab(t *testing.T) *natLab {
	t.Helper()
	l := &natLab{t: t, internet: netnstest.New("hf"), serverKey: filepath.Join(t.TempDir(), "key")}
	t.Cleanup(func() {
		if err := l.internet.Close(); err != nil {
			t.Error(err)
		}
	})
	l.serverHost = must(l.internet.PublicHost("s", uplink, serverAddr))
	l.startServer()
	return l
}

func (l *natLab) newHost(name string, nat netnstest.Kind, addrs [3]netip.Addr) natHost {
	h := natHost{
		home:  must(l.internet.Router(name+"h", nat, addrs[0], uplink)),
		away:  must(l.internet.Router(name+"w", nat, addrs[1], uplink)),
		spare: addrs[2],
	}
	h.Host = must(l.internet.Host(name, h.home, h.away))
	return h
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// startServer starts the server, with the same key and address every time.
func (l *natLab) startServer() {
	l.t.Helper()
	cmd := l.serverHost.Command(l.context(), builtCommand("rendezvous"), "--json", "--key", l.serverKey, "--listen", serverAddr.String()+":3478")
	l.server = awaitServer(start(l.t, isolate(l.t, cmd)))
}

func (l *natLab) context() context.Context {
	return deadlineIn(l.t, 10*time.Minute+*carrierTime+*suspendTime)
}

// holdfast returns the command on a host.
func (l *natLab) holdfast(h natHost, args ...string) *exec.Cmd {
	return isolate(l.t, h.Command(l.context(), builtCommand("holdfast"), append(args, "--json", "--server", l.server.addr)...))
}

// peer starts a labPeer on a host.
func (l *natLab) peer(h natHost, ticket string) *process {
	l.t.Helper()
	cfg := must(json.Marshal(map[string]string{"Listen": fmt.Sprintf(":%d", netnstest.Port), "Server": l.server.addr, "Peer": ticket}))
	cmd := isolate(l.t, h.Command(l.context(), must(os.Executable())))
	cmd.Env = append(cmd.Env, labPeerEnv+"="+string(cfg))
	return start(l.t, cmd)
}

// cones are the NATs with endpoint-independent mapping, the friendliest first.
var cones = []netnstest.Kind{netnstest.FullCone, netnstest.AddrRestricted, netnstest.PortRestricted}

// eachPair calls f for the pairs of cones.
func eachPair(t *testing.T, f func(t *testing.T, alice, bob netnstest.Kind)) {
	for i, alice := range cones {
		for _, bob := range cones[i:] {
			t.Run(fmt.Sprintf("%v,%v", alice, bob), func(t *testing.T) { f(t, alice, bob) })
		}
	}
}

func TestPeersBehindNATsConnectDirectly(t *testing.T) {
	netnstest.Require(t)
	eachPair(t, func(t *testing.T, alice, bob netnstest.Kind) {
		l := newNATLab(t, alice, bob)
		ticket := ticketOf(start(t, l.holdfast(l.bob, "echo")))
		var took []time.Duration
		for range *attempts {
			took = append(took, l.connect(ticket))
			l.forget()
		}
		slices.Sort(took)
		median := took[len(took)/2]
		t.Logf("direct in %d of %d attempts: median %v, most %v", len(took), *attempts, median, took[len(took)-1])
		if median > directWithin {
			t.Errorf("median %v until the path was direct, want at most %v", median, directWithin)
		}
	})
}

// connect lets alice ping until the path is direct, and returns how long that
// took.
func (l *natLab) connect(ticket string) time.Duration {
	l.t.Helper()
	p := start(l.t, l.holdfast(l.alice, "ping", "--until-direct", "--count", "6", "--interval", "500ms", ticket))
	var sum pingSummaryLine
	p.await("summary", &sum)
	if code := p.wait(); code != 0 {
		l.t.Fatalf("ping --until-direct: exit %d: %+v\n%s", code, sum, p.stderr.String())
	}
	return time.Duration(sum.DirectAfterMS * float64(time.Millisecond))
}

// forget makes the NATs forget that the two hosts have ever met.
func (l *natLab) forget() {
	l.t.Helper()
	for _, err := range []error{l.alice.home.Forget(l.bob.home.Addr()), l.bob.home.Forget(l.alice.home.Addr())} {
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

func TestPeersThatCannotPunchConnectThroughTheRelay(t *testing.T) {
	netnstest.Require(t)
	for _, tt := range []struct {
		alice, bob netnstest.Kind
		want       string
	}{
		{netnstest.FullCone, netnstest.RandomPorts, "direct"},
		{netnstest.AddrRestricted, netnstest.RandomPorts, "direct"},
		{netnstest.PortRestricted, netnstest.RandomPorts, "relayed"},
		{netnstest.RandomPorts, netnstest.RandomPorts, "relayed"},
	} {
		t.Run(fmt.Sprintf("%v,%v", tt.alice, tt.bob), func(t *testing.T) {
			l := newNATLab(t, tt.alice, tt.bob)
			ticket := ticketOf(start(t, l.holdfast(l.bob, "echo")))
			p := start(t, l.holdfast(l.alice, "ping", "--count", "4", "--interval", "700ms", ticket))
			var sum pingSummaryLine
			p.await("summary", &sum)
			if code := p.wait(); code != 0 || sum.Received == 0 || sum.Path.Kind != tt.want {
				t.Errorf("exit %d, %+v; want a path that is %s\n%s", code, sum, tt.want, p.stderr.String())
			}
		})
	}
}

// A change is something that happens to the networks of an established session.
type change struct {
	name string
	do   func(l *natLab) error
	both bool // happens to both sides at once
	keep bool // the public address stays: only the port changes
}

func newPort(h natHost) error    { return h.Router().Rebind() }
func newAddress(h natHost) error { return h.Router().Renumber(h.spare) }
func newNetwork(h natHost) error { return h.Move(h.away) }

var changes = []change{
	{name: "alice new port", do: func(l *natLab) error { return newPort(l.alice) }, keep: true},
	{name: "bob new port", do: func(l *natLab) error { return newPort(l.bob) }, keep: true},
	{name: "both new port", do: both(newPort), both: true, keep: true},
	{name: "alice new address", do: func(l *natLab) error { return newAddress(l.alice) }},
	{name: "bob new address", do: func(l *natLab) error { return newAddress(l.bob) }},
	{name: "both new network", do: both(newNetwork), both: true},
	{name: "alice back home", do: func(l *natLab) error { return l.alice.Move(l.alice.home) }},
	{name: "bob back home", do: func(l *natLab) error { return l.bob.Move(l.bob.home) }},
}

// both applies the change to both sides as simultaneously as two commands are.
func both(f func(natHost) error) func(*natLab) error {
	return func(l *natLab) error {
		done := make(chan error, 1)
		go func() { done <- f(l.bob) }()
		err := f(l.alice)
		return errors.Join(err, <-done)
	}
}

// limit is how long the session may be silent: a peer whose NAT filters nothing
// can be followed, and so can one whose NAT filters by address, if only the port
// has changed; else the server must introduce the two again.
func (c change) limit(nat netnstest.Kind) time.Duration {
	followed := nat == netnstest.FullCone || nat == netnstest.AddrRestricted && c.keep
	switch {
	case c.both:
		return bothMetWithin
	case followed:
		return followedWithin
	default:
		return metWithin
	}
}

func TestEstablishedSessionSurvivesChangesOfNetwork(t *testing.T) {
	netnstest.Require(t)
	for _, nat := range cones {
		t.Run(nat.String(), func(t *testing.T) {
			l := newNATLab(t, nat, nat)
			talk := l.talk()
			for _, c := range changes {
				talk.survives(c.name, func() error { return c.do(l) }, c.limit(nat))
			}
			talk.finish()
		})
	}
}

func TestPeerWithoutNATFollows(t *testing.T) {
	netnstest.Require(t)
	l := newEmptyLab(t)
	l.alice = l.newHost("a", netnstest.PortRestricted, aliceAddrs)
	l.bob = natHost{Host: must(l.internet.PublicHost("b", uplink, bobAddrs[0]))}
	talk := l.talk()
	talk.survives("alice new port", func() error { return newPort(l.alice) }, followedWithin)
	talk.survives("alice new address", func() error { return newAddress(l.alice) }, followedWithin)
	talk.survives("alice new network", func() error { return newNetwork(l.alice) }, followedWithin)
	talk.finish()
}

func TestDirectSessionDoesNotNoticeTheServersEnd(t *testing.T) {
	netnstest.Require(t)
	l := newNATLab(t, netnstest.PortRestricted, netnstest.PortRestricted)
	talk := l.talk()
	talk.survives("server killed", func() error { l.server.kill(); return nil }, followedWithin)
	l.startServer()
	back := time.Now()
	for _, p := range []*process{talk.alice, talk.bob} {
		var e labEvent
		p.await("registered", &e)
		took := time.UnixMilli(e.AtMS).Sub(back)
		t.Logf("registered again after %v", took)
		if took > registerWithin {
			t.Errorf("registered again %v after the server was back, want at most %v", took, registerWithin)
		}
	}
	// The server that returned has to introduce the two again.
	talk.survives("alice new address", func() error { return newAddress(l.alice) }, metWithin)
	talk.finish()
}

// Limits of what an outage may cost: how long the silence may outlast it, and
// where there is a direct path again, how soon it must be used.
const (
	relayedWithin = 300 * time.Millisecond // the direct path alone is gone
	tunnelWithin  = time.Second            // UDP is gone
	switchWithin  = 500 * time.Millisecond // after the new address
	plugWithin    = 300 * time.Millisecond // after the link is back
	rebootWithin  = 500 * time.Millisecond // after the NAT is back
	directAgain   = 3 * time.Second
)

// Each trouble befalls two hosts whose NATs filter by address and port, while they
// talk over a direct path.
func TestEstablishedSessionSurvivesChangesOfNetworkThatCutIt(t *testing.T) {
	netnstest.Require(t)
	const down = 5 * time.Second
	l := newNATLab(t, netnstest.PortRestricted, netnstest.PortRestricted)
	talk := l.talk()
	talk.survives("direct path blocked", func() error {
		l.internet.BlockBetween(l.alice.home.Addr(), l.bob.home.Addr())
		return nil
	}, relayedWithin)
	l.internet.UnblockBetween(l.alice.home.Addr(), l.bob.home.Addr())
	talk.directAgain("direct path unblocked")

	talk.survives("UDP blocked", l.alice.home.BlockUDP, tunnelWithin)
	talk.survives2("UDP unblocked", l.alice.home.UnblockUDP, relayedWithin)
	talk.directAgain("UDP unblocked")

	talk.survives("link down", func() error {
		err := l.alice.Unplug()
		netnstest.Pass(down)
		return errors.Join(err, l.alice.Plug())
	}, down+plugWithin)
	talk.directAgain("link up")

	talk.survives("NAT rebooted", func() error { return l.alice.home.Reboot(down, l.alice.spare) }, down+rebootWithin)
	talk.directAgain("NAT rebooted")

	talk.survives("uplink switched", func() error { return l.alice.Switch(l.alice.away, 2*time.Second) }, 2*time.Second+switchWithin)
	talk.directAgain("uplink switched")

	// The server cannot help either.
	l.server.kill()
	talk.survives("link down, server killed", func() error {
		err := l.bob.Unplug()
		netnstest.Pass(down)
		return errors.Join(err, l.bob.Plug())
	}, down+plugWithin)
	l.startServer()
	talk.directAgain("server back")
	talk.finish()
}

var (
	carrierAge  = flag.Duration("carrier-age", 10*time.Second, "after which a carrier drops a mapping")
	carrierTime = flag.Duration("carrier-time", 40*time.Second, "for how long two hosts talk over that carrier")
	suspendTime = flag.Duration("suspend", 30*time.Second, "for how long a node is suspended")
)

// A carrier's NAT drops every mapping some time after it was made, used or not.
func TestEstablishedSessionSurvivesChangesOfNetworkByItsCarrier(t *testing.T) {
	netnstest.Require(t)
	l := newNATLab(t, netnstest.CGNPortRestricted, netnstest.PortRestricted)
	if err := l.alice.home.Carrier().ExpireMappings(*carrierAge); err != nil {
		t.Fatal(err)
	}
	talk := l.talk()
	talk.direct()
	talk.mark()
	netnstest.Pass(*carrierTime)
	gap := talk.mark()
	t.Logf("mappings dropped after %v, for %v: silent for %v at most", *carrierAge, *carrierTime, gap)
	if gap > 500*time.Millisecond {
		t.Errorf("silent for %v, want at most 500ms", gap)
	}
	talk.finish()
}

// A process that is stopped is what a suspended machine is to everybody else: its
// mappings are gone, and perhaps its registration.
func TestPeerBehindNATsIsReachableSoonAfterItWakes(t *testing.T) {
	netnstest.Require(t)
	l := newNATLab(t, netnstest.PortRestricted, netnstest.PortRestricted)
	if err := l.bob.home.Timeouts(10*time.Second, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	sleeper := start(t, l.holdfast(l.bob, "echo"))
	ticket := ticketOf(sleeper)
	if err := sleeper.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	netnstest.Pass(*suspendTime)
	if err := sleeper.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	woke := time.Now()
	for {
		p := start(t, l.holdfast(l.alice, "ping", "--count", "1", "--timeout", "500ms", ticket))
		if p.wait() == 0 {
			break
		}
		if time.Since(woke) > 20*time.Second {
			t.Fatal("not reachable any more")
		}
	}
	took := time.Since(woke)
	t.Logf("suspended for %v, reachable %v after it woke", *suspendTime, took)
	if took > 2*time.Second {
		t.Errorf("reachable %v after it woke, want at most 2s", took)
	}
}

// Two hosts behind one NAT meet inside, whether or not it turns packets around.
func TestPeersBehindNATsOfOneHomeMeetInside(t *testing.T) {
	netnstest.Require(t)
	for _, kind := range []netnstest.Kind{netnstest.PortRestricted, netnstest.Hairpin, netnstest.RandomPorts} {
		t.Run(kind.String(), func(t *testing.T) {
			l := newEmptyLab(t)
			home := must(l.internet.Router("home", kind, aliceAddrs[0], uplink))
			alice := natHost{Host: must(l.internet.Host("a", home))}
			l.bob = natHost{Host: must(l.internet.Host("b", home))}
			ticket := ticketOf(start(t, l.holdfast(l.bob, "echo")))
			l.alice = alice
			took := l.connect(ticket)
			t.Logf("direct after %v", took)
			if took > directWithin {
				t.Errorf("direct after %v, want at most %v", took, directWithin)
			}
		})
	}
}

// Two hosts on one link meet without a server, by the peer ID alone.
func TestPeersBehindNATsFindEachOtherOnTheirLink(t *testing.T) {
	netnstest.Require(t)
	l := newEmptyLab(t)
	home := must(l.internet.Router("home", netnstest.PortRestricted, aliceAddrs[0], uplink))
	alice, bob := must(l.internet.Host("a", home)), must(l.internet.Host("b", home))
	onLAN := func(h *netnstest.Host, args ...string) *process {
		cmd := h.Command(l.context(), builtCommand("holdfast"), append(args, "--json", "--lan")...)
		return start(t, isolate(t, cmd))
	}
	var online struct{ ID string }
	onLAN(bob, "echo").await("online", &online)
	p := onLAN(alice, "ping", "--count", "2", "--interval", "100ms", online.ID)
	var sum pingSummaryLine
	p.await("summary", &sum)
	if code := p.wait(); code != 0 || sum.Received != 2 || sum.Path.Kind != "direct" {
		t.Errorf("exit %d, %+v\n%s", code, sum, p.stderr.String())
	}
}

// A conversation is a session between two labPeers.
type conversation struct {
	t          *testing.T
	alice, bob *process
}

// talk starts a conversation and waits until it is on a direct path.
func (l *natLab) talk() *conversation {
	l.t.Helper()
	c := &conversation{t: l.t}
	c.bob = l.peer(l.bob, "")
	c.alice = l.peer(l.alice, ticketOf(c.bob))
	for _, p := range []*process{c.alice, c.bob} {
		p.await("connected", nil)
	}
	c.quiet()
	return c
}

// quiet waits until both have heard a second's worth of messages.
func (c *conversation) quiet() {
	c.t.Helper()
	c.tell("hear 200")
	for _, p := range []*process{c.alice, c.bob} {
		p.await("hear", nil)
	}
}

func (c *conversation) tell(order string) {
	c.alice.tell("%s", order)
	c.bob.tell("%s", order)
}

// direct waits until both sides talk over a direct path, as all pairs with
// endpoint-independent mapping can.
func (c *conversation) direct() {
	c.t.Helper()
	c.tell("direct")
	for _, p := range []*process{c.alice, c.bob} {
		var e labEvent
		if p.await("direct", &e); e.Text != "direct" {
			c.t.Errorf("the path is still %s after %v:\n%s", e.Text, labTimeout, strings.Join(p.passed, "\n"))
		}
	}
}

// survives makes the change while the two talk over a direct path, and checks the
// longest silence on either side around it.
func (c *conversation) survives(name string, change func() error, limit time.Duration) {
	c.t.Helper()
	c.direct()
	c.mark()
	c.alice.passed, c.bob.passed = nil, nil
	if err := change(); err != nil {
		c.t.Fatal(err)
	}
	c.quiet()
	c.quiet()
	gap := c.mark()
	c.t.Logf("%s: silent for %v", name, gap)
	if gap > limit {
		c.t.Errorf("%s: silent for %v, want at most %v\nalice:\n%s\nbob:\n%s", name, gap, limit,
			strings.Join(c.alice.passed, "\n"), strings.Join(c.bob.passed, "\n"))
	}
}

// survives2 is survives for a change that finds the two on a relay.
func (c *conversation) survives2(name string, change func() error, limit time.Duration) {
	c.t.Helper()
	c.mark()
	if err := change(); err != nil {
		c.t.Fatal(err)
	}
	c.quiet()
	gap := c.mark()
	c.t.Logf("%s: silent for %v", name, gap)
	if gap > limit {
		c.t.Errorf("%s: silent for %v, want at most %v", name, gap, limit)
	}
}

// directAgain checks that the two return to a direct path soon.
func (c *conversation) directAgain(name string) {
	c.t.Helper()
	begun := time.Now()
	c.direct()
	took := time.Since(begun)
	c.t.Logf("%s: direct again within %v", name, took)
	if took > directAgain {
		c.t.Errorf("%s: direct again after %v, want at most %v", name, took, directAgain)
	}
}

func (c *conversation) mark() time.Duration {
	c.t.Helper()
	c.tell("mark")
	var a, b labEvent
	c.alice.await("mark", &a)
	c.bob.await("mark", &b)
	return time.Duration(max(a.GapMS, b.GapMS) * float64(time.Millisecond))
}

// finish ends the conversation and compares what was said with what was heard.
func (c *conversation) finish() {
	c.t.Helper()
	c.tell("hush")
	var alice, bob labEvent
	c.alice.await("hush", &alice)
	c.bob.await("hush", &bob)
	c.alice.tell("total %d", bob.Said)
	c.bob.tell("total %d", alice.Said)
	c.check(c.alice, bob.Said)
	c.check(c.bob, alice.Said)
}

func (c *conversation) check(p *process, said int) {
	c.t.Helper()
	var got labEvent
	p.await("total", &got)
	if got.Heard != said || got.Repeated != 0 || got.Overtaken != 0 {
		c.t.Errorf("of %d messages %d arrived, %d repeated, %d out of order", said, got.Heard, got.Repeated, got.Overtaken)
	}
}
