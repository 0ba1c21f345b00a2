package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/rendezvous/lab"
)

// A labResult is what came of a pair.
type labResult struct {
	Event          string  `json:"event"`
	A              string  `json:"a"` // who calls
	B              string  `json:"b"`
	Outcome        string  `json:"outcome"` // direct, failed, or why not direct
	Want           string  `json:"want"`
	AsExpected     bool    `json:"as_expected"`
	Tries          int     `json:"tries"` // networks it took
	FirstMessageMS float64 `json:"first_message_ms"`
	DirectAfterMS  float64 `json:"direct_after_ms,omitempty"`
	Error          string  `json:"error,omitempty"`

	result lab.Result
}

func (r labResult) String() string {
	s := fmt.Sprintf("%s calls %s: %s", r.A, r.B, r.Outcome)
	if r.Outcome == "direct" {
		s += " after " + brief(r.result.DirectAfter)
	}
	if r.Error != "" {
		s += " (" + r.Error + ")"
	}
	if !r.AsExpected {
		s += ", must be " + r.Want
	}
	return s
}

// cell is the outcome in five characters at most.
func (r labResult) cell() string {
	switch d := r.result.DirectAfter; {
	case r.Outcome != "direct":
		return codeOf(r.Outcome)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2fs", d.Seconds())
	default:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
}

// A labDetail is an outcome together with what both sides have tried.
type labDetail struct{ labResult }

func (d labDetail) String() string {
	s := d.labResult.String() + fmt.Sprintf("; first message after %s\n", brief(d.result.FirstMessage))
	if d.Error != "" {
		return s
	}
	e := d.result.Explained[0]
	return s + "\n" + whyReport{Explanation: e}.String() + "\n"
}

// Codes of the causes in a table, in the order of the legend.
var labCodes = []struct{ outcome, code, text string }{
	{node.CauseNoUDP.String(), "U", "UDP is blocked"},
	{node.CauseFamily.String(), "F", "no address family in common"},
	{node.CauseBothHard.String(), "H", "both NATs are hard"},
	{node.CauseSearchOff.String(), "S", "needs the search, which is off"},
	{node.CauseNotFound.String(), "N", "the port was not found"},
	{node.CauseUnanswered.String(), "?", "nothing came back"},
	{"failed", "!", "the two did not even talk"},
}

func codeOf(outcome string) string {
	for _, c := range labCodes {
		if c.outcome == outcome {
			return c.code
		}
	}
	return "?"
}

// legend explains the codes that a table uses.
func legend(table string) string {
	var b strings.Builder
	for _, c := range labCodes {
		if strings.Contains(table, " "+c.code) {
			fmt.Fprintf(&b, "   %s  %s\n", c.code, c.text)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\nthrough the relay, because\n" + b.String()
}

// A labSummary is what came of all pairs.
type labSummary struct {
	Event  string   `json:"event"`
	Pairs  int      `json:"pairs"`
	Differ []string `json:"differ"` // pairs that did not come to what they must

	rows []labResult
}

func (s labSummary) String() string {
	var b strings.Builder
	calls, called := s.cells()
	b.WriteString(tableOf(calls))
	if called != nil {
		fmt.Fprintf(&b, "\nthe other way round, where the column calls the row\n\n%s", tableOf(called))
	}
	b.WriteString(legend(b.String()))
	b.WriteByte('\n')
	if len(s.Differ) == 0 {
		fmt.Fprintf(&b, "all %d pairs came to what they must", s.Pairs)
	} else {
		fmt.Fprintf(&b, "not what it must be:\n   %s", strings.Join(s.Differ, "\n   "))
	}
	return b.String()
}

// cells returns the cells of the pairs in which the row of the table calls, and
// of those in which it is called; nil if there are none of these but for pairs of
// one kind.
func (s labSummary) cells() (calls, called map[lab.Pair]string) {
	calls = make(map[lab.Pair]string)
	for _, r := range s.rows {
		p := r.result.Pair
		if p.A >= p.B {
			calls[p] = r.cell()
			continue
		}
		if called == nil {
			called = make(map[lab.Pair]string)
		}
		called[lab.Pair{A: p.B, B: p.A}] = r.cell()
	}
	return calls, called
}

func tableOf(cells map[lab.Pair]string) string {
	return lab.Table(func(a, b lab.Kind) string { return cmp.Or(cells[lab.Pair{A: a, B: b}], "-") })
}

// An expectation is what a pair must come to.
type expectation struct {
	Event   string `json:"event"`
	A       string `json:"a"`
	B       string `json:"b"`
	Outcome string `json:"outcome"`
	Search  bool   `json:"search"` // it takes the search

	pair lab.Pair
}

func expectationOf(p lab.Pair, search bool) expectation {
	want := lab.Expect(p.A, p.B, search)
	return expectation{
		Event: "expected", A: p.A.String(), B: p.B.String(), Outcome: want.String(),
		Search: want.Direct && !lab.Expect(p.A, p.B, false).Direct, pair: p,
	}
}

func (e expectation) String() string { return fmt.Sprintf("%s with %s: %s", e.A, e.B, e.Outcome) }

func (e expectation) cell() string {
	switch {
	case e.Search:
		return "s"
	case e.Outcome == "direct":
		return "+"
	}
	return codeOf(e.Outcome)
}

// expectations are those of all pairs, as a table.
type expectations []expectation

func (all expectations) String() string {
	cells := make(map[lab.Pair]string)
	for _, e := range all {
		cells[e.pair] = e.cell()
	}
	table := tableOf(cells)
	direct := "\n   +  direct\n"
	if strings.Contains(table, " s") {
		direct += "   s  direct after a search over all ports\n"
	}
	return strings.TrimSuffix(table+direct+legend(table), "\n")
}
