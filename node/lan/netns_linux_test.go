package lan

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// roleEnv is set in the processes that are the nodes of this test, each in a
// network namespace.
const roleEnv = "HOLDFAST_LAN_ROLE"

// Two machines on one switch: a datagram to the groups reaches the other, and
// its unicast answer comes back, over IPv4 and IPv6.
func TestNodesOnOneSwitchFindEachOther(t *testing.T) {
	if role := os.Getenv(roleEnv); role != "" {
		play(t, role)
		return
	}
	requireNamespaces(t)
	names := layCables(t)
	answering := nodeCommand(names[0], "answer")
	stdin, err := answering.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := answering.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := answering.Start(); err != nil {
		t.Fatal(err)
	}
	defer answering.Wait()
	defer stdin.Close()
	bufio.NewReader(stdout).ReadString('\n') // it listens

	for _, network := range []string{"udp4", "udp6"} {
		out, err := nodeCommand(names[1], network).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", network, err, out)
		}
		t.Logf("%s: %s", network, out)
	}
}

// layCables makes two namespaces joined by a bridge in a third.
func layCables(t *testing.T) [2]string {
	t.Helper()
	name := func(s string) string { return fmt.Sprintf("lan%d-%s", os.Getpid(), s) }
	sw, hosts := name("switch"), [2]string{name("a"), name("b")}
	for _, ns := range []string{sw, hosts[0], hosts[1]} {
		ip(t, "netns add "+ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "delete", ns).Run() })
	}
	ip(t, "-n "+sw+" link add br0 type bridge mcast_snooping 0")
	ip(t, "-n "+sw+" link set br0 up")
	for i, ns := range hosts {
		ip(t, fmt.Sprintf("-n %s link add p%d type veth peer name eth0 netns %s", sw, i, ns))
		ip(t, fmt.Sprintf("-n %s link set p%d master br0 up", sw, i))
		ip(t, fmt.Sprintf("-n %s address add 10.1.0.%d/24 dev eth0", ns, i+1))
		ip(t, fmt.Sprintf("-n %s link set eth0 up", ns))
	}
	return hosts
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

func nodeCommand(ns, role string) *exec.Cmd {
	cmd := exec.Command("ip", "netns", "exec", ns, os.Args[0], "-test.run=^TestNodesOnOneSwitchFindEachOther$")
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	return cmd
}

// play is the test in the process of a node.
func play(t *testing.T, role string) {
	switch role {
	case "answer":
		answer(t)
	default:
		ask(t, role)
	}
}

// answer answers what it hears until its standard input ends.
func answer(t *testing.T) {
	main4, main6 := listenMain(t, "udp4"), listenMain(t, "udp6")
	s, err := Listen(Config{Handle: func(b []byte, from netip.AddrPort) {
		conn := main4
		if from.Addr().Is6() {
			conn = main6
		}
		conn.WriteToUDPAddrPort(append([]byte("heard "), b...), from)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		os.Stdin.Read(make([]byte, 1))
	}()
	fmt.Println("listening")
	for {
		select {
		case <-ended:
			return
		case <-time.After(100 * time.Millisecond):
			s.Refresh() // the interface's link-local address comes late
		}
	}
}

// ask sends to the group until an answer comes to the socket it sends from.
func ask(t *testing.T, network string) {
	conn := listenMain(t, network)
	sender := NewSender(conn)
	began := time.Now()
	buf := make([]byte, 500)
	for time.Since(began) < 10*time.Second {
		asked := time.Now()
		sent, err := sender.Send([]byte("INIT"))
		conn.SetReadDeadline(asked.Add(100 * time.Millisecond))
		n, from, readErr := conn.ReadFromUDPAddrPort(buf)
		if readErr != nil {
			t.Logf("sent on %d interfaces, %v: %v", sent, err, readErr)
			continue
		}
		if string(buf[:n]) != "heard INIT" || from.Port() == Port {
			t.Errorf("got %q from %v", buf[:n], from)
		}
		fmt.Printf("%v answered in %v\n", from, time.Since(asked))
		return
	}
	t.Fatal("no answer")
}

func listenMain(t *testing.T, network string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP(network, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
