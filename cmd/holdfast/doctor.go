package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/urfave/cli/v3"
)

// doctorTimeout bounds the examination: the lifetime of idle mappings, which takes
// the longest, needs 12 s and some.
const doctorTimeout = 15 * time.Second

func doctorVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "find out what this network lets peers do, and what would help",
		Description: `Takes up to 15 s. It fails if no server was reached. What one server can tell is
all that it says: name several with --server to see whether they agree.`,
		Action: verb(s, 0, 0, doctor),
	}
}

func doctor(ctx context.Context, _ *cli.Command, r *run) error {
	if len(r.servers) == 0 {
		return program.Hint(errors.New("there is nobody to ask what this network looks like from outside"),
			"name a rendezvous server with --server or HOLDFAST_RENDEZVOUS")
	}
	n, err := r.stranger()
	if err != nil {
		return err
	}
	defer n.Close()
	examined := r.working("looking at the network, for 15 s at most")
	d := r.examine(ctx, n)
	examined()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.print.result(diagnosis{"doctor", d})
	if !reachedAny(d.Servers) {
		return noServer(d.Servers)
	}
	return nil
}

func (r *run) examine(ctx context.Context, n *node.Node) node.Diagnosis {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	return n.Diagnose(ctx)
}

func reachedAny(servers []node.ServerStatus) bool {
	return slices.ContainsFunc(servers, func(s node.ServerStatus) bool { return s.State != node.ServerDown })
}

type diagnosis struct {
	Event string `json:"event"`
	node.Diagnosis
}

func (d diagnosis) String() string {
	var l lines
	l.row("UDP", passes(d.UDP))
	l.row("TCP, WebSocket", passes(d.TCP))
	l.row("addresses", orUnknown(d.Addresses)...)
	l.row("seen as", orUnknown(d.Observed)...)
	l.row("IPv6", ipv6Words(d.IPv6))
	if reachedAny(d.Servers) {
		d.rowsOfNAT(&l)
	}
	l.row("port mapping", portMapWords(d.PortMap))
	for _, s := range d.Servers {
		l.row("server", serverFacts(s)...)
	}
	l.WriteByte('\n')
	l.row("verdict", d.Verdict)
	l.row("advice", d.Advice)
	return l.text()
}

// rowsOfNAT says what servers have shown of the NAT, if there is one.
func (d diagnosis) rowsOfNAT(l *lines) {
	l.row("NAT", presence(d.Public))
	l.row("mapping", d.NAT.Mapping.String())
	l.row("filtering", filteringWords(d.NAT))
	if d.NAT.Ports != wire.PortsUnknown {
		l.row("ports", portWords(d.NAT))
	}
	if d.Public != node.Yes {
		l.row("hairpin", hairpinWords(d.Hairpin))
		l.row("early packets", poisonWords(d.Poison))
		l.row("idle mappings", lifetimeWords(d.AliveAfter, d.GoneAfter))
	}
}

func passes(v node.Verdict) string {
	return [...]string{node.Undecided: "no answer", node.No: "does not pass", node.Yes: "passes"}[v]
}

func presence(public node.Verdict) string {
	return [...]string{
		node.Undecided: "unknown",
		node.No:        "yes: servers see an address that is not this machine's",
		node.Yes:       "none: servers see this machine's own address",
	}[public]
}

func ipv6Words(v node.Verdict) string {
	return [...]string{node.Undecided: "unknown", node.No: "no global address", node.Yes: "has a global address"}[v]
}

func hairpinWords(v node.Verdict) string {
	return [...]string{
		node.Undecided: "unknown",
		node.No:        "no: machines behind this NAT do not reach each other by its outside",
		node.Yes:       "yes: machines behind this NAT reach each other by its outside",
	}[v]
}

func poisonWords(v node.Verdict) string {
	return [...]string{
		node.Undecided: "unknown",
		node.No:        "harmless",
		node.Yes:       "one from outside that comes too soon costs a flow its port (poison-prone)",
	}[v]
}

// lifetimeWords says how long the NAT keeps a mapping that nothing uses.
func lifetimeWords(alive, gone time.Duration) string {
	switch {
	case alive == 0 && gone == 0:
		return "not measured"
	case gone == 0:
		return fmt.Sprintf("live at least %g s", alive.Seconds())
	case alive == 0:
		return fmt.Sprintf("live less than %g s", gone.Seconds())
	}
	return fmt.Sprintf("live between %g and %g s", alive.Seconds(), gone.Seconds())
}

func portMapWords(p node.PortMapStatus) string {
	switch {
	case p.External.IsValid():
		return fmt.Sprintf("%s grants %s", p.Protocol, p.External)
	case p.Found == node.Yes:
		return strings.TrimSuffix(p.Protocol+" answers: "+program.Printable(p.Error), ": ")
	case p.Found == node.No:
		return "no gateway offers it"
	}
	return "not looked for"
}

func orUnknown(values []string) []string {
	if len(values) == 0 {
		return []string{"unknown"}
	}
	return values
}
