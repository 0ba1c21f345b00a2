package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire"
)

// explained is what a reader of the JSON of why sees.
type explained struct {
	Event, Cause, Whose, Why, Advice, Unreached string
	Path                                        *struct{ Kind string }
	DirectAfterMS                               float64 `json:"direct_after_ms"`
	Local, Remote                               struct {
		Known    bool
		NAT      struct{ Mapping string }
		Attempts []struct {
			ID, Technique string
			Candidates    []struct {
				Kind, Addr string
				Heard      bool
			}
		}
	}
}

// explain runs why on loopback.
func explain(t *testing.T, args ...string) (e explained) {
	t.Helper()
	args = append([]string{"why", "--json", "--listen", "127.0.0.1:0"}, args...)
	stdout, stderr, code := runToEnd(t, holdfast(t, args...))
	if code != 0 {
		t.Fatalf("why: exit %d\n%s%s", code, stdout, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &e); err != nil || e.Event != "why" {
		t.Fatalf("printed %s: %v", stdout, err)
	}
	return e
}

func TestWhyShowsWhatBothSidesHaveTried(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	_, id := echoing(t, server.addr)
	e := explain(t, "--server", server.addr, id)
	if e.Cause != "none" || e.Path == nil || e.Path.Kind != "direct" || e.DirectAfterMS <= 0 || !e.Remote.Known {
		t.Fatalf("%+v: want a direct path, when it came, and the peer's report", e)
	}
	mine, theirs := e.Local.Attempts, e.Remote.Attempts
	if len(mine) != 1 || len(theirs) != 1 || mine[0].ID != theirs[0].ID {
		t.Fatalf("attempts %+v and %+v: want one, the same", mine, theirs)
	}
	if c := mine[0].Candidates; len(c) == 0 || !c[0].Heard || !strings.HasPrefix(c[0].Addr, "127.0.0.1:") {
		t.Errorf("candidates %+v: want one of loopback that has answered", c)
	}
}

func TestWhyNamesTheCauseAndWhoseItIs(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	echo := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0", "--server", server.addr, "--relay-only"))
	ticket, err := node.ParseTicket(ticketOf(echo))
	if err != nil || len(ticket.Addrs) != 0 {
		t.Errorf("the ticket of who tells no address has %v (%v)", ticket.Addrs, err)
	}
	e := explain(t, "--server", server.addr, "--wait", "50ms", ticket.Peer.String())
	if e.Cause != "relay-only" || e.Whose != "the peer" || e.Advice == "" || e.Path == nil || e.Path.Kind != "relayed" {
		t.Errorf("%+v: want the peer's wish for a relay", e)
	}
}

func TestCallWithoutAddressesNeedsARelay(t *testing.T) {
	t.Parallel()
	echo := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0"))
	_, stderr, code := runToEnd(t, holdfast(t, "ping", "--relay-only", "--count", "1", ticketOf(echo)))
	if code != 2 || !strings.Contains(stderr, "--relay-only needs a server") {
		t.Errorf("exit %d, want 2 and the reason\n%s", code, stderr)
	}
}

func TestEveryVerbThatWaitsLetsPeersLook(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"echo"}, {"bench"}, {"chat"}, {"receive", "--dir", t.TempDir()}} {
		p := start(t, holdfast(t, append(args, "--json", "--listen", "127.0.0.1:0")...))
		ticket := ticketOf(p)
		for range 2 { // it waits on afterwards
			if e := explain(t, ticket); e.Path == nil || !e.Remote.Known {
				t.Errorf("%s: %+v: want a path and the peer's report", args[0], e)
			}
		}
		p.interrupt()
		if strings.Contains(p.stderr.String(), "refused") {
			t.Errorf("%s refused a look:\n%s", args[0], p.stderr.String())
		}
	}
}

func TestPingUntilDirectTellsTheTrueCause(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	_, id := echoing(t, server.addr)
	_, stderr, code := runToEnd(t, holdfast(t, "ping", "--until-direct", "--count", "2", "--interval", "10ms", "--relay-only", "--listen", "127.0.0.1:0", "--server", server.addr, id))
	if code != 1 || !strings.Contains(stderr, node.CauseRelayOnly.Text()) || !strings.Contains(stderr, "holdfast: hint: "+node.CauseRelayOnly.Remedy()) {
		t.Errorf("exit %d, want 1, the cause and the advice\n%s", code, stderr)
	}
}

func TestPathsShowsTheOneThatCarriesTheDataFirst(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	_, id := echoing(t, server.addr)
	p := start(t, holdfast(t, "paths", "--json", "--listen", "127.0.0.1:0", "--server", server.addr, id))
	var first, second provedPathLine
	p.await("path", &first)
	p.await("path", &second)
	if code := p.wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if !first.Active || first.Kind != "direct" || !strings.HasPrefix(first.Local, "127.0.0.1:") || first.ElapsedMS <= 0 {
		t.Errorf("first path %+v: want a direct one that carries the data", first)
	}
	if second.Active || second.Kind != "relayed" {
		t.Errorf("second path %+v: want the relay standing by", second)
	}
}

