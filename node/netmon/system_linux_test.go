package netmon

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv is set in the process that runs in a network namespace of its own.
const childEnv = "HOLDFAST_NETMON_CHILD"

// The test runs itself again where it may change the network.
func TestKernelTellsOfAddressesAndRoutes(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		inNamespace(t)
		return
	}
	if os.Getenv("HOLDFAST_NETNS") != "1" || os.Geteuid() != 0 {
		t.Skip("needs network namespaces: run as root with HOLDFAST_NETNS=1")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func inNamespace(t *testing.T) {
	ip(t, "link add eth0 type veth peer name far")
	ip(t, "link set far up")
	m := Start(Config{})
	defer m.Close()

	ip(t, "link set eth0 up")
	began := time.Now()
	ip(t, "address add 10.1.2.3/24 dev eth0")
	c := wantChange(t, m, "address", began, 50*time.Millisecond)
	if c.Before.Up() || !c.After.Up() || c.After.Interfaces[0].Addrs[0].String() != "10.1.2.3/24" {
		t.Errorf("address: got %+v", c)
	}

	began = time.Now()
	ip(t, "route add default via 10.1.2.1")
	c = wantChange(t, m, "route", began, 50*time.Millisecond)
	if !c.SourceMoved() || c.After.Source4.String() != "10.1.2.3" {
		t.Errorf("route: got %+v", c)
	}

	// A flood of messages while nobody reads makes the kernel drop some.
	var batch strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&batch, "route add 10.%d.%d.%d/32 dev eth0\n", 100+i>>16, i>>8&255, i&255)
	}
	flood := exec.Command("ip", "-batch", "-")
	flood.Stdin = strings.NewReader(batch.String())
	if out, err := flood.CombinedOutput(); err != nil {
		t.Fatalf("flood: %v: %s", err, out)
	}

	began = time.Now()
	ip(t, "link set eth0 down")
	c = wantChange(t, m, "loss", began, time.Second)
	if c.After.Up() || time.Since(began) < quietTime {
		t.Errorf("loss: after %v got %+v", time.Since(began), c)
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func wantChange(t *testing.T, m *Monitor, what string, began time.Time, latest time.Duration) Change {
	t.Helper()
	select {
	case c := <-m.Changes():
		took := time.Since(began)
		t.Logf("%s: told %v after ip was started", what, took.Round(100*time.Microsecond))
		if took > latest {
			t.Errorf("%s: want at most %v", what, latest)
		}
		return c
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not told", what)
		return Change{}
	}
}
