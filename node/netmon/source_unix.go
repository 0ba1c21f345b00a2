//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netmon

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// openSource listens on the socket by which the kernel announces changes of
// links, addresses and routes.
func openSource() (*source, error) {
	fd, err := openSocket()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "network changes")
	events := make(chan struct{}, 1)
	var reader sync.WaitGroup
	reader.Go(func() { readEvents(file, events) })
	return &source{events: events, close: func() {
		file.Close()
		reader.Wait()
	}}, nil
}

// readEvents turns each message into an event until the socket is closed or
// fails. What a message says is not looked at: some are lost when many come.
func readEvents(socket io.Reader, events chan struct{}) {
	defer close(events)
	var message [4096]byte // more is cut off
	for {
		_, err := socket.Read(message[:])
		// The kernel ran out of room for messages: there were some.
		if err != nil && !errors.Is(err, syscall.ENOBUFS) {
			return
		}
		notify(events)
	}
}