// provedPathLine is what a reader of the JSON sees.
type provedPathLine struct {
	Active              bool
	Kind, Local, Remote string
	ElapsedMS           float64 `json:"elapsed_ms"`
}

func TestWatchedPathsReportChangesAndTheEnd(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	echo, id := echoing(t, server.addr)
	p := start(t, holdfast(t, "paths", "--watch", "--json", "--listen", "127.0.0.1:0", "--server", server.addr, id))
	var first provedPathLine
	if p.await("path", &first); first.Kind != "direct" {
		p.await("changed", nil)
	}
	if code := echo.interrupt(); code != 0 {
		t.Errorf("echo: exit %d\n%s", code, echo.stderr.String())
	}
	var closed pathChange
	p.await("closed", &closed)
	if code := p.wait(); code != 1 || closed.Error == "" || !strings.Contains(p.stderr.String(), "the peer has left") {
		t.Errorf("exit %d after %+v, want 1 and the reason\n%s", code, closed, p.stderr.String())
	}
}

func TestPathChangesReadWell(t *testing.T) {
	t.Parallel()
	direct := node.Path{Kind: node.Direct, Remote: addrPort("192.0.2.1:4000"), Local: addrPort("192.0.2.2:5000")}
	relayed := node.Path{Kind: node.Relayed, Remote: addrPort("192.0.2.3:3478")}
	for _, tt := range []struct {
		event node.Event
		want  string
	}{
		{node.Event{Kind: node.EventPathChanged, Old: relayed, New: direct}, "    1.50 s  path is now direct 192.0.2.1:4000 from 192.0.2.2:5000 (was " + relayed.String() + ")"},
		{node.Event{Kind: node.EventStranded, Old: direct, New: direct}, "    1.50 s  no path answers any more; looking for another"},
		{node.Event{Kind: node.EventClosed, Err: node.ErrIdleTimeout}, "    1.50 s  closed: "},
	} {
		if got := changeOf(tt.event, 1500*time.Millisecond).String(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.event.Kind, got, tt.want)
		}
	}
}

// The report comes from a stranger.
func TestReportOfThePeerIsShownBesideOursWithoutItsControlCharacters(t *testing.T) {
	t.Parallel()
	common, ours := uuid.New(), uuid.New()
	nat := wire.NAT{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressDependent, Ports: wire.PortsSequential, Step: 2}
	local := node.Report{Known: true, NAT: nat, Attempts: []node.AttemptReport{
		{ID: common, Age: 3 * time.Second, Own: true, Technique: "prediction", Local: nat, Guesses: 64, Candidates: []node.CandidateReport{
			{Kind: "reflexive", Addr: addrPort("192.0.2.1:4000")},
			{Kind: "host", Addr: addrPort("10.0.0.1:4000"), Refused: true},
		}},
		{ID: ours, Age: time.Second, Technique: "none", Local: nat},
	}}
	remote := node.Report{Known: true, Attempts: []node.AttemptReport{
		{ID: common, Age: 3 * time.Second, Technique: "pre\x1b[31mdiction", Error: "a\nb", Candidates: []node.CandidateReport{
			{Kind: "\x07", Addr: addrPort("192.0.2.2:4000"), Heard: true},
		}},
	}}
	text := sideBySide(local, remote)
	if strings.ContainsAny(text, "\x1b\x07") || !strings.Contains(text, "a\ufffdb") {
		t.Errorf("control characters are left:\n%q", text)
	}
	for _, want := range []string{
		"mapping address-and-port-dependent", "filtering address-dependent or less", "ports one after the other, +2", "kind unknown",
		"attempt 1 (" + common.String()[:8] + "), 3.0 s ago, asked for by this side",
		"attempt 2 (" + ours.String()[:8] + "), 1.0 s ago, asked for by the peer",
		"no answer   reflexive 192.0.2.1:4000", "not probed  host 10.0.0.1:4000", "answered    \ufffd 192.0.2.2:4000",
		"knows nothing of it", "guessed ports   64",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if text := sideBySide(local, node.Report{}); !strings.Contains(text, "has not told") || strings.Contains(text, "NAT then") {
		t.Errorf("without the peer's report:\n%s", text)
	}
}

// What is unusual about a path is said behind what is always.
func TestPathTellsOfMarksAndOfBatchesThatGotLost(t *testing.T) {
	for _, tt := range []struct {
		path node.Path
		want string
	}{
		{node.Path{}, "carries the data"},
		{node.Path{ECN: node.ECNCapable, Marked: 3}, "carries the data, ECN capable, 3 marked"},
		{node.Path{ECN: node.ECNFailed, Singly: true}, "carries the data, ECN failed, one datagram in each system call, since batches got lost"},
	} {
		if got := (provedPath{Active: true, Path: tt.path}).String(); !strings.HasSuffix(got, tt.want) {
			t.Errorf("%q does not end in %q", got, tt.want)
		}
	}
}
