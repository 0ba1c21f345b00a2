package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Require skips the test, and says why, unless the machine may be used for
// network namespaces: they need root, and HOLDFAST_NETNS=1 allows it.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv("HOLDFAST_NETNS") != "1" || os.Geteuid() != 0 {
		t.Skip("needs network namespaces: run as root with HOLDFAST_NETNS=1")
	}
}

// inNamespace calls open on a thread that is in the network namespace: what it
// opens stays there.
func inNamespace[T any](ns string, open func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var r result
		if r.err = enter(ns); r.err == nil {
			r.v, r.err = open()
		}
		done <- r
	}()
	r := <-done
	return r.v, r.err
}

func enter(ns string) error {
	handle, err := os.Open("/var/run/netns/" + ns)
	if err != nil {
		return err
	}
	defer handle.Close()
	if err := unix.Setns(int(handle.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns %s: %w", ns, err)
	}
	return nil
}

// openTUN makes a TUN device in the namespace of the thread.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("TUN device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// runIn runs a command in a namespace. Its output is part of the error if it
// fails.
func runIn(ns, stdin, name string, args ...string) error {
	_, err := inNamespace(ns, func() (struct{}, error) { return struct{}{}, run(stdin, name, args...) })
	return err
}

func run(stdin, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s\n%s", name, strings.Join(args, " "), err, out, stdin)
	}
	return nil
}

// sysctl sets a kernel parameter of a namespace.
func sysctl(ns, name, value string) error {
	_, err := inNamespace(ns, func() (struct{}, error) {
		return struct{}{}, os.WriteFile("/proc/sys/"+name, []byte(value), 0)
	})
	return err
}

// killIn kills the processes in the namespaces that are left.
func killIn(spaces []string) error {
	ours := make(map[uint64]bool)
	for _, ns := range spaces {
		var st unix.Stat_t
		if unix.Stat("/var/run/netns/"+ns, &st) == nil {
			ours[st.Ino] = true
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		var st unix.Stat_t
		pid, _ := strconv.Atoi(filepath.Base(p))
		if unix.Stat(p+"/ns/net", &st) == nil && ours[st.Ino] && pid != os.Getpid() {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
	return err
}
