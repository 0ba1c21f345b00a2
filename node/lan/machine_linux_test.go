package lan

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machineEnv is set in a process that has a network namespace for itself.
const machineEnv = "HOLDFAST_LAN_MACHINE"

// requireNamespaces skips the test where it would speak to a network that is not
// its own.
func requireNamespaces(t *testing.T) {
	t.Helper()
	if os.Getenv("HOLDFAST_NETNS") != "1" || os.Geteuid() != 0 {
		t.Skip("needs network namespaces: run as root with HOLDFAST_NETNS=1")
	}
}

// onMachine runs the test again in a namespace without any network, and reports
// whether this is that run.
func onMachine(t *testing.T) bool {
	t.Helper()
	if os.Getenv(machineEnv) != "" {
		return true
	}
	requireNamespaces(t)
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), machineEnv+"=1")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	return false
}

// eventually reports whether ok returns true within 5 s: the kernel gives an interface
// its addresses and its carrier in its own time, which is not virtual.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func TestGroupsFollowTheNetwork(t *testing.T) {
	if !onMachine(t) {
		return
	}
	s, err := Listen(Config{Handle: func([]byte, netip.AddrPort) {}})
	if err != nil {
		t.Fatal("without a network:", err)
	}
	defer s.Close()
	wantGroups := func(when string, want int) {
		t.Helper()
		var got int
		if !eventually(func() bool {
			if err := s.Refresh(); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			got = s.Stats().Groups
			return got == want
		}) {
			t.Fatalf("%s: %d groups, want %d", when, got, want)
		}
	}
	if sent, err := NewSender(listenMain(t, "udp4")).Send([]byte("INIT")); sent != 0 || err == nil {
		t.Errorf("without a network: sent %d, %v", sent, err)
	}
	wantGroups("without a network", 0)
	ip(t, "link add eth0 type veth peer name far")
	ip(t, "link set eth0 addrgenmode none") // no link-local address
	ip(t, "link set eth0 up")
	wantGroups("without an address", 0)
	ip(t, "address add 10.1.2.3/24 dev eth0")
	wantGroups("with IPv4", 1)
	ip(t, "address add fd00::1/64 dev eth0 nodad")
	wantGroups("with both", 2)
	wantGroups("with both, again", 2)
	ip(t, "link set eth0 down")
	wantGroups("down", 0)
	ip(t, "link set eth0 up")
	wantGroups("up again", 1) // the system forgets addresses of IPv6
	ip(t, "link delete eth0")
	wantGroups("gone", 0)
	for range 30 {
		ip(t, "link add type veth")
	}
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range all {
		if ifi.Flags&net.FlagLoopback == 0 {
			ip(t, "link set "+ifi.Name+" up")
		}
	}
	ip(t, "address add 10.1.2.3/24 dev "+all[len(all)-1].Name)
	wantGroups("among many containers", 1+interfacesMax)
}

// Every process on a machine hears, those of the sender's machine too.
func TestProcessesOfOneMachineFindEachOther(t *testing.T) {
	if !onMachine(t) {
		return
	}
	ip(t, "link add eth0 type veth peer name far")
	ip(t, "link set far up addrgenmode none")
	ip(t, "address add 10.1.2.3/24 dev eth0")
	ip(t, "address add fd00::1/64 dev eth0 nodad")
	ip(t, "link set eth0 up")
	question := bytes.Repeat([]byte{7}, 184)
	for _, network := range []string{"udp4", "udp6"} {
		heard := make(chan netip.AddrPort, 10)
		for range 2 {
			s, err := Listen(Config{Handle: func(b []byte, from netip.AddrPort) {
				if bytes.Equal(b, question) {
					heard <- from
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
		}
		conn := listenMain(t, network)
		sendOnce(t, NewSender(conn), question)
		for range 2 {
			select {
			case from := <-heard:
				if want := conn.LocalAddr().(*net.UDPAddr).Port; int(from.Port()) != want {
					t.Errorf("from %v, want port %d", from, want)
				}
			case <-time.After(5 * time.Second):
				t.Fatal(network, "not heard")
			}
		}
	}
}

// sendOnce sends as soon as the system finds that the cable is plugged in.
func sendOnce(t *testing.T, sender *Sender, b []byte) {
	t.Helper()
	var sent int
	var err error
	if !eventually(func() bool {
		sent, err = sender.Send(b)
		return sent == 1
	}) {
		t.Fatalf("sent on %d interfaces: %v", sent, err)
	}
}

// A datagram that was not sent to the group is not for this port, wherever it
// comes from.
func TestUnicastToThePortIsDropped(t *testing.T) {
	if !onMachine(t) {
		return
	}
	ip(t, "link set lo up multicast on")
	s, err := Listen(Config{Handle: func(b []byte, from netip.AddrPort) { t.Errorf("%q from %v", b, from) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn := listenMain(t, "udp4")
	conn.WriteToUDPAddrPort([]byte("INIT"), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), Port))
	conn.WriteToUDPAddrPort(make([]byte, 5000), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), Port))
	if !eventually(func() bool { st := s.Stats(); return st.OffLink == 1 && st.Oversize == 1 }) {
		t.Fatalf("not counted: %+v", s.Stats())
	}
}
