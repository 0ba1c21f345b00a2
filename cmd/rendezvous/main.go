// Command rendezvous runs a rendezvous server: it introduces peers to each other
// so that they can connect directly, and relays for those that cannot.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v3"
)

func main() { program.Main(command(os.Stdout, os.Stderr)) }

const description = `Nodes are given the line that the server prints, hf1...@host:port: the key that
it proves to have, and its address. The key file is the server's identity: keep
it, or every node has to be told anew. The server holds nothing else on disk. It
cannot read or forge what it relays.

Open these ports to the world:

   UDP 3478            nodes, their introductions and relayed sessions
   UDP 3479 to 3486    the probe ports, by which nodes find out what their NATs do
   TCP 3478            a WebSocket, for nodes whose network lets no UDP pass
   TCP 443             the same over TLS, which passes almost everywhere; it needs a
                       certificate for the host by whose name nodes know the server

On an interrupt or SIGTERM the server tells its nodes and leaves; sessions that are
direct do not notice. So restart it when the certificate was renewed.

Examples:
   rendezvous --public-host rendezvous.example
   rendezvous --public-host rendezvous.example --tls-cert full.pem --tls-key key.pem
   rendezvous --listen 127.0.0.1:3478 --key ./rendezvous.key --verbose`

func command(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "rendezvous",
		Usage:       "introduce peers to each other, and relay for those that cannot connect",
		Version:     program.Version(),
		Description: description,
		Writer:      stdout,
		ErrWriter:   stderr,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: ":3478", Usage: "UDP `ADDRESS` to serve, as host:port", Sources: cli.EnvVars("RENDEZVOUS_LISTEN")},
			&cli.StringFlag{Name: "key", Usage: "identity `FILE`, made if absent (default: in the user's state directory)", Sources: cli.EnvVars("RENDEZVOUS_KEY"), TakesFile: true},
			&cli.StringFlag{Name: "public-host", Usage: "`HOST` that nodes reach the server by: a DNS name or an address", Sources: cli.EnvVars("RENDEZVOUS_PUBLIC_HOST")},
			&cli.IntFlag{Name: "probe-ports", Value: 8, Usage: "answer on `N` more UDP ports, those after the server's own; 0 for none", Sources: cli.EnvVars("RENDEZVOUS_PROBE_PORTS")},
			&cli.StringFlag{Name: "websocket", Usage: "TCP `ADDRESS` for nodes without UDP, - for none; they look for it at the UDP address (default: there)", Sources: cli.EnvVars("RENDEZVOUS_WEBSOCKET")},
			&cli.StringFlag{Name: "tls-cert", Usage: "PEM `FILE` with the certificate and those that vouch for it", Sources: cli.EnvVars("RENDEZVOUS_TLS_CERT"), TakesFile: true},
			&cli.StringFlag{Name: "tls-key", Usage: "PEM `FILE` with the certificate's private key", Sources: cli.EnvVars("RENDEZVOUS_TLS_KEY"), TakesFile: true},
			&cli.StringFlag{Name: "tls-listen", Value: ":443", Usage: "TCP `ADDRESS` for TLS; nodes look for it on port 443", Sources: cli.EnvVars("RENDEZVOUS_TLS_LISTEN")},
			&cli.BoolFlag{Name: "json", Usage: "print and log JSON"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log registrations and introductions"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return program.Misused("unexpected argument %q", cmd.Args().First())
			}
			log := program.Logger(stderr, cmd.Bool("verbose"), cmd.Bool("json"))
			return serve(ctx, cmd, stdout, log)
		},
	}
}

// serve runs the server until ctx ends, and then lets it take its leave.
func serve(ctx context.Context, cmd *cli.Command, stdout io.Writer, log *logrus.Logger) (err error) {
	cfg, err := configure(cmd)
	if err != nil {
		return err
	}
	cfg.Logger = log
	s, err := rendezvous.Listen(cfg)
	if err != nil {
		return hintListen(err, cfg)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	shown, err := public(s, cmd.String("public-host"), log)
	if err != nil {
		return err
	}
	if err := announce(stdout, shown, cmd.Bool("json")); err != nil {
		return err
	}
	<-ctx.Done()
	log.Info("leaving")
	return nil
}

// public returns the server as nodes are to be told of it: under the host that
// they reach it by, and the port that it is bound to.
func public(s *rendezvous.Server, host string, log *logrus.Logger) (wire.Server, error) {
	bound := s.Addr()
	switch {
	case host != "":
	case !bound.Addr().IsUnspecified():
		host = bound.Addr().String()
	default:
		var err error
		if host, err = os.Hostname(); err != nil {
			return wire.Server{}, program.Hint(err, "say how nodes reach the server with --public-host")
		}
		log.Warnf("nodes are told to reach this server as %s, which is only a guess: say how with --public-host", host)
	}
	addr := net.JoinHostPort(host, strconv.Itoa(int(bound.Port())))
	shown, err := wire.ParseServer(wire.Server{ID: s.ID(), Addr: addr}.String())
	if err != nil {
		return shown, program.Misused("--public-host: %s", program.Plain(err))
	}
	return shown, nil
}

func announce(stdout io.Writer, s wire.Server, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(stdout).Encode(struct {
			Event  string      `json:"event"`
			Server wire.Server `json:"server"`
		}{"online", s})
	}
	_, err := fmt.Fprintf(stdout, "%s\n", s)
	return err
}
