package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// bin is the directory of the two commands, built once for all tests.
var bin string

func TestMain(m *testing.M) {
	if cfg := os.Getenv(matrixPeerEnv); cfg != "" {
		os.Exit(matrixPeerMain(cfg))
	}
	if cfg := os.Getenv(labPeerEnv); cfg != "" {
		os.Exit(labPeerMain(cfg))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holdfast-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	if out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), ".", "../rendezvous").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// builtCommand returns the path of a command.
func builtCommand(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(bin, name)
}

// testTimeout bounds every process that a test starts.
const testTimeout = 60 * time.Second

// holdfast returns the command with a state directory of its own.
func holdfast(t *testing.T, args ...string) *exec.Cmd {
	return isolate(t, exec.CommandContext(deadline(t), builtCommand("holdfast"), args...))
}

func deadline(t *testing.T) context.Context { return deadlineIn(t, testTimeout) }

func deadlineIn(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func isolate(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HOLDFAST_") && !strings.HasPrefix(v, "RENDEZVOUS_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "XDG_STATE_HOME="+t.TempDir())
	return cmd
}

// runToEnd runs a command and returns what it printed and its exit code.
func runToEnd(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	code = exitCode(t, cmd.Run())
	return out.String(), err.String(), code
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

// A process is a command at work that prints JSON lines.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	lines  chan []byte
	passed []string // lines that await has passed over
}

// start starts a command. It is killed at the end of the test if it still runs.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: strings.Join(cmd.Args, " "), cmd: cmd, lines: make(chan []byte, 4096)}
	cmd.Stderr = &p.stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			p.lines <- bytes.Clone(in.Bytes())
		}
	}()
	t.Cleanup(p.kill)
	return p
}

// await returns the next line that reports the event, passing over others. It
// fails the test when the process ends before.
func (p *process) await(event string, into any) {
	p.t.Helper()
	for line := range p.lines {
		var head struct{ Event string }
		if err := json.Unmarshal(line, &head); err != nil {
			p.t.Fatalf("%s printed what is not JSON: %s", p.name, line)
		}
		if head.Event != event {
			p.passed = append(p.passed, string(line))
			continue
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(line, into); err != nil {
			p.t.Fatalf("%s: %s: %v", p.name, line, err)
		}
		return
	}
	p.cmd.Wait()
	p.t.Fatalf("%s ended without the event %q:\n%s", p.name, event, p.stderr.String())
}

// tell writes a line to the standard input of the process.
func (p *process) tell(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.stdin, format+"\n", args...); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.stderr.String())
	}
}

// interrupt does what Ctrl-C does, and returns the exit code.
func (p *process) interrupt() int {
	p.t.Helper()
	if runtime.GOOS == "windows" {
		p.t.Skip("Windows has no way to send Ctrl-C to one process")
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

// wait returns the exit code of the process once it has ended.
func (p *process) wait() int {
	p.t.Helper()
	for range p.lines { // the pipe is read to its end before Wait closes it
	}
	return exitCode(p.t, p.cmd.Wait())
}

// kill ends the process at once and waits for its end.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	p.cmd.Process.Kill()
	for range p.lines {
	}
	p.cmd.Wait()
}

// A rendezvousProcess is a server and the address that it printed.
type rendezvousProcess struct {
	*process
	addr string // hf1...@host:port
}

// startServer starts a rendezvous server on loopback.
func startServer(t *testing.T) rendezvousProcess {
	t.Helper()
	cmd := isolate(t, exec.CommandContext(deadline(t), builtCommand("rendezvous"), "--json", "--listen", "127.0.0.1:0"))
	return awaitServer(start(t, cmd))
}

func awaitServer(p *process) rendezvousProcess {
	p.t.Helper()
	var online struct{ Server string }
	p.await("online", &online)
	return rendezvousProcess{p, online.Server}
}

// echoing starts a peer that echoes, and returns its ID once the server knows it.
func echoing(t *testing.T, server string) (*process, string) {
	t.Helper()
	p := start(t, holdfast(t, "echo", "--json", "--listen", "127.0.0.1:0", "--server", server))
	var online struct{ ID string }
	p.await("online", &online)
	return p, online.ID
}

// ticketOf returns the ticket that a listening verb prints when it is ready.
func ticketOf(p *process) string {
	p.t.Helper()
	var online struct{ Ticket string }
	p.await("online", &online)
	return online.Ticket
}
