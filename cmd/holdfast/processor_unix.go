//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime returns how long this process has used processors, or 0 if that is
// unknown.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
