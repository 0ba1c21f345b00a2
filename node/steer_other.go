//go:build !linux

package node

import (
	"errors"
	"net"
)

// steer is for Linux alone: elsewhere Node.deliver passes on what came to the
// socket of another shard.
func steer(*net.UDPConn, int) error { return errors.ErrUnsupported }
