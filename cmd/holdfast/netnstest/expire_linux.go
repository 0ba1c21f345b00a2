package netnstest

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// ExpireMappings makes the router drop every UDP mapping at an age, traffic or
// not, as some carriers do: all flows of the inside socket end together, and the
// next packet it sends gets a new mapping. It lasts until the Internet is closed.
//
// It is for routers whose mappings are conntrack's: Cone would give the port it
// had before. The kernel has no such limit (traffic extends every one it has), so
// this listens to the kernel's events and deletes the flows itself.
func (r *Router) ExpireMappings(age time.Duration) error {
	var cmd *exec.Cmd
	events, err := inNamespace(r.ns, func() (io.ReadCloser, error) {
		cmd = exec.Command("conntrack", "-E", "-e", "NEW", "-p", "udp")
		out, err := cmd.StdoutPipe()
		return out, errors.Join(err, cmd.Start())
	})
	if err != nil {
		return err
	}
	e := &expiry{router: r, age: age, timers: make(map[socket]*time.Timer)}
	r.in.carriers.Go(func() {
		e.follow(events)
		cmd.Wait()
	})
	r.in.onClose = append(r.in.onClose, func() { cmd.Process.Kill() })
	return nil
}

// An expiry ends mappings.
type expiry struct {
	router *Router
	age    time.Duration

	mu     sync.Mutex
	timers map[socket]*time.Timer // of the mappings there are
}

// A socket is an inside address and port, as conntrack writes them.
type socket struct{ addr, port string }

func (e *expiry) follow(events io.Reader) {
	for lines := bufio.NewScanner(events); lines.Scan(); {
		if s, ok := e.inside(lines.Text()); ok {
			e.begin(s)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.timers {
		t.Stop()
	}
}

// inside returns the socket of a new flow that began on the local network.
func (e *expiry) inside(event string) (s socket, ok bool) {
	for _, field := range strings.Fields(event) {
		key, value, _ := strings.Cut(field, "=")
		switch {
		case key == "src" && s.addr == "":
			s.addr = value
		case key == "sport" && s.port == "":
			s.port = value
		}
	}
	addr, err := netip.ParseAddr(s.addr)
	return s, err == nil && netip.PrefixFrom(e.router.local(0), 24).Contains(addr)
}

// begin counts the age of a mapping from its first flow.
func (e *expiry) begin(s socket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timers[s] == nil {
		e.timers[s] = time.AfterFunc(e.age, func() { e.end(s) })
	}
}

func (e *expiry) end(s socket) {
	e.mu.Lock()
	delete(e.timers, s)
	e.mu.Unlock()
	// Whether it succeeds is seen by the traffic; the router may be gone by now.
	e.router.forgetFlows("-p", "udp", "--orig-src", s.addr, "--orig-port-src", s.port)
}
