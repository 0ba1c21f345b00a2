//go:build linux || darwin

package wslink

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Datagrams that wait in the kernel are late and cannot be dropped any more.
func TestKernelHoldsLittle(t *testing.T) {
	atServer := make(chan *Conn, 1)
	c := loopback(t, true, func(c *Conn, _ []byte) { atServer <- c })
	go c.Serve(func([]byte) {})
	c.Send([]byte("x"))
	for name, end := range map[string]*Conn{"client": c, "server": <-atServer} {
		over := end.raw
		if placed, ok := over.(*placedConn); ok {
			over = placed.NetConn()
		}
		raw, err := over.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			unsent, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
			if err != nil || unsent != unsentMax {
				t.Errorf("%s: TCP_NOTSENT_LOWAT is %d (%v), want %d", name, unsent, err, unsentMax)
			}
			noDelay, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
			if err != nil || noDelay == 0 {
				t.Errorf("%s: TCP_NODELAY is off (%v)", name, err)
			}
		})
	}
}
