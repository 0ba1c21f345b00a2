package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire"
)

const timeout = 20 * time.Second

// A running server is the command at work in this process.
type running struct {
	line   string // the first that it printed
	stderr buffer
	leave  func() int // does what SIGTERM does, and returns the exit code
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts the command, whose key is in a file of the test's own.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	r := &running{}
	stdout, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- program.Run(ctx, command(w, &r.stderr), append([]string{"rendezvous"}, args...))
		w.Close()
	}()
	r.leave = func() int {
		cancel()
		return <-code
	}
	out := bufio.NewScanner(stdout)
	if !out.Scan() {
		t.Fatalf("the server printed nothing; exit %d\n%s", <-code, r.stderr.String())
	}
	r.line = out.Text()
	return r
}

func keyFile(t *testing.T) string { return filepath.Join(t.TempDir(), "key") }

func TestServerPrintsTheAddressThatNodesPaste(t *testing.T) {
	t.Parallel()
	r := start(t, "--listen", "127.0.0.1:0", "--key", keyFile(t))
	if _, err := wire.ParseServer(r.line); err != nil {
		t.Fatalf("printed %q: %v", r.line, err)
	}
	n, err := node.Listen(&node.Config{Addr: "127.0.0.1:0", Rendezvous: []string{r.line}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := n.WaitOnline(ctx); err != nil {
		t.Errorf("a node with that address: %v", err)
	}
	if code := r.leave(); code != program.ExitOK {
		t.Errorf("exit %d, want 0\n%s", code, r.stderr.String())
	}
}

func TestServerIsTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	key := keyFile(t)
	var ids []string
	for range 2 {
		r := start(t, "--listen", "127.0.0.1:0", "--key", key)
		id, _, _ := strings.Cut(r.line, "@")
		ids = append(ids, id)
		r.leave()
	}
	if ids[0] != ids[1] {
		t.Errorf("%s became %s", ids[0], ids[1])
	}
}

func TestPublicHostTakesThePlaceOfTheBoundAddress(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"Rendezvous.Example": "@rendezvous.example:",
		"2001:db8::1":        "@[2001:db8::1]:",
		"192.0.2.7":          "@192.0.2.7:",
	} {
		r := start(t, "--listen", "127.0.0.1:0", "--key", keyFile(t), "--public-host", host, "--json")
		var online struct{ Event, Server string }
		if err := json.Unmarshal([]byte(r.line), &online); err != nil || online.Event != "online" || !strings.Contains(online.Server, want) {
			t.Errorf("--public-host %s: printed %s (%v), want %s", host, r.line, err, want)
		}
		r.leave()
	}
}

func TestServerOnAllAddressesDoesNotPassForLoopback(t *testing.T) {
	t.Parallel()
	r := start(t, "--listen", ":0", "--key", keyFile(t))
	if strings.Contains(r.line, "127.0.0.1") || strings.Contains(r.line, "0.0.0.0") || !strings.Contains(r.stderr.String(), "--public-host") {
		t.Errorf("printed %s, and advised: %s", r.line, r.stderr.String())
	}
	r.leave()
}

func TestMisuseAndFailureAreToldApart(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"--bogus", program.ExitMisuse, "bogus"},
		{"serve", program.ExitMisuse, `"serve"`},
		{"--listen 127.0.0.1:0 --public-host not/a/host", program.ExitMisuse, "--public-host"},
		{"--listen " + taken.LocalAddr().String(), program.ExitFailed, "rendezvous: hint: "},
		{"--listen 192.0.2.1:3478", program.ExitFailed, "rendezvous: hint: "},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		var stdout, stderr buffer
		args := append([]string{"rendezvous", "--key", keyFile(t)}, strings.Fields(tt.args)...)
		code := program.Run(ctx, command(&stdout, &stderr), args)
		cancel()
		if code != tt.code || !strings.Contains(stderr.String(), tt.want) || stdout.String() != "" {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.want, stdout.String(), stderr.String())
		}
	}
}
