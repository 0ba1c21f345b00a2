package node

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/session"
)

func TestStreamIsForgottenWithItsLastSession(t *testing.T) {
	_, c, _ := connect(t, Config{Addr: "127.0.0.1:0"})
	s := c.shard
	s.drive(func(session.Time) { s.noteStream(c, session.Path{Link: linkStream | 7}) })
	c.Close()
	<-c.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streamed) > 0 {
		t.Errorf("%d streams without sessions are remembered", len(s.streamed))
	}
}
