package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/node/reach"
)

// sideBySide shows what two sides have tried to meet, a column each. The report
// of the peer is a stranger's.
func sideBySide(local, remote node.Report) string {
	var t table
	t.row("", []string{"THIS SIDE"}, []string{"THE PEER"})
	t.row("NAT", ownNAT(local), ownNAT(remote))
	for k, id := range attemptsOf(local, remote) {
		mine, theirs := find(local, id), find(remote, id)
		t.title(titleOf(k+1, mine, theirs))
		left, right := columnOf(local, mine), columnOf(remote, theirs)
		if left.natIs(ownNAT(local)) && right.natIs(ownNAT(remote)) {
			left[natThen], right[natThen] = nil, nil // nothing new
		}
		for row, name := range attemptRows {
			t.row(name, left[row], right[row])
		}
	}
	return t.String()
}

func ownNAT(r node.Report) []string {
	if !r.Known {
		return []string{"has not told"}
	}
	return natWords(r.NAT)
}

// attemptsOf returns the attempts that either side knows of, the oldest first.
func attemptsOf(local, remote node.Report) (ids []uuid.UUID) {
	all := slices.Concat(local.Attempts, remote.Attempts)
	slices.SortStableFunc(all, func(a, b node.AttemptReport) int { return cmp.Compare(b.Age, a.Age) })
	for _, a := range all {
		if !slices.Contains(ids, a.ID) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// find returns the attempt if the side knows of it, else nil.
func find(r node.Report, id uuid.UUID) *node.AttemptReport {
	k := slices.IndexFunc(r.Attempts, func(a node.AttemptReport) bool { return a.ID == id })
	if k < 0 {
		return nil
	}
	return &r.Attempts[k]
}

func titleOf(number int, mine, theirs *node.AttemptReport) string {
	a := cmp.Or(mine, theirs)
	asked := "this side"
	if a.Own != (a == mine) {
		asked = "the peer"
	}
	return fmt.Sprintf("attempt %d (%s), %s ago, asked for by %s", number, a.ID.String()[:8], brief(a.Age), asked)
}

// attemptRows are the rows of an attempt. A column has the lines of each.
var attemptRows = [...]string{"technique", "NAT then", "candidates", "guessed ports", "error"}

const natThen = 1

type column [len(attemptRows)][]string

// columnOf returns what a side says of an attempt.
func columnOf(r node.Report, a *node.AttemptReport) (c column) {
	switch {
	case !r.Known:
		return c
	case a == nil:
		c[0] = []string{"knows nothing of it"}
		return c
	}
	c[0], c[natThen] = []string{program.Printable(a.Technique)}, natWords(a.Local)
	for _, x := range a.Candidates {
		c[2] = append(c[2], candidateWords(a, x))
	}
	if a.Guesses > 0 {
		c[3] = []string{strconv.Itoa(a.Guesses)}
	}
	if a.Error != "" {
		c[4] = []string{program.Printable(a.Error)}
	}
	return c
}

// natIs reports whether the side says nothing of its NAT that now does not.
func (c column) natIs(now []string) bool { return c[natThen] == nil || slices.Equal(c[natThen], now) }

func candidateWords(a *node.AttemptReport, c node.CandidateReport) string {
	fate := "no answer"
	switch {
	case c.Heard:
		fate = "answered"
	case c.Refused, a.Technique == reach.TechniqueNone.String():
		fate = "not probed"
	}
	return fmt.Sprintf("%-10s  %s %s", fate, program.Printable(c.Kind), c.Addr)
}

// A table has two columns, and titles that go across both.
type table struct{ rows []tableRow }

type tableRow struct {
	title, name string
	left, right []string // lines
}

func (t *table) title(text string) { t.rows = append(t.rows, tableRow{title: text}) }

// row adds a row, unless there is nothing in it.
func (t *table) row(name string, left, right []string) {
	if len(left)+len(right) > 0 {
		t.rows = append(t.rows, tableRow{name: name, left: left, right: right})
	}
}

func (t *table) String() string {
	width := 0
	for _, r := range t.rows {
		for _, s := range r.left {
			width = max(width, utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for _, r := range t.rows {
		r.print(&b, width)
	}
	return b.String()
}

func (r *tableRow) print(b *strings.Builder, width int) {
	if r.title != "" {
		fmt.Fprintf(b, "\n%s\n", r.title)
		return
	}
	name := r.name
	for k := range max(len(r.left), len(r.right)) {
		line := fmt.Sprintf("%-*s %-*s   %s", nameWidth, name, width, at(r.left, k), at(r.right, k))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		name = ""
	}
}

func at(list []string, k int) string {
	if k < len(list) {
		return list[k]
	}
	return ""
}
