package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/rendezvous/lab"
)

// inLab runs the verb in virtual time.
func inLab(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		cmd := command(nil, &out, &err)
		code = program.Run(t.Context(), cmd, append([]string{"holdfast", "lab"}, args...))
	})
	return out.String(), err.String(), code
}

func TestLabLetsAPairMeetBothWays(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := inLab(t, "--json", "--both", "--pair", "port-restricted,udp-blocked")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 3 {
		t.Fatalf("exit %d, want 0 and two pairs and a summary\n%s%s", code, stdout, stderr)
	}
	for k, calls := range []string{"port-restricted", "udp-blocked"} {
		var r struct {
			Event, A, Outcome, Want string
			AsExpected              bool    `json:"as_expected"`
			FirstMessageMS          float64 `json:"first_message_ms"`
		}
		if err := json.Unmarshal([]byte(lines[k]), &r); err != nil {
			t.Fatal(err)
		}
		if r.Event != "pair" || r.A != calls || r.Outcome != "udp-blocked" || r.Want != r.Outcome || !r.AsExpected || r.FirstMessageMS <= 0 {
			t.Errorf("%s: want %s to be told that UDP is blocked", lines[k], calls)
		}
	}
	if want := `{"event":"summary","pairs":2,"differ":[]}`; lines[2] != want {
		t.Errorf("summary %s, want %s", lines[2], want)
	}
}

func TestLabShowsWhatASinglePairHasTried(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := inLab(t, "--pair", "port-restricted,full-cone")
	if code != 0 || !strings.HasPrefix(stdout, "port-restricted calls full-cone: direct after ") || !strings.Contains(stdout, "attempt 1") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestExpectedOutcomesArePrintedWithoutATrial(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := runToEnd(t, holdfast(t, "lab", "--expected"))
	if code != 0 || !strings.Contains(stdout, "port-restricted") || !strings.Contains(stdout, "H  both NATs are hard") || !strings.Contains(stdout, "s  direct after a search") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	stdout, _, _ = runToEnd(t, holdfast(t, "lab", "--expected", "--json", "--no-search", "--pair", "random,linux"))
	if want := `{"event":"expected","a":"random","b":"linux","outcome":"search-off","search":false}` + "\n"; stdout != want {
		t.Errorf("printed %s, want %s", stdout, want)
	}
	stdout, _, _ = runToEnd(t, holdfast(t, "lab", "--expected", "--json"))
	kinds := len(lab.Kinds())
	if n := strings.Count(stdout, "\n"); n != kinds*(kinds+1)/2 {
		t.Errorf("%d pairs, want each of %d kinds with each once", n, kinds)
	}
}

func TestLabFailsWhenAPairDoesNotComeToWhatItMust(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tr := &trial{run: &run{print: &printer{w: &out}}}
	pair := func(a, b lab.Kind, outcome string) labResult {
		want := lab.Expect(a, b, true).String()
		return labResult{A: a.String(), B: b.String(), Outcome: outcome, Want: want, AsExpected: outcome == want, result: lab.Result{Pair: lab.Pair{A: a, B: b}}}
	}
	err := tr.report([]labResult{pair(lab.Linux, lab.Public, "no-answer"), pair(lab.Public, lab.Linux, "failed"), pair(lab.UDPBlocked, lab.Public, "udp-blocked")}, false)
	if err == nil || !strings.Contains(err.Error(), "2 of 3 pairs") {
		t.Errorf("error %v, want 2 of 3 pairs", err)
	}
	for _, want := range []string{
		" 5 linux                   ?", "the other way round", " 5 linux                   !", "14 udp-blocked             U",
		"linux calls public: no-answer, must be direct", "public calls linux: failed, must be direct", "?  nothing came back",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
