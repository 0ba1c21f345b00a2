package portmap_test

import (
	"fmt"

	"github.com/seed-67dce94e/holdfast/node/portmap"
)

func ExampleStart() {
	told := make(chan portmap.Status, 1)
	c := portmap.Start(portmap.Config{
		Port:     4000,
		OnChange: func(s portmap.Status) { told <- s },
		// A machine without a gateway, so that the example needs no network.
		Gateway: func() (portmap.Gateway, error) { return portmap.Gateway{}, portmap.ErrNoGateway },
	})
	defer c.Close()

	if s := <-told; s.External.IsValid() && !s.DoubleNAT {
		fmt.Println("peers reach us at", s.External, "by", s.Protocol)
	} else {
		fmt.Println("not mapped:", s.Error)
	}
	// Output: not mapped: portmap: no IPv4 gateway
}
