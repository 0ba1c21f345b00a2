package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"
)

// appName separates the sessions of this command from those of other programs.
const appName = "holdfast-cli/1"

// onlineTimeout bounds the wait for a rendezvous server at the start of a verb.
const onlineTimeout = 10 * time.Second

type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// A run is one invocation of a verb: the flags that all verbs share, and where
// results and logs go.
type run struct {
	streams
	print   *printer
	log     *logrus.Logger
	servers []string
	keyFile string
	listen  string
	json    bool

	relayOnly bool
	lan       bool
	search    bool
}

func newRun(s streams, cmd *cli.Command) *run {
	asJSON := cmd.Bool("json")
	return &run{
		streams: s,
		print:   &printer{w: s.out, json: asJSON},
		log:     program.Logger(s.err, cmd.Bool("verbose"), asJSON),
		servers: cmd.StringSlice("server"),
		keyFile: cmd.String("key"),
		listen:  cmd.String("listen"),
		json:    asJSON,

		relayOnly: cmd.Bool("relay-only"),
		search:    cmd.Bool("search"),
		lan:       cmd.Bool("lan"),
	}
}

// verb makes the action of a verb that takes between low and high arguments.
func verb(s streams, low, high int, do func(context.Context, *cli.Command, *run) error) cli.ActionFunc {
	return func(ctx context.Context, cmd *cli.Command) error {
		switch n := cmd.Args().Len(); {
		case n < low:
			return program.Misused("%s: missing argument: want %s", cmd.Name, cmd.ArgsUsage)
		case n > high:
			return program.Misused("%s: unexpected argument %q", cmd.Name, cmd.Args().Get(high))
		}
		r := newRun(s, cmd)
		return errors.Join(do(ctx, cmd, r), r.print.failure())
	}
}

// identity returns the key that others know this user by.
func (r *run) identity() (node.Key, error) { return program.Key(r.keyFile, "key") }

// guest returns the key given with --key, else a fresh one: a verb that only
// calls needs no name, and must not take the place of a verb that listens under
// the user's own.
func (r *run) guest() (node.Key, error) {
	if r.keyFile == "" {
		return node.NewKey()
	}
	return r.identity()
}

// awaits starts a node under the machine's identity and tells people by which command
// others call it.
func (r *run) awaits(ctx context.Context, command string) (*node.Node, error) {
	key, err := r.identity()
	if err != nil {
		return nil, err
	}
	n, err := r.node(key, nil)
	if err != nil {
		return nil, err
	}
	if err := r.announce(ctx, n, command); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// stranger starts a node under a fresh key, to look at the network: under the user's
// own it would take the place of a verb that is running at the same time.
func (r *run) stranger() (*node.Node, error) {
	key, err := node.NewKey()
	if err != nil {
		return nil, err
	}
	return r.node(key, nil)
}

// node starts a node under the key. The trace may be nil.
func (r *run) node(key node.Key, trace *node.Trace) (*node.Node, error) {
	for _, s := range r.servers {
		if _, err := wire.ParseServer(s); err != nil {
			return nil, program.Misused("--server: %s", program.Plain(err))
		}
	}
	n, err := node.Listen(&node.Config{
		Key:        key,
		App:        appName,
		Addr:       r.listen,
		Rendezvous: r.servers,
		LAN:        r.lan,
		RelayOnly:  r.relayOnly,
		Search:     r.search,
		Trace:      trace,
		Logger:     r.log,
	})
	if err != nil && r.listen != "" {
		return nil, program.HintListen(err, r.listen)
	}
	return n, err
}

// online waits until a server knows the node, if any server was named.
func (r *run) online(ctx context.Context, n *node.Node) error {
	if len(r.servers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, onlineTimeout)
	defer cancel()
	err := n.WaitOnline(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return noServer(n.Status().Servers)
	}
	return err
}

func noServer(servers []node.ServerStatus) error {
	return program.Hint(errors.New("no rendezvous server answers"+troubles(servers)),
		"is the server running, its UDP port open, and --server the line that it prints?")
}

// troubles says of each server why it was not reached.
func troubles(servers []node.ServerStatus) string {
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "; %s: %s", s.Addr, trouble(s))
	}
	return b.String()
}

// trouble says why a server was not reached.
func trouble(s node.ServerStatus) string {
	return program.Plain(errors.New(cmp.Or(s.Error, s.State.String())))
}

// A printer writes results: a line for people or a JSON object for machines.
type printer struct {
	w    io.Writer
	json bool

	mu  sync.Mutex
	err error // the first of writing
}

// result prints v, whose String method is the line for people. An empty line is
// not printed.
func (p *printer) result(v fmt.Stringer) {
	line := v.String()
	if p.json {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // v is one of our own plain structs
		}
		line = string(b)
	}
	if line == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.w, line); err != nil && p.err == nil {
		p.err = fmt.Errorf("cannot write the results: %w", err)
	}
}

// failure returns why a result could not be written, if any could not.
func (p *printer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// milliseconds is how results give a duration to machines.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
