package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A bulk transfer of ten seconds, its start included, fills the link: random loss is
// not taken for congestion, and no credit has to be waited for. What is counted is
// messages that have arrived; headers alone take 4.5 % of the link.
func TestBulkFillsTheLink(t *testing.T) {
	const (
		d    = 10 * time.Second
		size = 16 << 10
	)
	for _, c := range []struct {
		name  string
		link  wiretest.Link
		share float64
	}{
		{"50 ms, 1 % loss", wiretest.Link{Delay: 25 * time.Millisecond, Loss: .01, Rate: 50e6, Queue: 312_500}, .92},
		{"100 ms, 5 % loss", wiretest.Link{Delay: 50 * time.Millisecond, Loss: .05, Rate: 20e6, Queue: 250_000}, .85},
		{"30 ms, 10 % loss", wiretest.Link{Delay: 15 * time.Millisecond, Loss: .10, Rate: 10e6, Queue: 65_536}, .85},
		{"200 ms", wiretest.Link{Delay: 100 * time.Millisecond, Rate: 100e6, Queue: 2_500_000}, .895},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			c.link.MTU = 1500
			p, q := w.pair(c.link)
			w.connect(p, q)
			b := p.stream(Message{Channel: 1}, size, 1<<20)
			w.run(d, b.done)
			if got := float64(b.arrived*size*8) / d.Seconds() / float64(c.link.Rate); got < c.share {
				t.Errorf("%.1f %% of the link, not %.0f %%", 100*got, 100*c.share)
			}
		})
	}
}
