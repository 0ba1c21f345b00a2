package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-67dce94e/holdfast/cmd/holdfast/netnstest"
	"github.com/seed-67dce94e/holdfast/cmd/internal/certtest"
)

const serverName = "rv.example"

// A host whose network passes neither UDP nor TCP to the server's own port reaches
// the server by HTTPS on port 443, and others reach the host.
func TestPeerLetOutByHTTPSAloneIsReached(t *testing.T) {
	netnstest.Require(t)
	in := netnstest.New("hs")
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	cert, key := certtest.Files(t, serverName)
	server := awaitServer(start(t, isolate(t, must(in.PublicHost("s", uplink, serverAddr)).Command(deadline(t), builtCommand("rendezvous"),
		"--json", "--listen", serverAddr.String()+":3478", "--public-host", serverName, "--websocket", "-", "--tls-cert", cert, "--tls-key", key))))

	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, fmt.Appendln(nil, serverAddr, serverName), 0o600); err != nil {
		t.Fatal(err)
	}
	on := func(h *netnstest.Host, args ...string) *exec.Cmd { // in the mount namespace of "ip netns exec"
		args = append([]string{"-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts, builtCommand("holdfast")}, args...)
		cmd := isolate(t, h.Command(deadline(t), "sh", append(args, "--json", "--server", server.addr)...))
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+cert)
		return cmd
	}
	inside := must(in.HostOf(netnstest.UDPBlocked, "a", aliceAddrs[0], uplink))
	outside := must(in.PublicHost("b", uplink, bobAddrs[0]))
	ticket := ticketOf(start(t, on(inside, "echo")))
	p := start(t, on(outside, "ping", "--count", "3", "--interval", "10ms", ticket))
	var sum pingSummaryLine
	p.await("summary", &sum)
	if code := p.wait(); code != 0 || sum.Received != 3 || sum.Path.Kind != "relayed" {
		t.Errorf("exit %d, %+v; want 3 answers over the relay\n%s", code, sum, p.stderr.String())
	}
}
