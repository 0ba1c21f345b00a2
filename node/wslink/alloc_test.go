// The race detector allocates.

//go:build !race

package wslink

import "testing"

func TestSendingDoesNotAllocate(t *testing.T) {
	back := make(chan struct{}, 1)
	c := loopback(t, false, func(c *Conn, d []byte) { c.Send(d) })
	go c.Serve(func([]byte) { back <- struct{}{} })
	d := make([]byte, 1200)
	pass := func() {
		c.Send(d)
		<-back
	}
	for range 100 {
		pass() // pools fill
	}
	// There and back: two sends, two receipts.
	if n := testing.AllocsPerRun(2000, pass); n >= 1 {
		t.Errorf("%v allocations for each round trip", n)
	}
}
