// Package program holds what the commands share: how they start and stop, how
// they say what went wrong, and where they keep their keys.
//
// Results go to standard output, everything else to standard error. A command
// ends with 0, with 1 when it failed, or with 2 when it was misused.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitMisuse = 2
)

// Main runs the command with the arguments of the process and exits. An
// interrupt or a termination signal cancels the command's context, so that it
// can say goodbye; a second one ends the process at once.
func Main(cmd *cli.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(Run(ctx, cmd, os.Args))
}

// Run runs the command and returns its exit code, after telling cmd.ErrWriter
// (or standard error) about the error, if any.
func Run(ctx context.Context, cmd *cli.Command, args []string) int {
	if cmd.ErrWriter == nil {
		cmd.ErrWriter = os.Stderr
	}
	cmd.ExitErrHandler = func(context.Context, *cli.Command, error) {} // the errors are reported below
	reportMisuse(cmd, cmd.Name+" help")
	err := cmd.Run(ctx, args)
	if err == nil {
		return ExitOK
	}
	if _, ok := errors.AsType[cli.ExitCoder](err); ok { // the parser's: none of ours is
		what, _, _ := strings.Cut(err.Error(), ". ")
		err = about(cmd.Name+" help", Misused("%s", what))
	}
	report(cmd.ErrWriter, cmd.Name, err)
	if _, ok := errors.AsType[*UsageError](err); ok {
		return ExitMisuse
	}
	return ExitFailed
}

// reportMisuse turns the parser's complaints into usage errors that name the help
// to read, for the command and every verb of it: the handler is not inherited.
func reportMisuse(cmd *cli.Command, help string) {
	cmd.OnUsageError = func(_ context.Context, _ *cli.Command, err error, _ bool) error {
		what, _, _ := strings.Cut(err.Error(), ": strconv.") // Go's own words say nothing to a user
		return about(help, &UsageError{What: what})
	}
	if action := cmd.Action; action != nil {
		cmd.Action = func(ctx context.Context, cmd *cli.Command) error { return about(help, action(ctx, cmd)) }
	}
	for _, verb := range cmd.Commands {
		reportMisuse(verb, help+" "+verb.Name)
	}
}

// about sets the help to read in a usage error that names none.
func about(help string, err error) error {
	if u, ok := errors.AsType[*UsageError](err); ok && u.help == "" {
		u.help = help
	}
	return err
}

func report(w io.Writer, name string, err error) {
	text := Plain(err)
	if errors.Is(err, context.Canceled) {
		text = "interrupted"
	}
	fmt.Fprintf(w, "%s: error: %s\n", name, text)
	if h, ok := errors.AsType[*hintedError](err); ok {
		fmt.Fprintf(w, "%s: hint: %s\n", name, h.hint)
	} else if u, ok := errors.AsType[*UsageError](err); ok && u.help != "" {
		fmt.Fprintf(w, "%s: hint: see \"%s\"\n", name, u.help)
	}
}

// Plain returns the text of err without the name of the package that it comes
// from, which means nothing to the person in front of the program.
func Plain(err error) string {
	text := err.Error()
	for _, pkg := range []string{"node: ", "session: ", "wire: ", "rendezvous: "} {
		text = strings.TrimPrefix(text, pkg)
	}
	return text
}

// A UsageError says that the command line makes no sense. It ends the program
// with [ExitMisuse].
type UsageError struct {
	What string

	help string // the command that explains; empty until it is known
}

func (e *UsageError) Error() string { return e.What }

// Misused returns a [UsageError].
func Misused(format string, args ...any) error {
	return &UsageError{What: fmt.Sprintf(format, args...)}
}

type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

// Hint adds to err what the person in front of the program can do about it.
func Hint(err error, format string, args ...any) error {
	return &hintedError{err, fmt.Sprintf(format, args...)}
}

// HintListen adds to the error of opening a socket on the address what to look at.
func HintListen(err error, addr string) error {
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		return err // not the address is to blame
	}
	return Hint(err, "is --listen %s an address of this machine, with a port that is free?", addr)
}

// Logger returns a logger that writes to w: warnings alone, or everything if
// verbose, as JSON if asked.
func Logger(w io.Writer, verbose, asJSON bool) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	log.SetLevel(logrus.WarnLevel)
	if verbose {
		log.SetLevel(logrus.DebugLevel)
	}
	if asJSON {
		log.SetFormatter(&logrus.JSONFormatter{})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "15:04:05.000"})
	}
	return log
}

// Printable returns s without the control characters that could move the cursor
// of a terminal or start an escape sequence: s may come from a stranger.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || isBidiControl(r) {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// isBidiControl tells the characters that make text look like other text.
func isBidiControl(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
