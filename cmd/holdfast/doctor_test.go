package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// surveyTries is how often a survey may fail, each time with another server: the port after
// its own may be taken, which it needs for this, or the machine be too busy for the time
// that it takes at most.
const surveyTries = 5

func TestDoctorFindsNoNATOnLoopback(t *testing.T) {
	t.Parallel()
	var d struct {
		UDP, TCP, Public string
		Complete         bool
		Observed         []string
		NAT              struct{ Mapping string }
		Servers          []struct{ State string }
		Verdict, Advice  string
	}
	for tries := 0; tries < surveyTries && !d.Complete; tries++ {
		p := start(t, holdfast(t, "doctor", "--json", "--listen", "127.0.0.1:0", "--server", startServer(t).addr))
		p.await("doctor", &d)
		if code := p.wait(); code != 0 {
			t.Errorf("exit %d\n%s", code, p.stderr.String())
		}
	}
	if d.UDP != "yes" || d.TCP != "yes" || d.Public != "yes" || d.NAT.Mapping != "endpoint-independent" || !d.Complete {
		t.Errorf("%+v: want an open network, all of it known", d)
	}
	if len(d.Observed) != 1 || len(d.Servers) != 1 || d.Servers[0].State != "registered" || !strings.HasPrefix(d.Verdict, "public address") || d.Advice == "" {
		t.Errorf("%+v: want what the server sees, and a verdict", d)
	}
}

func TestDoctorNeedsSomebodyToAsk(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := runToEnd(t, holdfast(t, "doctor"))
	if code != 1 || stdout != "" || !strings.Contains(stderr, "holdfast: hint: ") || !strings.Contains(stderr, "--server") {
		t.Errorf("exit %d, want 1 and a hint\n%s%s", code, stdout, stderr)
	}
}

func TestDiagnosisIsInPlainWords(t *testing.T) {
	t.Parallel()
	d := diagnosis{Diagnosis: node.Diagnosis{
		UDP: node.Yes, TCP: node.No, Public: node.No, IPv6: node.No, Hairpin: node.Yes, Poison: node.Yes,
		Addresses: []string{"192.168.1.2"}, Observed: []string{"203.0.113.1:4000"},
		NAT:        wire.NAT{Mapping: wire.EndpointIndependent, Filtering: wire.AddressAndPortDependent},
		AliveAfter: 4 * time.Second, GoneAfter: 8 * time.Second,
		PortMap: node.PortMapStatus{Found: node.Yes, Protocol: "PCP", External: addrPort("203.0.113.1:5000")},
		Servers: []node.ServerStatus{{Addr: "rv.example:3478", State: node.ServerRegistered, RTT: 12 * time.Millisecond, Observed: addrPort("203.0.113.1:4000")}},
		Verdict: "fine", Advice: "nothing to do",
	}}
	for _, want := range []string{
		"UDP             passes\n",
		"TCP, WebSocket  does not pass\n",
		"seen as         203.0.113.1:4000\n",
		"mapping         endpoint-independent\n",
		"filtering       address-and-port-dependent\n",
		"early packets   one from outside that comes too soon costs a flow its port (poison-prone)\n",
		"idle mappings   live between 4 and 8 s\n",
		"port mapping    PCP grants 203.0.113.1:5000\n",
		"server          rv.example:3478, registered, 12 ms round trip, sees 203.0.113.1:4000\n",
		"\n\nverdict         fine\nadvice          nothing to do",
	} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("%q is missing in\n%s", want, d)
		}
	}
	for _, tt := range []struct {
		alive, gone time.Duration
		want        string
	}{
		{0, 0, "not measured"},
		{12 * time.Second, 0, "live at least 12 s"},
		{0, 4 * time.Second, "live less than 4 s"},
	} {
		if got := lifetimeWords(tt.alive, tt.gone); got != tt.want {
			t.Errorf("alive after %v, gone after %v: %q, want %q", tt.alive, tt.gone, got, tt.want)
		}
	}
}

func TestStatusTellsWhatTheNATDoes(t *testing.T) {
	t.Parallel()
	var st struct {
		Surveyed bool
		Public   string
		NAT      struct {
			Mapping string
			Flags   wire.NATFlags
		}
	}
	for tries := 0; tries < surveyTries && !st.Surveyed; tries++ {
		server := startServer(t)
		stdout, stderr, code := runToEnd(t, holdfast(t, "status", "--json", "--search", "--listen", "127.0.0.1:0", "--server", server.addr))
		if err := json.Unmarshal([]byte(stdout), &st); err != nil || code != 0 {
			t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
		}
	}
	if !st.Surveyed || st.Public != "yes" || st.NAT.Mapping != "endpoint-independent" || st.NAT.Flags != wire.NATSearch {
		t.Errorf("%+v: want a surveyed network without NAT, and the search on", st)
	}
}
