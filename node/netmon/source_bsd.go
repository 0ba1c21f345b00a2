//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netmon

import (
	"os"

	"golang.org/x/sys/unix"
)

// openSocket opens a routing socket, route(4).
func openSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}
