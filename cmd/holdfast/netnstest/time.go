package netnstest

import "time"

// Pass lets time pass for the kernel, whose clock is never virtual: how long a fault
// lasts, or a NAT remembers.
func Pass(d time.Duration) { time.Sleep(d) }
