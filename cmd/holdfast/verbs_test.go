package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-67dce94e/holdfast/node"
)

// somebody is a peer ID that nobody has the key of.
func somebody(t *testing.T) string {
	t.Helper()
	key, err := node.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key.ID().String()
}

func TestMisuseExitsWithTwoAndSaysWhy(t *testing.T) {
	t.Parallel()
	id := somebody(t)
	for _, tt := range []struct{ args, want string }{
		{"", "no verb given"},
		{"frobnicate", `no verb "frobnicate"`},
		{"ping", "want PEER"},
		{"ping --bogus " + id, "bogus"},
		{"ping " + id, "add --server"},
		{"ping " + id + " " + id, "unexpected argument"},
		{"ping --count -1 " + id, "--count"},
		{"ping " + id[:len(id)-1] + "7", "PEER"},
		{"send onlyfile", "want FILE PEER"},
		{"ping photo.jpg", "neither a ticket"},
		{"echo --server nonsense", "--server"},
		{"echo", "add --server"},
		{"why", "want PEER"},
		{"why --wait -1s " + id, "--wait"},
		{"why " + id, "add --server"},
		{"paths --wait -1s " + id, "--wait"},
		{"doctor now", "unexpected argument"},
		{"lab --pair linux", "two kinds"},
		{"lab --pair linux,windows", "port-restricted"},
		{"lab --jobs 0", "--jobs"},
	} {
		stdout, stderr, code := runToEnd(t, holdfast(t, strings.Fields(tt.args)...))
		if code != 2 || !strings.Contains(stderr, "holdfast: error: ") || !strings.Contains(stderr, tt.want) {
			t.Errorf("holdfast %s: exit %d, want 2 and an error with %q; stderr:\n%s", tt.args, code, tt.want, stderr)
		}
		if stdout != "" {
			t.Errorf("holdfast %s: printed to standard output:\n%s", tt.args, stdout)
		}
	}
}

func TestHelpNamesEveryVerb(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := runToEnd(t, holdfast(t, "help"))
	if code != 0 || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	for _, verb := range command(nil, nil, nil).Commands {
		if !strings.Contains(stdout, "\n   "+verb.Name+" ") {
			t.Errorf("help does not name the verb %s", verb.Name)
		}
	}
}

func TestIDIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "deep", "key")
	first, stderr, code := runToEnd(t, holdfast(t, "id", "--key", file))
	if _, err := node.ParsePeerID(first); code != 0 || err != nil {
		t.Fatalf("exit %d, %v, stderr:\n%s", code, err, stderr)
	}
	cmd := holdfast(t, "id", "--json")
	cmd.Env = append(cmd.Env, "HOLDFAST_KEY="+file)
	second, _, _ := runToEnd(t, cmd)
	var id identity
	if err := json.Unmarshal([]byte(second), &id); err != nil || id.ID.String() != strings.TrimSpace(first) {
		t.Errorf("second run printed %s (%v), want the identity %s", second, err, first)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want mode 0600", info, err)
	}
}

func TestDamagedKeyFileIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("not a key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := runToEnd(t, holdfast(t, "id", "--key", file))
	if code != 1 || !strings.Contains(stderr, file) {
		t.Errorf("exit %d, want 1 and an error that names the file; stderr:\n%s", code, stderr)
	}
	if b, _ := os.ReadFile(file); string(b) != "not a key\n" {
		t.Errorf("the file is now %q", b)
	}
}

