package node

import (
	"testing"
	"time"
)

// A conversationOf is waits of one length, in virtual time.
type conversationOf struct {
	e   eagerness
	now time.Time
}

// wait returns how long it looked.
func (c *conversationOf) wait(d time.Duration) (looked time.Duration) {
	if c.now.IsZero() {
		c.now = time.Unix(1, 0)
	}
	const step = time.Microsecond
	for at := time.Duration(0); at < d; at += step {
		if !c.e.looks(c.now.Add(at)) {
			break
		}
		looked = at + step
	}
	c.now = c.now.Add(d)
	c.e.found(c.now)
	return looked
}

func (c *conversationOf) waits(n int, d time.Duration) (looked time.Duration) {
	for range n {
		looked += c.wait(d)
	}
	return looked
}

func TestWhoIsAnsweredAtOnceLooksAgain(t *testing.T) {
	var c conversationOf
	if looked := c.waits(eagerAfter, 10*time.Microsecond); looked != 0 {
		t.Errorf("looked for %v before that was worth it", looked)
	}
	if looked := c.waits(1000, 10*time.Microsecond); looked != 10*time.Millisecond {
		t.Errorf("looked for %v in 1000 waits of 10 us", looked)
	}
	// Some answers that take longer do not end it.
	for range 100 {
		c.wait(150 * time.Microsecond)
		c.wait(50 * time.Microsecond)
		if looked := c.waits(10, 10*time.Microsecond); looked != 100*time.Microsecond {
			t.Fatalf("looked for %v in 10 waits of 10 us", looked)
		}
	}
}

func TestWhoIsAnsweredLateSleeps(t *testing.T) {
	for _, d := range []time.Duration{100 * time.Microsecond, time.Millisecond, time.Second} {
		var c conversationOf
		if looked := c.waits(10_000, d); looked != 0 {
			t.Errorf("looked for %v in waits of %v", looked, d)
		}
		// Not so many in a row are worth it, neither.
		for range 100 {
			if looked := c.waits(eagerAfter-1, 10*time.Microsecond) + c.wait(d); looked != 0 {
				t.Fatalf("looked for %v", looked)
			}
		}
	}
}

// TestLookingInVainEnds has answers that are near, of which none or few are found: a
// quarter of the processor is the most that this costs.
func TestLookingInVainEnds(t *testing.T) {
	for _, d := range []time.Duration{25 * time.Microsecond, 80 * time.Microsecond} {
		for _, founds := range []int{0, 1} { // of ten
			c := conversationOf{now: time.Unix(1, 0)}
			began := c.now
			var vain time.Duration
			for range 1000 {
				c.waits(founds, 5*time.Microsecond)
				vain += c.waits(10-founds, d)
			}
			if total := c.now.Sub(began); vain == 0 || vain > total/4 {
				t.Errorf("waits of %v, %d of ten found: looked in vain for %v of %v", d, founds, vain, total)
			}
		}
	}
}

func TestLookingEndsWhenAnswersComeLate(t *testing.T) {
	var c conversationOf
	c.waits(10_000, 10*time.Microsecond)
	if looked := c.waits(1000, time.Millisecond); looked > 32*eagerFor {
		t.Errorf("looked for %v", looked)
	}
}

// TestWaitThatIsGivenUpTeachesNothing has reads that end by a deadline.
func TestWaitThatIsGivenUpTeachesNothing(t *testing.T) {
	var c conversationOf
	c.waits(1000, 10*time.Microsecond)
	for range 1000 {
		c.e.looks(c.now)
		c.e.giveUp()
		c.now = c.now.Add(time.Second)
	}
	if looked := c.wait(10 * time.Microsecond); looked == 0 {
		t.Error("does not look any more")
	}
	if c.e.waits() {
		t.Error("still waits")
	}
}
