package wslink_test

import (
	"context"
	"fmt"
	"net"

	"github.com/seed-67dce94e/holdfast/node/wslink"
)

// A server that returns what it is sent, and a client. On the Internet both
// would use TLS: wss and a tls.Config.
func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := wslink.NewServer(nil, func(c *wslink.Conn) {
		c.Serve(func(datagram []byte) { c.Send(datagram) })
	})
	defer server.Close()
	go server.Serve(listener, nil)

	conn, err := wslink.Dial(context.Background(), "ws://"+listener.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	conn.Send([]byte("hello"))
	err = conn.Serve(func(datagram []byte) {
		fmt.Printf("%s\n", datagram)
		conn.Close()
	})
	fmt.Println(err)
	// Output:
	// hello
	// wslink: use of closed network connection
}
