package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/urfave/cli/v3"
)

// probePortsMax is the most that rendezvous.Config takes.
const probePortsMax = 64

// configure makes the server's configuration of the flags.
func configure(cmd *cli.Command) (*rendezvous.Config, error) {
	probes := cmd.Int("probe-ports")
	if probes < 0 || probes > probePortsMax {
		return nil, program.Misused("--probe-ports: %d is not between 0 and %d", probes, probePortsMax)
	}
	if probes == 0 {
		probes = -1 // what the Config calls none
	}
	secure, err := tlsConfig(cmd)
	if err != nil {
		return nil, err
	}
	key, err := program.Key(cmd.String("key"), "rendezvous.key")
	if err != nil {
		return nil, err
	}
	return &rendezvous.Config{
		Addr: cmd.String("listen"), Key: key, ProbePorts: probes,
		WebSocket: cmd.String("websocket"), TLS: secure, TLSAddr: cmd.String("tls-listen"),
	}, nil
}

// tlsConfig returns nil if no certificate was named.
func tlsConfig(cmd *cli.Command) (*tls.Config, error) {
	cert, key := cmd.String("tls-cert"), cmd.String("tls-key")
	switch {
	case cert == "" && key == "" && !cmd.IsSet("tls-listen"):
		return nil, nil
	case cert == "" && key == "":
		return nil, program.Misused("--tls-listen needs a certificate: add --tls-cert and --tls-key")
	case cert == "":
		return nil, program.Misused("--tls-key needs --tls-cert, the certificate that the key belongs to")
	case key == "":
		return nil, program.Misused("--tls-cert needs --tls-key, the private key of the certificate")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, program.Hint(fmt.Errorf("the certificate cannot be used: %s", strings.TrimPrefix(err.Error(), "tls: ")),
			"want two PEM files that this user may read: --tls-cert with the chain, the server's own first, and --tls-key with its private key")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// hintListen adds to the error of opening a port which flag says where it is.
func hintListen(err error, c *rendezvous.Config) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && strings.HasPrefix(op.Net, "tcp") {
		return program.Hint(err, "are --websocket and --tls-listen addresses of this machine, with ports that are free and that this user may open?")
	}
	return program.HintListen(err, c.Addr)
}
