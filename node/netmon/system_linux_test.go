package netmon

import (
	"net"
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
	ip(t, "link set eth0 addrgenmode none up")
	waitForCarrier(t, "eth0")
	m := Start(Config{})
	defer m.Close()

	// At once: before a loss would be told, even on a busy machine.
	ip(t, "address add 10.1.2.3/24 dev eth0")
	began := time.Now()
	c := wantChange(t, m, "address", began, quietTime)
	if c.Before.Up() || !c.After.Up() || c.After.Interfaces[0].Addrs[0].String() != "10.1.2.3/24" {
		t.Errorf("address: got %+v", c)
	}

	ip(t, "route add default via 10.1.2.1")
	began = time.Now()
	c = wantChange(t, m, "route", began, quietTime)
	if !c.SourceMoved() || c.After.Source4.String() != "10.1.2.3" {
		t.Errorf("route: got %+v", c)
	}

	began = time.Now()
	ip(t, "link set eth0 down")
	c = wantChange(t, m, "loss", began, time.Second)
	if c.After.Up() || time.Since(began) < quietTime {
		t.Errorf("loss: after %v got %+v", time.Since(began), c)
	}
}

// waitForCarrier waits until the kernel finds that the cable is plugged in, in its own
// time, which is not virtual.
func waitForCarrier(t *testing.T, name string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		ifi, err := net.InterfaceByName(name)
		if err == nil && ifi.Flags&net.FlagRunning != 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: no carrier: %v", name, err)
		}
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
		t.Logf("%s: told %v after ip ended", what, took.Round(100*time.Microsecond))
		if took > latest {
			t.Errorf("%s: want at most %v", what, latest)
		}
		return c
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not told", what)
		return Change{}
	}
}
