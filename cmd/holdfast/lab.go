package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/schollz/progressbar/v3"
	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/rendezvous/lab"
	"github.com/urfave/cli/v3"
)

// What is a matter of chance, or of how busy this machine is, gets another
// network to try before it counts as a failure.
const labTries = 3

func labVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:  "lab",
		Usage: "let pairs of nodes meet behind every kind of NAT, and compare with what must come of it",
		Description: `Takes place on pretend networks in this process, in real time; nothing is sent. It
fails if a pair does not come to what it must. The kinds of network are:

   ` + kindNames(5) + `

Examples:
   holdfast lab
   holdfast lab --pair port-restricted,random`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "pair", Usage: "try `A,B` alone, where A calls, and show what both have tried"},
			&cli.BoolFlag{Name: "both", Usage: "let each of a pair be the one who calls, in turn"},
			&cli.BoolFlag{Name: "expected", Usage: "print what each pair must come to, and try nothing"},
			&cli.BoolFlag{Name: "no-search", Usage: "leave the search over all ports off"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Value: 16, Usage: "try `N` pairs at once"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "`NUMBER` that decides what the pretend networks do"},
		},
		Action: verb(s, 0, 0, runLab),
	}
}

// kindNames lists the kinds, so many on a line.
func kindNames(perLine int) string {
	var b strings.Builder
	for k, kind := range lab.Kinds() {
		switch {
		case k == 0:
		case k%perLine == 0:
			b.WriteString(",\n   ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(kind.String())
	}
	return b.String()
}

func runLab(ctx context.Context, cmd *cli.Command, r *run) error {
	t := &trial{run: r, search: !cmd.Bool("no-search"), seed: cmd.Uint64("seed"), jobs: cmd.Int("jobs")}
	if t.jobs < 1 {
		return program.Misused("lab: --jobs must be positive")
	}
	named := cmd.String("pair") != ""
	pairs, err := pairsOf(cmd.String("pair"), cmd.Bool("both"))
	if err != nil {
		return err
	}
	if cmd.Bool("expected") {
		t.printExpected(pairs, named)
		return nil
	}
	rows := t.all(ctx, pairs)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return t.report(rows, named)
}

// pairsOf returns the pairs to try: the one that was named, or all.
func pairsOf(named string, both bool) (pairs []lab.Pair, err error) {
	if named != "" {
		p, err := parsePair(named)
		if err != nil {
			return nil, err
		}
		pairs = []lab.Pair{p}
	} else {
		for _, a := range lab.Kinds() {
			for _, b := range lab.Kinds()[:a+1] {
				pairs = append(pairs, lab.Pair{A: a, B: b})
			}
		}
	}
	if both {
		for _, p := range pairs {
			if p.A != p.B {
				pairs = append(pairs, lab.Pair{A: p.B, B: p.A})
			}
		}
	}
	return pairs, nil
}

func parsePair(text string) (p lab.Pair, err error) {
	a, b, ok := strings.Cut(text, ",")
	if !ok {
		return p, program.Misused("lab: --pair: want two kinds of network, as in port-restricted,random")
	}
	for _, side := range []struct {
		kind *lab.Kind
		name string
	}{{&p.A, a}, {&p.B, b}} {
		if *side.kind, err = lab.ParseKind(strings.TrimSpace(side.name)); err != nil {
			return p, program.Misused("lab: --pair: there is no kind of network %q; there are %s", side.name, kindNames(len(lab.Kinds())))
		}
	}
	return p, nil
}

// A trial lets pairs meet.
type trial struct {
	*run
	search bool
	seed   uint64
	jobs   int
}

// all tries the pairs, several at once, and returns what came of each, in their
// order.
func (t *trial) all(ctx context.Context, pairs []lab.Pair) []labResult {
	progress := bar(t.err, int64(len(pairs)), "meeting", t.json, progressbar.OptionShowCount(), progressbar.OptionSetRenderBlankState(true))
	defer progress.Finish()
	results := make([]labResult, len(pairs))
	free := make(chan struct{}, t.jobs)
	var running sync.WaitGroup
	for k, p := range pairs {
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			results[k] = t.one(ctx, p)
			progress.Add(1)
		})
	}
	running.Wait()
	return results
}

// one tries a pair until it comes to what it must, or has had its chances.
func (t *trial) one(ctx context.Context, p lab.Pair) (r labResult) {
	for try := 1; ctx.Err() == nil; try++ {
		res, err := lab.Run(ctx, p, lab.Options{Seed: t.seed + uint64(try) - 1, NoSearch: !t.search})
		r = labResult{
			Event: "pair", A: p.A.String(), B: p.B.String(), Outcome: res.Outcome.String(), Want: lab.Expect(p.A, p.B, t.search).String(),
			Tries: try, FirstMessageMS: milliseconds(res.FirstMessage), DirectAfterMS: milliseconds(res.DirectAfter), result: res,
		}
		if err != nil {
			r.Outcome, r.Error = "failed", program.Plain(err)
		}
		r.AsExpected = r.Outcome == r.Want
		if r.AsExpected || try == labTries {
			break
		}
	}
	return r
}

// report prints what came of the pairs, and fails if that is not what must.
func (t *trial) report(rows []labResult, detailed bool) error {
	sum := labSummary{Event: "summary", Pairs: len(rows), Differ: []string{}, rows: rows}
	for _, r := range rows {
		if !r.AsExpected {
			sum.Differ = append(sum.Differ, r.String())
		}
		if t.json {
			t.print.result(r)
		} else if detailed {
			t.print.result(labDetail{r})
		}
	}
	if t.json || !detailed {
		t.print.result(sum)
	}
	if len(sum.Differ) > 0 {
		return program.Hint(fmt.Errorf("%d of %d pairs did not come to what they must", len(sum.Differ), len(rows)),
			"on a busy machine, try fewer at once with --jobs; look closer with --pair")
	}
	return nil
}

// printExpected prints what each pair must come to: a table, unless one pair was
// named.
func (t *trial) printExpected(pairs []lab.Pair, named bool) {
	var all expectations
	for _, p := range pairs {
		all = append(all, expectationOf(p, t.search))
	}
	if !named && !t.json {
		t.print.result(all)
		return
	}
	for _, e := range all {
		t.print.result(e)
	}
}
