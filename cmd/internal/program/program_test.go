package program

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

// outcome runs a command whose verb "do" fails with err.
func outcome(err error, args ...string) (code int, stderr string) {
	var out, log bytes.Buffer
	cmd := &cli.Command{
		Name: "prog", Writer: &out, ErrWriter: &log,
		Commands: []*cli.Command{{
			Name:   "do",
			Flags:  []cli.Flag{&cli.IntFlag{Name: "n"}},
			Action: func(context.Context, *cli.Command) error { return err },
		}},
	}
	code = Run(context.Background(), cmd, append([]string{"prog"}, args...))
	return code, log.String()
}

func TestExitCodeTellsFailureFromMisuse(t *testing.T) {
	for _, tt := range []struct {
		err  error
		args string
		code int
		want string
	}{
		{nil, "do", ExitOK, ""},
		{errors.New("no luck"), "do", ExitFailed, "prog: error: no luck\n"},
		{Hint(errors.New("no luck"), "try %d times", 3), "do", ExitFailed, "prog: error: no luck\nprog: hint: try 3 times\n"},
		{context.Canceled, "do", ExitFailed, "prog: error: interrupted\n"},
		{Misused("want %s", "more"), "do", ExitMisuse, "prog: error: want more\nprog: hint: see \"prog help do\"\n"},
		{nil, "do --n=x", ExitMisuse, "prog: error: invalid value \"x\" for flag -n\nprog: hint: see \"prog help do\"\n"},
		{nil, "do --m", ExitMisuse, "prog: error: flag provided but not defined: -m\nprog: hint: see \"prog help do\"\n"},
		{nil, "help nosuch", ExitMisuse, "prog: error: No help topic for 'nosuch'\nprog: hint: see \"prog help\"\n"},
	} {
		code, stderr := outcome(tt.err, strings.Fields(tt.args)...)
		if code != tt.code || !strings.HasPrefix(stderr, tt.want) || tt.want == "" && stderr != "" {
			t.Errorf("%s, %v: exit %d, %q; want %d, %q", tt.args, tt.err, code, stderr, tt.code, tt.want)
		}
	}
}

func TestStateDirFollowsTheXDGVariable(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	if got, err := StateDir(); err != nil || got != filepath.Join(dir, "holdfast") {
		t.Errorf("state directory %s, %v", got, err)
	}
	t.Setenv("XDG_STATE_HOME", "not/absolute")
	t.Setenv("HOME", dir)
	if got, err := StateDir(); runtime.GOOS == "linux" && (err != nil || got != filepath.Join(dir, ".local", "state", "holdfast")) {
		t.Errorf("with a relative variable: state directory %s, %v", got, err)
	}
}

func TestPrintableLeavesNoControlOfTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"grüße, 世界":          "grüße, 世界",
		"a\x1b[31mb\r\n\x00": "a\ufffd[31mb\ufffd\ufffd\ufffd",
		"c1 \u009b5m":        "c1 \ufffd5m",
		"\u202etxt.exe":      "\ufffdtxt.exe",
		"bad \xff":           "bad \ufffd",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}
