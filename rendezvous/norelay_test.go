package rendezvous_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

func TestNoRelayReturnsSessionsThatAreDirect(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.noRelay = true
		a, _ := l.behind(1, wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent})
		b, _ := l.behind(2, wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent})
		ab, ba := l.connect(a, b)
		if !bothDirect(ab, ba) {
			t.Errorf("the paths are %v and %v", ab.Path(), ba.Path())
		}
		l.exchange(ab, ba)
	})
}

func TestNoRelayDialFailsWhereOnlyTheRelayWorks(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.noRelay = true
		hard := wiretest.NATConfig{
			Mapping: wiretest.AddressAndPortDependent, Filtering: wiretest.AddressAndPortDependent, Ports: wiretest.RandomPort,
		}
		a, _ := l.behind(1, hard)
		b, _ := l.behind(2, hard)
		l.online(a, b)
		_, err := a.Dial(l.within(5*time.Second), b.ID())
		var failed *node.DialError
		if !errors.As(err, &failed) || !errors.Is(err, node.ErrNoDirectPath) {
			t.Errorf("within 5 s: %v", err)
		}
		start := time.Now()
		if _, err = a.Dial(l.within(time.Minute), b.ID()); !errors.Is(err, node.ErrNoDirectPath) {
			t.Errorf("within a minute: %v", err)
		}
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("it took %v", took)
		}
		gone := func() bool { return len(a.Status().Peers)+len(b.Status().Peers) == 0 }
		if !eventually(2*time.Second, gone) {
			t.Error("sessions are left")
		}
	})
}

// hears is a Handler that tells what it is told.
type hears chan string

func (h hears) Connected(*node.Conn)                     { h <- "connected" }
func (h hears) Message(_ *node.Conn, m node.Message)     { h <- "message " + string(m.Data) }
func (h hears) PathChanged(_ *node.Conn, _, _ node.Path) {}
func (h hears) Closed(_ *node.Conn, err error)           { h <- "closed" }

// While a session is held for want of a direct path, its handler hears nothing
// of it; then everything, in order.
func TestHandlerOfANodeWithoutRelaysHearsOfDirectSessionsOnly(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		bob, _ := l.behind(1, wiretest.NATConfig{Filtering: wiretest.AddressAndPortDependent})
		heard := make(hears, 10)
		l.noRelay, l.handler = true, heard
		strict := l.public(2)
		l.online(bob, strict)
		c, err := bob.Dial(l.within(5*time.Second), strict.ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(l.within(5*time.Second), []byte("sent while relayed")); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"connected", "message sent while relayed"} {
			if got := <-heard; got != want {
				t.Fatalf("the handler heard %q, want %q", got, want)
			}
		}
		if kind := strict.Status().Peers[0].Path.Kind; kind != node.Direct {
			t.Errorf("the path is %v", kind)
		}
	})
}
