package wslink

import (
	"slices"
	"sync"
)

// queueMax is how many datagrams wait to be sent, those of the message that is
// being written among them. With datagrams of DatagramMax they are 128 KiB.
const queueMax = 64

// A queue holds datagrams on their way to the writer, packed as the messages
// that they will travel in.
type queue struct {
	ready chan struct{} // has a token if the writer should look

	mu       sync.Mutex
	waiting  []*message // only the last one may have room
	held     int        // datagrams waiting or being written
	sent     uint64     // datagrams
	messages uint64     // in which they were sent
	dropped  uint64     // datagrams
	closed   bool
}

// put copies a datagram into the queue, or drops it.
func (q *queue) put(datagram []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.held == queueMax || len(datagram) == 0 || len(datagram) > DatagramMax {
		q.dropped++
		return false
	}
	last := len(q.waiting) - 1
	if last < 0 || !q.waiting[last].fits(datagram) {
		q.waiting = append(q.waiting, newMessage())
		last++
	}
	q.waiting[last].append(datagram)
	q.held++
	select {
	case q.ready <- struct{}{}:
	default: // the writer has yet to look
	}
	return true
}

// next takes the message to write, or nil if nothing waits.
func (q *queue) next() *message {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	m := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	return m
}

// done gives back a message that next returned.
func (q *queue) done(m *message, written bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held -= m.datagrams
	if written {
		q.sent += uint64(m.datagrams)
		q.messages++
	} else {
		q.dropped += uint64(m.datagrams)
	}
	m.free()
}

// close drops what waits, and all that comes later.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, m := range q.waiting {
		q.held -= m.datagrams
		q.dropped += uint64(m.datagrams)
		m.free()
	}
	q.waiting = nil
}
