package main

import (
	"time"

	"golang.org/x/sys/windows"
)

// processorTime returns how long this process has used processors, or 0 if that is
// unknown.
func processorTime() time.Duration {
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user) != nil {
		return 0
	}
	return ticks(kernel) + ticks(user)
}

// ticks reads a duration, which Windows counts in 100 ns.
func ticks(f windows.Filetime) time.Duration {
	return 100 * time.Duration(uint64(f.HighDateTime)<<32|uint64(f.LowDateTime))
}