func TestPingMeetsEchoThroughTheServer(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	echo := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0", "--server", server.addr))
	ticket := ticketOf(echo)
	stdout, stderr, code := runToEnd(t, holdfast(t, "ping", "--json", "--count", "3", "--interval", "10ms", "--listen", "127.0.0.1:0", ticket))
	if code != 0 {
		t.Fatalf("ping: exit %d\n%s%s", code, stdout, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var sum pingSummaryLine
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Event != "summary" || sum.Sent != 3 || sum.Received != 3 || sum.MinMS <= 0 {
		t.Errorf("summary %+v, want 3 pings answered", sum)
	}
	if code := echo.interrupt(); code != 0 {
		t.Errorf("echo: exit %d after an interrupt, want 0\n%s", code, echo.stderr.String())
	}
}

func TestPingUntilDirectStopsAtADirectPath(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	_, id := echoing(t, server.addr)
	p := start(t, holdfast(t, "ping", "--json", "--until-direct", "--count", "50", "--listen", "127.0.0.1:0", "--server", server.addr, id))
	var sum pingSummaryLine
	p.await("summary", &sum)
	if code := p.wait(); code != 0 || sum.Path.Kind != "direct" || sum.Sent > 5 {
		t.Errorf("exit %d, %+v; want a direct path after a few pings\n%s", code, sum, p.stderr.String())
	}
}

// pingSummaryLine is what a reader of the JSON sees.
type pingSummaryLine struct {
	Event          string
	Sent, Received int
	MinMS          float64 `json:"rtt_min_ms"`
	Path           struct{ Kind string }
	DirectAfterMS  float64 `json:"direct_after_ms"`
}

func TestTicketAloneIsEnoughWithoutAServer(t *testing.T) {
	t.Parallel()
	echo := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0"))
	stdout, stderr, code := runToEnd(t, holdfast(t, "ping", "--count", "1", "--listen", "127.0.0.1:0", ticketOf(echo)))
	if code != 0 || !strings.Contains(stdout, "1 sent, 1 answered, 0 lost") || !strings.Contains(stdout, "direct 127.0.0.1:") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// A server that has just started gives peers 10 s to come back to it.
func TestAbsentPeerIsReportedWithAHint(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	why := start(t, holdfast(t, "why", "--json", "--listen", "127.0.0.1:0", "--server", server.addr, somebody(t)))
	stdout, stderr, code := runToEnd(t, holdfast(t, "ping", "--listen", "127.0.0.1:0", "--server", server.addr, somebody(t)))
	if code != 1 || !strings.Contains(stderr, "not registered") || !strings.Contains(stderr, "holdfast: hint: ") || stdout != "" {
		t.Errorf("exit %d, want 1, an error and a hint\n%s%s", code, stdout, stderr)
	}
	var e explained
	why.await("why", &e)
	if code := why.wait(); code != 0 || e.Cause != "peer-absent" || e.Path != nil || e.Unreached == "" || e.Remote.Known {
		t.Errorf("why: exit %d, %+v: want an absent peer to be explained", code, e)
	}
}

func TestCallingOneselfDoesNotUnseatWhoListens(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	key := filepath.Join(t.TempDir(), "key")
	echo := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0", "--key", key, "--server", server.addr))
	ticket := ticketOf(echo)
	_, stderr, code := runToEnd(t, holdfast(t, "chat", "--key", key, "--server", server.addr, ticket))
	if code != 1 || !strings.Contains(stderr, "yourself") || !strings.Contains(stderr, "hint: ") {
		t.Errorf("chat: exit %d, want 1 and the reason\n%s", code, stderr)
	}
	if _, stderr, code := runToEnd(t, holdfast(t, "ping", "--count", "1", ticket)); code != 0 {
		t.Errorf("ping afterwards: exit %d, want 0\n%s", code, stderr)
	}
}

func TestUnreachableServersAreNamedWithTheReason(t *testing.T) {
	t.Parallel()
	got := troubles([]node.ServerStatus{{Addr: "rv.example:3478", Error: "session: no answer"}, {Addr: "192.0.2.1:3478"}})
	if want := "; rv.example:3478: no answer; 192.0.2.1:3478: down"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestResultsThatCannotBeWrittenFailTheVerb(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	defer full.Close()
	var stderr bytes.Buffer
	cmd := holdfast(t, "id")
	cmd.Stdout, cmd.Stderr = full, &stderr
	if code := exitCode(t, cmd.Run()); code != 1 || !strings.Contains(stderr.String(), "cannot write the results") {
		t.Errorf("exit %d, want 1 and the reason\n%s", code, stderr.String())
	}
}

func TestSenderIsNotToldOfDirectories(t *testing.T) {
	t.Parallel()
	err := &os.PathError{Op: "write", Path: "/home/ann/secret/.holdfast-1", Err: syscall.ENOSPC}
	if got := reasonFor(err); strings.Contains(got, "ann") || got != syscall.ENOSPC.Error() {
		t.Errorf("told %q", got)
	}
}

func TestCallerOfAnotherServiceIsToldSo(t *testing.T) {
	t.Parallel()
	chat := start(t, holdfast(t, "chat", "--json", "--listen", "127.0.0.1:0"))
	_, stderr, code := runToEnd(t, holdfast(t, "ping", "--count", "1", "--listen", "127.0.0.1:0", ticketOf(chat)))
	if code != 1 || !strings.Contains(stderr, "this peer offers chat") {
		t.Errorf("exit %d, want 1 and the reason\n%s", code, stderr)
	}
}

func TestPingFailsWhenThePeerLeaves(t *testing.T) {
	t.Parallel()
	echo := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0"))
	ping := start(t, holdfast(t, "ping", "--json", "--interval", "10ms", "--listen", "127.0.0.1:0", ticketOf(echo)))
	ping.await("pong", nil)
	if code := echo.interrupt(); code != 0 {
		t.Errorf("echo: exit %d, want 0", code)
	}
	ping.await("summary", nil)
	if code := ping.wait(); code != 1 || !strings.Contains(ping.stderr.String(), "the peer has left") {
		t.Errorf("ping: exit %d, want 1 and the reason\n%s", code, ping.stderr.String())
	}
}

func TestInterruptedPingPrintsItsSummary(t *testing.T) {
	t.Parallel()
	echo := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0"))
	ping := start(t, holdfast(t, "ping", "--json", "--listen", "127.0.0.1:0", ticketOf(echo)))
	ping.await("pong", nil)
	if err := ping.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Skip("Windows has no way to send Ctrl-C to one process")
	}
	var sum pingSummaryLine
	ping.await("summary", &sum)
	if code := ping.wait(); code != 0 || sum.Sent != sum.Received {
		t.Errorf("exit %d, %+v; want 0 and nothing lost", code, sum)
	}
}

func TestChatCarriesLinesBothWays(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	bob := start(t, holdfast(t, "chat", "--json", "--listen", "127.0.0.1:0", "--server", server.addr))
	alice := start(t, holdfast(t, "chat", "--json", "--listen", "127.0.0.1:0", "--server", server.addr, ticketOf(bob)))
	alice.tell("hello \x1b[31mbob")
	var line chatLine
	bob.await("message", &line)
	if line.Text != "hello \ufffd[31mbob" {
		t.Errorf("bob reads %q, want the text without the escape character", line.Text)
	}
	bob.tell("hello alice")
	alice.await("message", &line)
	if line.Text != "hello alice" {
		t.Errorf("alice reads %q", line.Text)
	}
	alice.tell("my last words")
	alice.stdin.Close()
	bob.await("message", &line)
	if line.Text != "my last words" {
		t.Errorf("bob reads %q: what is said before the end must arrive", line.Text)
	}
	if a, b := alice.wait(), bob.wait(); a != 0 || b != 0 {
		t.Errorf("exit codes %d and %d, want 0\n%s%s", a, b, alice.stderr.String(), bob.stderr.String())
	}
}

func TestFileArrivesWholeAndVerified(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3<<20+17)
	rand.NewChaCha8([32]byte{1}).Read(content)
	for _, size := range []int{0, 1, len(content)} {
		dir := t.TempDir()
		file := filepath.Join(t.TempDir(), "a photo.jpg")
		if err := os.WriteFile(file, content[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		receive := start(t, holdfast(t, "receive", "--json", "--dir", dir, "--listen", "127.0.0.1:0"))
		send := start(t, holdfast(t, "send", "--json", "--listen", "127.0.0.1:0", file, ticketOf(receive)))
		var sent, received struct {
			Size   int
			SHA256 string
		}
		send.await("sent", &sent)
		receive.await("received", &received)
		sum := sha256.Sum256(content[:size])
		if want := hex.EncodeToString(sum[:]); sent.SHA256 != want || received.SHA256 != want || received.Size != size {
			t.Errorf("%d bytes: sent %+v, received %+v, want hash %s", size, sent, received, want)
		}
		if s, r := send.wait(), receive.wait(); s != 0 || r != 0 {
			t.Errorf("exit codes %d and %d, want 0\n%s%s", s, r, send.stderr.String(), receive.stderr.String())
		}
		if got, err := os.ReadFile(filepath.Join(dir, "a photo.jpg")); err != nil || !bytes.Equal(got, content[:size]) {
			t.Errorf("%d bytes: the file that was kept differs (%v)", size, err)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			t.Errorf("files left in the directory: %v", files)
		}
	}
}

func TestReceiveNeverReplacesAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "notes.txt")
	kept := filepath.Join(dir, "notes.txt")
	for name, text := range map[string]string{file: "new", kept: "precious"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	receive := start(t, holdfast(t, "receive", "--json", "--dir", dir, "--listen", "127.0.0.1:0"))
	_, stderr, code := runToEnd(t, holdfast(t, "send", "--listen", "127.0.0.1:0", file, ticketOf(receive)))
	if code != 1 || !strings.Contains(stderr, "notes.txt is there already") {
		t.Errorf("send: exit %d, want 1 and the reason\n%s", code, stderr)
	}
	if code := receive.wait(); code != 1 {
		t.Errorf("receive: exit %d, want 1", code)
	}
	if b, _ := os.ReadFile(kept); string(b) != "precious" {
		t.Errorf("the file now holds %q", b)
	}
}

func TestOfferOfAHostileNameIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "../x", "/etc/passwd", `..\x`, `C:\x`, "C:x", "a\x00b", "a\nb", "\xff", strings.Repeat("a", 256)} {
		if (offer{Name: name}).check() == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	if err := (offer{Name: "größe (1).tar.gz", Size: 1}).check(); err != nil {
		t.Errorf("a plain name was refused: %v", err)
	}
	if (offer{Name: "x", Size: -1}).check() == nil {
		t.Error("a negative size was accepted")
	}
}

func TestStatusTellsWhatTheServerSees(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	p := start(t, holdfast(t, "status", "--json", "--listen", "127.0.0.1:0", "--server", server.addr))
	var st struct {
		Servers []struct{ State, Observed string }
	}
	p.await("status", &st)
	if code := p.wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if len(st.Servers) != 1 || st.Servers[0].State != "registered" || !strings.HasPrefix(st.Servers[0].Observed, "127.0.0.1:") {
		t.Errorf("status %+v, want one server with our address", st)
	}
}

func TestDemoLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	p := start(t, holdfast(t, "demo", "--json"))
	var rep demoReport
	p.await("summary", &rep)
	if code := p.wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if rep.Rebinds != 20 || len(rep.Changes) != len(demoSteps) {
		t.Errorf("%d rebinds in %d steps", rep.Rebinds, len(rep.Changes))
	}
	if len(rep.Modes) != modes || rep.Modes[node.Reliable].Sent < 1000 {
		t.Fatalf("modes %+v: want a conversation in each", rep.Modes)
	}
	for mode, m := range rep.Modes {
		m.Mode = node.Delivery(mode)
		if m.Repeated > 0 || m.reliable() && m.Lost > 0 || m.ordered() && m.Overtaken > 0 {
			t.Errorf("%+v breaks the promise of its mode", m)
		}
	}
}

func TestDemoReportFailsOnAnyBrokenPromise(t *testing.T) {
	t.Parallel()
	for _, m := range []modeReport{
		{Mode: node.Reliable, Lost: 1},
		{Mode: node.Unordered, Lost: 1},
		{Mode: node.Reliable, Repeated: 1},
		{Mode: node.Sequenced, Repeated: 1},
		{Mode: node.Unreliable, Repeated: 1},
		{Mode: node.Reliable, Overtaken: 1},
		{Mode: node.Sequenced, Overtaken: 1},
	} {
		if (demoReport{Modes: []modeReport{m}}).err() == nil {
			t.Errorf("%+v passes", m)
		}
	}
	for _, m := range []modeReport{
		{Mode: node.Unreliable, Lost: 1, Overtaken: 1},
		{Mode: node.Sequenced, Lost: 1},
		{Mode: node.Unordered, Overtaken: 1},
	} {
		if err := (demoReport{Modes: []modeReport{m}}).err(); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestServerLeavesOnSIGTERM(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	server := startServer(t)
	if err := server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := server.wait(); code != 0 {
		t.Errorf("exit %d, want 0\n%s", code, server.stderr.String())
	}
}
