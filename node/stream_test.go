package node

import (
	"slices"
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

func TestServerWithANameIsAskedOverTLSToo(t *testing.T) {
	for addr, want := range map[string][]string{
		"rv.example:3478":    {"ws://rv.example:3478", "wss://rv.example"},
		"203.0.113.1:3478":   {"ws://203.0.113.1:3478"},
		"[2001:db8::1]:3478": {"ws://[2001:db8::1]:3478"},
	} {
		if got := streamURLs(addr); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}
