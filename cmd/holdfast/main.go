// Command holdfast talks to peers from the command line: it chats, sends files,
// measures, and shows in one demonstration what the library does.
package main

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/urfave/cli/v3"
)

func main() { program.Main(command(os.Stdin, os.Stdout, os.Stderr)) }

const description = `A PEER is a ticket (hft1...), which the listening side prints, or a peer ID
(hf1...) together with --server. Results go to standard output, logs to standard
error. The exit code is 0, or 1 if it failed, or 2 if it was misused.

Examples:
   holdfast demo
   holdfast echo --server hf1...@rendezvous.example:3478
   holdfast ping --until-direct hft1...
   holdfast bench --self
   holdfast doctor
   holdfast why hft1...
   holdfast receive --dir ~/Downloads
   holdfast send photo.jpg hft1...`

// command returns the whole command, with its verbs.
func command(stdin io.Reader, stdout, stderr io.Writer) *cli.Command {
	streams := streams{stdin, stdout, stderr}
	return &cli.Command{
		Name:        "holdfast",
		Usage:       "peer-to-peer messages that hold while addresses change",
		Version:     program.Version(),
		Description: description,
		Writer:      stdout,
		ErrWriter:   stderr,
		Suggest:     true,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "server", Aliases: []string{"s"}, Usage: "rendezvous `SERVER` (hf1...@host:port); may be repeated", Sources: cli.EnvVars("HOLDFAST_RENDEZVOUS")},
			&cli.StringFlag{Name: "key", Usage: "identity `FILE`, made if absent (default: in the user's state directory)", Sources: cli.EnvVars("HOLDFAST_KEY"), TakesFile: true},
			&cli.StringFlag{Name: "listen", Usage: "UDP `ADDRESS` to use, as host:port (default: any port)"},
			&cli.BoolFlag{Name: "lan", Usage: "find peers on the local link without a server, and be found there", Sources: cli.EnvVars("HOLDFAST_LAN")},
			&cli.BoolFlag{Name: "relay-only", Usage: "tell peers no address, and reach them through servers' relays alone", Sources: cli.EnvVars("HOLDFAST_RELAY_ONLY")},
			&cli.BoolFlag{Name: "search", Usage: "search all ports for a peer whose NAT picks them at random, if it does too", Sources: cli.EnvVars("HOLDFAST_SEARCH")},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON object a line"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log what happens to standard error"},
		},
		Commands: []*cli.Command{
			demoVerb(streams),
			idVerb(streams),
			echoVerb(streams),
			pingVerb(streams),
			benchVerb(streams),
			whyVerb(streams),
			pathsVerb(streams),
			chatVerb(streams),
			sendVerb(streams),
			receiveVerb(streams),
			statusVerb(streams),
			doctorVerb(streams),
			labVerb(streams),
		},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return noVerb(cmd, cmd.Args().First())
			}
			cmd.Root().Writer = stderr
			if err := cli.ShowRootCommandHelp(cmd); err != nil {
				return err
			}
			return program.Misused("no verb given")
		},
	}
}

func noVerb(cmd *cli.Command, typed string) error {
	names := make([]string, len(cmd.Commands))
	for i, v := range cmd.Commands {
		names[i] = v.Name
	}
	return program.Misused("there is no verb %q; there are %s", typed, strings.Join(names, ", "))
}
