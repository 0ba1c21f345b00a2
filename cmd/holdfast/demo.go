package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
	"github.com/seed-67dce94e/holdfast/rendezvous"
	"github.com/urfave/cli/v3"
)

func demoVerb(s streams) *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show two nodes that talk on while their sockets are closed and reopened",
		Description: `Starts a rendezvous server and two nodes, alice and bob, on loopback. The server
introduces them; they talk in every delivery mode while, again and again, one of
them or both lose their socket and open another on a new port. It fails if a
reliable message is lost, or any is repeated.`,
		Action: verb(s, 0, 0, demo),
	}
}

// Times of the demonstration.
const (
	demoTimeout  = time.Minute            // for all of it
	demoQuiet    = 700 * time.Millisecond // talk before the first change and after each
	demoBurst    = 40 * time.Millisecond  // between the changes of a burst
	demoUpgrade  = 3 * time.Second        // from the relay to a direct path
	demoDelivery = 10 * time.Second       // for messages on their way to arrive
)

// A demoStep is one or more changes of address in a row, told apart from the
// next step by a quiet time.
type demoStep struct {
	what  string
	alice int // how often alice's socket is replaced
	bob   int
}

var demoSteps = []demoStep{
	{"alice moves", 1, 0},
	{"bob moves", 0, 1},
	{"both move at once", 1, 1},
	{"alice moves 5 times", 5, 0},
	{"bob moves 5 times", 0, 5},
	{"both move 3 times", 3, 3},
}

func demo(ctx context.Context, _ *cli.Command, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	d := &demonstration{run: r, begin: time.Now()}
	defer d.close()
	if err := d.meet(ctx); err != nil {
		return err
	}
	if err := d.talk(ctx); err != nil {
		return err
	}
	report := d.report()
	r.print.result(report)
	return report.err()
}

// A demonstration is a rendezvous server, two nodes, and what they say.
type demonstration struct {
	*run
	begin      time.Time
	server     *rendezvous.Server
	alice, bob *speaker
	steps      []interruption
}

