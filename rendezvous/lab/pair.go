package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// A Pair is two hosts that are to meet. A dials.
type Pair struct{ A, B Kind }

func (p Pair) String() string { return p.A.String() + " -> " + p.B.String() }

// Options say how a pair is tried.
type Options struct {
	Seed     uint64 // decides what the network does
	NoSearch bool   // leaves the search over all ports off
}

// A Result is what became of a pair.
type Result struct {
	Pair
	Outcome
	FirstMessage time.Duration // from the dial until the first message was there
	DirectAfter  time.Duration // from the dial until both sides' data took a direct path; 0 if it did not
	Paths        [2]node.Path
	Explained    [2]node.Explanation // of both sides
	Ladder       string              // the datagrams that flew last
}

// Err returns what is wrong with the result, or nil if it is as expected.
func (r *Result) Err(search bool) error {
	if want := Expect(r.A, r.B, search); r.Outcome != want {
		return fmt.Errorf("%v: %v, want %v (paths %v and %v)", r.Pair, r.Outcome, want, r.Paths[0], r.Paths[1])
	}
	return nil
}

const (
	// Any two of the three are so far apart.
	oneWay = 30 * time.Millisecond
	// A node is given this long to look at its NATs before it dials.
	settleTime = 3 * time.Second
	// The longest a pair tries in a row: three rounds of the slowest technique.
	patience = 25 * time.Second
	tick     = 5 * time.Millisecond
)

// Run lets a pair meet on a network of its own, and says what came of it. An error
// means that they did not even come to talk.
func Run(ctx context.Context, p Pair, o Options) (r Result, err error) {
	r.Pair = p
	w, err := New(o.Seed, oneWay)
	if err != nil {
		return r, err
	}
	defer w.Close()
	defer func() { r.Ladder = w.Net.Ladder() }()
	var places [2]Place
	for k, kind := range []Kind{p.A, p.B} {
		if places[k], err = w.Add(kind, &node.Config{Search: !o.NoSearch}); err != nil {
			return r, err
		}
	}
	for _, p := range places {
		if err := p.Node.WaitOnline(ctx); err != nil {
			return r, fmt.Errorf("lab: %v: not online: %w", r.Pair, err)
		}
	}
	if err := wait(ctx, settleTime); err != nil {
		return r, err
	}
	err = meet(ctx, &r, places[0].Node, places[1].Node)
	return r, err
}

func meet(ctx context.Context, r *Result, a, b *node.Node) error {
	begun := time.Now()
	ab, err := a.Dial(ctx, b.ID())
	if err != nil {
		return fmt.Errorf("lab: %v: %w", r.Pair, err)
	}
	if err := ab.Send(ctx, []byte("hello")); err != nil {
		return err
	}
	ba, err := b.Accept(ctx)
	if err != nil {
		return fmt.Errorf("lab: %v: %w", r.Pair, err)
	}
	if m, err := ba.Recv(ctx); err != nil || string(m.Data) != "hello" {
		return errors.Join(fmt.Errorf("lab: %v: received %q", r.Pair, m.Data), err)
	}
	r.FirstMessage = time.Since(begun)
	direct := func() bool { return ab.Path().Kind == node.Direct && ba.Path().Kind == node.Direct }
	for !direct() && time.Since(begun) < patience && !Hopeless(a.Explain(b.ID()).Cause) {
		if err := wait(ctx, tick); err != nil {
			return err
		}
	}
	if r.Direct = direct(); r.Direct {
		r.DirectAfter = time.Since(begun)
	}
	r.Paths = [2]node.Path{ab.Path(), ba.Path()}
	r.Explained = [2]node.Explanation{ab.Explain(ctx), ba.Explain(ctx)}
	r.Cause = r.Explained[0].Cause
	return nil
}

// Hopeless reports whether two that are kept apart for a cause need not be waited for:
// only another network, or other settings, would let them meet.
func Hopeless(c node.Cause) bool {
	switch c {
	case node.CauseNoUDP, node.CauseFamily, node.CauseBothHard, node.CauseSearchOff, node.CauseRelayOnly:
		return true
	}
	return false
}
