//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netmon

import (
	"os"
	"syscall"
	"testing"
)

// An overflowing socket fails so often, then for good.
type overflowingSocket int

func (s *overflowingSocket) Read([]byte) (int, error) {
	if *s--; *s < 0 {
		return 0, os.ErrClosed
	}
	return 0, os.NewSyscallError("read", syscall.ENOBUFS)
}

func TestOverflowOfTheSocketIsAnEvent(t *testing.T) {
	events := make(chan struct{}, 1)
	socket := overflowingSocket(3)
	readEvents(&socket, events)
	if socket >= 0 {
		t.Error("stopped reading at an overflow")
	}
	if _, ok := <-events; !ok {
		t.Error("no event")
	}
	if _, ok := <-events; ok {
		t.Error("the end of events is not told")
	}
}
