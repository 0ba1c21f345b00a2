package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// speakEvery is the time between messages: 200 a second in each mode.
const speakEvery = 5 * time.Millisecond

// modes is the number of delivery modes. Each mode has the channel of its number.
const modes = 4

// A speaker is one side of the demonstration. It numbers what it says, and keeps
// a tally of what it hears.
type speaker struct {
	name string
	says []node.Delivery // one message in each of these, time after time
	node *node.Node
	conn *node.Conn

	mu        sync.Mutex
	sent      [modes]int
	heard     [modes]tally
	lastHeard time.Time     // when the last reliable message came
	silence   time.Duration // the longest wait for one since longestSilence
}

// A tally counts the numbered messages of one mode.
type tally struct {
	seen      map[uint64]bool
	repeated  int
	overtaken int // came after one with a higher number
	highest   uint64
}

func (t *tally) add(number uint64) {
	if t.seen == nil {
		t.seen = make(map[uint64]bool)
	}
	switch {
	case t.seen[number]:
		t.repeated++
	case number < t.highest:
		t.overtaken++
	}
	t.seen[number] = true
	t.highest = max(t.highest, number)
}

// speak sends until ctx ends.
func (s *speaker) speak(ctx context.Context) error {
	tick := time.NewTicker(speakEvery)
	defer tick.Stop()
	for number := uint64(0); ; number++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		for _, mode := range s.says {
			m := node.Message{Channel: uint16(mode), Mode: mode, Data: binary.BigEndian.AppendUint64(nil, number)}
			if err := s.conn.SendMessage(ctx, m); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			s.mu.Lock()
			s.sent[mode]++
			s.mu.Unlock()
		}
	}
}

// listen tallies what comes, until ctx ends.
func (s *speaker) listen(ctx context.Context) error {
	for m, err := range s.conn.Messages(ctx) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Mode >= modes || m.Channel != uint16(m.Mode) || len(m.Data) != 8 {
			return fmt.Errorf("message of %d bytes in mode %v on channel %d: nobody has sent that", len(m.Data), m.Mode, m.Channel)
		}
		s.hear(m.Mode, binary.BigEndian.Uint64(m.Data))
	}
	return nil
}

func (s *speaker) hear(mode node.Delivery, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[mode].add(number)
	if mode == node.Reliable {
		s.endSilence()
	}
}

// endSilence measures the wait that ends now. Called with the lock held.
func (s *speaker) endSilence() {
	now := time.Now()
	if !s.lastHeard.IsZero() {
		s.silence = max(s.silence, now.Sub(s.lastHeard))
	}
	s.lastHeard = now
}

// move closes the node's socket and opens another on a new port.
func (s *speaker) move() error { return s.node.Rebind("127.0.0.1:0") }

// longestSilence returns the longest time without a reliable message since the
// last call.
func (s *speaker) longestSilence() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := max(s.silence, time.Since(s.lastHeard))
	s.silence = 0
	return longest
}

func (s *speaker) said(mode node.Delivery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[mode]
}

func (s *speaker) heardCount(mode node.Delivery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.heard[mode].seen)
}
