// Package examples_test runs the example programs.
package examples_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/rendezvous"
)

const timeout = 30 * time.Second

var bin string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holdfast-examples-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	if out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./...").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A program is an example at work.
type program struct {
	t     *testing.T
	name  string
	lines *bufio.Scanner
	stdin io.WriteCloser
}

func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	file := filepath.Join(bin, name)
	if runtime.GOOS == "windows" {
		file += ".exe"
	}
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &program{t, name, bufio.NewScanner(stdout), stdin}
}

// until returns the first line that holds the text.
func (p *program) until(text string) string {
	p.t.Helper()
	for p.lines.Scan() {
		if strings.Contains(p.lines.Text(), text) {
			return p.lines.Text()
		}
	}
	p.t.Fatalf("%s ended without %q", p.name, text)
	return ""
}

// listen starts a rendezvous server on loopback. It is to be closed while the
// programs still run: it says goodbye to them.
func listen(t *testing.T) *rendezvous.Server {
	t.Helper()
	s, err := rendezvous.Listen(&rendezvous.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHelloIsHeard(t *testing.T) {
	t.Parallel()
	server := listen(t)
	defer server.Close()
	s := server.Server().String()
	listener := start(t, "hello", s)
	id := listener.until("hf1")
	start(t, "hello", s, id)
	listener.until("says hello")
}

func TestChatReachesEverybodyInTheRoom(t *testing.T) {
	t.Parallel()
	server := listen(t)
	defer server.Close()
	s := server.Server().String()
	ann := start(t, "chat", "-name", "ann", "-server", s)
	id := ann.until("hf1")
	ben := start(t, "chat", "-name", "ben", "-server", s, id)
	io.WriteString(ben.stdin, "hello room\n")
	ann.until("ben: hello room")
	cat := start(t, "chat", "-name", "cat", "-server", s, id)
	io.WriteString(cat.stdin, "I am here too\n")
	for _, p := range []*program{ann, ben} {
		p.until("cat: I am here too")
	}
	io.WriteString(ann.stdin, "welcome\n")
	for _, p := range []*program{ben, cat} {
		p.until("ann: welcome")
	}
}

func TestPlayersSeeEachOtherAndWhoLeaves(t *testing.T) {
	t.Parallel()
	server := listen(t)
	defer server.Close()
	s := server.Server().String()
	host := start(t, "game", "-server", s)
	guest := start(t, "game", "-server", s, host.until("hf1"))
	for _, p := range []*program{host, guest} {
		p.until("o ") // the other player, on the field
		p.until("you are @")
	}
	io.WriteString(guest.stdin, "s\n")
	io.WriteString(host.stdin, "q\n")
	guest.until("the other player has left")
}