// meet starts the server and the nodes, and lets alice call bob by his name.
func (d *demonstration) meet(ctx context.Context) (err error) {
	d.server, err = rendezvous.Listen(&rendezvous.Config{Addr: "127.0.0.1:0", Logger: d.log})
	if err != nil {
		return err
	}
	d.note("rendezvous server on %s", d.server.Server().Addr)
	if d.alice, err = d.newSpeaker("alice"); err != nil {
		return err
	}
	if d.bob, err = d.newSpeaker("bob"); err != nil {
		return err
	}
	for _, s := range []*speaker{d.alice, d.bob} {
		if err := s.node.WaitOnline(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	accepted := make(chan error, 1)
	go func() {
		var err error
		d.bob.conn, err = d.bob.node.Accept(ctx)
		accepted <- err
	}()
	if d.alice.conn, err = d.alice.node.Dial(ctx, d.bob.node.ID()); err != nil {
		return err
	}
	if err := <-accepted; err != nil {
		return err
	}
	d.note("alice and bob met: session %s, %s", d.alice.conn.ID(), d.alice.conn.Path())
	return nil
}

func (d *demonstration) newSpeaker(name string) (*speaker, error) {
	s := &speaker{name: name, says: []node.Delivery{node.Reliable, node.Unordered, node.Unreliable, node.Sequenced}}
	n, err := node.Listen(&node.Config{
		App:        appName,
		Addr:       "127.0.0.1:0",
		Rendezvous: []string{d.server.Server().String()},
		Logger:     d.log,
		Trace: &node.Trace{
			PathChanged: func(_ *node.Conn, old, new node.Path) { d.note("%s: path is now %s (was %s)", name, new, old) },
			Stranded:    func(*node.Conn) { d.note("%s: no path is left, asking the server to introduce again", name) },
		},
	})
	s.node = n
	return s, err
}

// talk holds the conversation, with the changes of address in it, until all that
// can arrive has arrived.
func (d *demonstration) talk(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	speaking, hush := context.WithCancel(ctx)
	var speakers, listeners sync.WaitGroup
	for _, s := range d.speakers() {
		speakers.Go(func() {
			if err := s.speak(speaking); err != nil {
				end(fmt.Errorf("%s could not speak: %w", s.name, err))
			}
		})
		listeners.Go(func() {
			if err := s.listen(ctx); err != nil {
				end(fmt.Errorf("%s could not listen: %w", s.name, err))
			}
		})
	}
	err := d.moveAbout(ctx)
	hush()
	speakers.Wait()
	if err == nil && d.awaitDelivery(ctx) {
		d.note("all reliable messages have arrived")
	}
	end(nil)
	listeners.Wait()
	return err
}

func (d *demonstration) speakers() [2]*speaker { return [...]*speaker{d.alice, d.bob} }

// moveAbout replaces sockets, step by step.
func (d *demonstration) moveAbout(ctx context.Context) error {
	if err := pause(ctx, demoQuiet); err != nil {
		return err
	}
	for _, step := range demoSteps {
		d.awaitDirect(ctx)
		d.note("%s", step.what)
		d.longestSilence() // what was before the step is not counted to it
		if err := d.move(ctx, step); err != nil {
			return err
		}
		silent := !d.awaitTalk(ctx)
		if err := pause(ctx, demoQuiet); err != nil {
			return err
		}
		i := interruption{What: step.what, Moves: step.alice + step.bob, MS: milliseconds(d.longestSilence())}
		d.steps = append(d.steps, i)
		if silent {
			return fmt.Errorf("%s: they do not hear each other again", step.what)
		}
		d.note("%s: interrupted for %.0f ms", i.What, i.MS)
	}
	return nil
}

// move replaces the sockets that the step names, both sides' at the same time.
func (d *demonstration) move(ctx context.Context, step demoStep) error {
	for i := range max(step.alice, step.bob) {
		if i > 0 {
			if err := pause(ctx, demoBurst); err != nil {
				return err
			}
		}
		if i < step.alice {
			if err := d.alice.move(); err != nil {
				return err
			}
		}
		if i < step.bob {
			if err := d.bob.move(); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitTalk waits until each has heard what the other said after the call.
func (d *demonstration) awaitTalk(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, demoDelivery)
	defer cancel()
	fromAlice, fromBob := d.alice.said(node.Reliable), d.bob.said(node.Reliable)
	return await(ctx, func() bool {
		return d.bob.heardCount(node.Reliable) > fromAlice && d.alice.heardCount(node.Reliable) > fromBob
	})
}

// awaitDirect gives the two the time to leave the relay, so that each step starts
// from a direct path. It is not an error if they cannot.
func (d *demonstration) awaitDirect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, demoUpgrade)
	defer cancel()
	await(ctx, func() bool {
		return d.alice.conn.Path().Kind == node.Direct && d.bob.conn.Path().Kind == node.Direct
	})
}

// awaitDelivery waits for all reliable messages. What is missing when it gives
// up shows in the report.
func (d *demonstration) awaitDelivery(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, demoDelivery)
	defer cancel()
	return await(ctx, func() bool {
		for _, mode := range []node.Delivery{node.Reliable, node.Unordered} {
			if d.bob.heardCount(mode) < d.alice.said(mode) || d.alice.heardCount(mode) < d.bob.said(mode) {
				return false
			}
		}
		return true
	})
}

// longestSilence returns the longest time that either has waited for a reliable
// message since the last call.
func (d *demonstration) longestSilence() time.Duration {
	return max(d.alice.longestSilence(), d.bob.longestSilence())
}

func (d *demonstration) close() {
	for _, s := range d.speakers() {
		if s != nil && s.node != nil {
			s.node.Close()
		}
	}
	if d.server != nil {
		d.server.Close()
	}
}

func (d *demonstration) note(format string, args ...any) {
	d.print.result(demoNote{"note", milliseconds(time.Since(d.begin)), fmt.Sprintf(format, args...)})
}

type demoNote struct {
	Event     string  `json:"event"`
	ElapsedMS float64 `json:"elapsed_ms"`
	Text      string  `json:"text"`
}

func (n demoNote) String() string { return fmt.Sprintf("%7.3f s  %s", n.ElapsedMS/1000, n.Text) }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await polls until the condition holds or ctx ends, and reports whether it
// holds.
func await(ctx context.Context, condition func() bool) bool {
	for !condition() {
		if pause(ctx, speakEvery) != nil {
			return false
		}
	}
	return true
}
