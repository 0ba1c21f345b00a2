package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-67dce94e/holdfast/cmd/internal/certtest"
	"github.com/seed-67dce94e/holdfast/cmd/internal/program"
	"github.com/seed-67dce94e/holdfast/wire"
)

// addrOf returns the address in the line that the server printed.
func addrOf(t *testing.T, r *running) netip.AddrPort {
	t.Helper()
	s, err := wire.ParseServer(r.line)
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(s.Addr)
}

// taken reports whether the port after addr's is bound.
func taken(addr netip.AddrPort) bool {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr.Addr(), addr.Port()+1)))
	if err == nil {
		c.Close()
	}
	return err != nil
}

func TestProbePortsFollowTheServersOwn(t *testing.T) {
	t.Parallel()
	r := start(t, "--listen", "127.0.0.1:0", "--key", keyFile(t))
	if !taken(addrOf(t, r)) {
		t.Error("the port after the server's is free, want a probe port")
	}
	r.leave()
	for try := range 5 { // another process may have the port
		r := start(t, "--listen", "127.0.0.1:0", "--key", keyFile(t), "--probe-ports", "0")
		free := !taken(addrOf(t, r))
		r.leave()
		if free {
			return
		}
		if try == 4 {
			t.Error("with --probe-ports 0: the port after the server's is bound")
		}
	}
}

func TestWebSocketIsWhereTheUDPAddressIs(t *testing.T) {
	t.Parallel()
	dial := func(args ...string) error {
		r := start(t, append([]string{"--listen", "127.0.0.1:0", "--key", keyFile(t)}, args...)...)
		defer r.leave()
		c, err := net.Dial("tcp", addrOf(t, r).String())
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Error(err)
	}
	if err := dial("--websocket", "-"); err == nil {
		t.Error("with --websocket -: the TCP port is open")
	}
}

// freePort returns an address of loopback that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestServerShowsItsCertificate(t *testing.T) {
	t.Parallel()
	cert, key := certtest.Files(t, "127.0.0.1")
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	at := freePort(t)
	r := start(t, "--listen", "127.0.0.1:0", "--key", keyFile(t), "--tls-cert", cert, "--tls-key", key, "--tls-listen", at)
	defer r.leave()
	c, err := tls.Dial("tcp", at, &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestCertificateThatCannotServeIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	cert, key := certtest.Files(t, "127.0.0.1")
	otherCert, _ := certtest.Files(t, "127.0.0.1")
	missing := filepath.Join(t.TempDir(), "none.pem")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--tls-cert", cert}, program.ExitMisuse, "needs --tls-key"},
		{[]string{"--tls-key", key}, program.ExitMisuse, "needs --tls-cert"},
		{[]string{"--tls-listen", ":443"}, program.ExitMisuse, "add --tls-cert"},
		{[]string{"--tls-cert", missing, "--tls-key", key}, program.ExitFailed, missing},
		{[]string{"--tls-cert", otherCert, "--tls-key", key}, program.ExitFailed, "does not match"},
		{[]string{"--tls-cert", key, "--tls-key", cert}, program.ExitFailed, "rendezvous: hint: "},
		{[]string{"--probe-ports", "65"}, program.ExitMisuse, "--probe-ports"},
		{[]string{"--probe-ports", "-1"}, program.ExitMisuse, "--probe-ports"},
		{[]string{"--websocket", "192.0.2.1:80"}, program.ExitFailed, "hint: are --websocket"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		var stdout, stderr buffer
		args := append([]string{"rendezvous", "--listen", "127.0.0.1:0", "--key", keyFile(t)}, tt.args...)
		code := program.Run(ctx, command(&stdout, &stderr), args)
		cancel()
		if code != tt.code || !strings.Contains(stderr.String(), tt.want) || stdout.String() != "" {
			t.Errorf("%v: exit %d, want %d and %q\n%s%s", tt.args, code, tt.code, tt.want, stdout.String(), stderr.String())
		}
	}
}
