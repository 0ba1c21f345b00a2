package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

const urgentChannel = 7

// tick is the interval of a stream of 60 messages a second.
const tick = time.Second / 60

// A pulse is a stream of short messages at a steady pace on a low-latency channel.
type pulse struct {
	entries map[*entry]time.Duration // to how late each was; below zero while under way
}

// beats sends count messages of size bytes from p, one every interval.
func (p *peer) beats(q *peer, o ChannelOptions, m Message, size, count int, interval time.Duration) *pulse {
	b := &pulse{entries: make(map[*entry]time.Duration)}
	s := p.session()
	m.Channel = urgentChannel
	s.Configure(urgentChannel, o)
	before := q.onArrival
	q.onArrival = func(x *entry) {
		if before != nil {
			before(x)
		}
		if _, ours := b.entries[x]; ours {
			b.entries[x] = p.now.Sub(x.at)
		}
	}
	p.every(interval, func() bool {
		b.entries[p.mustPost(s, m, size)] = -1
		count--
		return count > 0
	})
	return b
}

func (b *pulse) sorted() (late []time.Duration) {
	for _, d := range b.entries {
		late = append(late, d)
	}
	slices.Sort(late)
	return late
}

// percentile returns how late the given part of 1000 messages was at most.
func percentile(late []time.Duration, thousandths int) time.Duration {
	return late[min(len(late)*thousandths/1000, len(late)-1)]
}

// One loss costs a low-latency stream about one interval, two in a row two, and
// not a round trip.
func TestLossCostsOneIntervalNotARoundTrip(t *testing.T) {
	for _, c := range []struct {
		rtt  time.Duration
		loss float64
		p99  time.Duration
	}{
		{50 * time.Millisecond, .01, 46 * time.Millisecond},
		{100 * time.Millisecond, .05, 75 * time.Millisecond},
		{30 * time.Millisecond, .10, 52 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%v %v", c.rtt, c.loss), func(t *testing.T) {
			var late []time.Duration
			for seed := range uint64(4) {
				o := ChannelOptions{LowLatency: seed%2 == 0} // those of the others are few
				w := newWorld(t, seed)
				p, q := w.pair(wiretest.Link{Delay: c.rtt / 2, Loss: c.loss, Rate: 20e6, Queue: 256 << 10})
				w.connect(p, q)
				b := p.beats(q, o, Message{Receipt: true}, 100, 2000, tick)
				w.run(2000*tick+2*time.Second, nil)
				late = append(late, b.sorted()...)
				for x := range b.entries {
					if !slices.Equal(x.fates, []Fate{Stored, Read}) {
						t.Errorf("%v met %v", x, x.fates)
					}
				}
			}
			slices.Sort(late)
			if late[0] < 0 {
				t.Error("a message has not arrived")
			}
			t.Logf("p50 %v, p99 %v, p99.9 %v, max %v", percentile(late, 500), percentile(late, 990), percentile(late, 999), percentile(late, 1000))
			if got := percentile(late, 990); got > c.p99 {
				t.Errorf("one in a hundred messages takes %v or more, want %v", got, c.p99)
			}
		})
	}
}

// What one datagram lost is brought by the next, and not sent a third time.
func TestNextDatagramBringsWhatOneLost(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 50 * time.Millisecond})
	s, _ := w.connect(p, q)
	b := p.beats(q, ChannelOptions{LowLatency: true}, Message{}, 100, 60, tick)
	w.run(20*tick+tick/2, nil)
	p.host.Up.Loss = 1
	w.run(tick, nil)
	p.host.Up.Loss = 0
	w.run(2*time.Second, nil)
	late := b.sorted()
	if slowest := percentile(late, 1000); late[0] < 0 || slowest != 50*time.Millisecond+tick {
		t.Errorf("the slowest message took %v, the first in order %v", slowest, late[0])
	}
	if n := s.Stats().Messages.RetransmittedBytes; n != 0 {
		t.Errorf("%d bytes were sent again though a copy had arrived", n)
	}
}

// Copies of a stream that would use all of a path take a fifth of it.
func TestCopiesTakeAFifthOfThePath(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 100 * time.Millisecond})
	s, _ := w.connect(p, q)
	p.beats(q, ChannelOptions{LowLatency: true}, Message{Mode: wire.Unordered}, 250, 800, 10*time.Millisecond)
	limit := uint64(copiesSaved)
	w.every(10*time.Millisecond, func() bool {
		st := s.Stats()
		limit += uint64(max(st.CongestionWindow, freeWindow)) * uint64(10*time.Millisecond) / uint64(st.SmoothedRTT) / 5
		if got := st.Messages.RepeatedBytes; got > limit+limit/50 {
			w.fatalf("%d bytes of copies, want %d at most", got, limit)
		}
		return true
	})
	w.run(8*time.Second, nil)
	if got := s.Stats().Messages.RepeatedBytes; got < limit/2 {
		t.Errorf("%d bytes of copies, where %d are allowed", got, limit)
	}
}

// Where a queue stands on the path losses mean that less should be sent.
func TestNoCopiesWhileTheQueueIsLong(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 15 * time.Millisecond, Rate: 5e6, Queue: 128 << 10})
	p.use(congestion.CUBIC) // which fills the queue
	s, _ := w.connect(p, q)
	p.beats(q, ChannelOptions{LowLatency: true, Priority: 1}, Message{}, 100, 1000, tick)
	w.run(time.Second, nil)
	if s.Stats().Messages.RepeatedBytes == 0 {
		t.Fatal("no copies on a path at rest")
	}
	p.stream(Message{Channel: 1}, 16<<10, 1000)
	w.run(3*time.Second, nil)
	before := s.Stats()
	if before.SmoothedRTT < 2*before.MinRTT {
		t.Fatalf("the bulk fills no queue: %v, at least %v", before.SmoothedRTT, before.MinRTT)
	}
	w.run(time.Second, nil)
	if after := s.Stats(); after.Messages.RepeatedBytes != before.Messages.RepeatedBytes {
		t.Errorf("%d bytes of copies into a queue", after.Messages.RepeatedBytes-before.Messages.RepeatedBytes)
	}
}

// A round trip that varies is not one that has grown.
func TestJitterIsNoQueue(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 15 * time.Millisecond, Jitter: 50 * time.Millisecond})
	s, _ := w.connect(p, q)
	p.beats(q, ChannelOptions{LowLatency: true}, Message{}, 100, 300, tick)
	w.run(300*tick, nil)
	if st := s.Stats(); st.SmoothedRTT < 2*st.MinRTT || st.Messages.RepeatedBytes < 300*100*9/10 {
		t.Errorf("%d bytes of copies, the round trip is %v and at least %v", st.Messages.RepeatedBytes, st.SmoothedRTT, st.MinRTT)
	}
}

// The last message of a burst has nothing after it that would show its loss: it
// is sent again soon after its acknowledgement could have come, once.
func TestLastMessageIsRepeatedEarly(t *testing.T) {
	const rtt = 100 * time.Millisecond
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: rtt / 2})
	s, _ := w.connect(p, q)
	p.beats(q, ChannelOptions{LowLatency: true}, Message{}, 100, 20, 200*time.Millisecond)
	w.run(10*time.Second, nil) // the round trip is known well
	p.host.Up.Loss = 1
	b := p.beats(q, ChannelOptions{LowLatency: true}, Message{}, 100, 3, time.Microsecond)
	w.run(2*time.Millisecond, nil)
	sent := s.Stats().Sent
	w.run(rtt*23/20, nil)
	if got := s.Stats().Sent - sent; got != 1 {
		t.Errorf("%d datagrams before the probe timeout, want 1", got)
	}
	p.host.Up.Loss = 0
	w.run(5*time.Second, nil)
	c := p.beats(q, ChannelOptions{LowLatency: true}, Message{}, 100, 3, time.Microsecond)
	lost := 0
	p.host.Up.Drop = func(time.Duration, []byte) bool { lost++; return lost <= 3 }
	w.run(5*time.Second, nil)
	if late := c.sorted(); late[0] < 0 || percentile(late, 1000) > rtt/2+rtt*21/20 {
		t.Errorf("the slowest message took %v", percentile(late, 1000))
	}
	if b.sorted()[0] < 0 {
		t.Error("messages of the first burst never arrived")
	}
}

// Beside a bulk transfer that fills its window, and loses some, a short urgent
// message leaves at once.
func TestUrgentMessageLeavesAtOnceBesideBulk(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 25 * time.Millisecond, Loss: .01, Rate: 20e6, Queue: 64 << 10})
	p.use(congestion.CUBIC) // whose window is often full
	s, _ := w.connect(p, q)
	s.Configure(urgentChannel, ChannelOptions{LowLatency: true, Priority: 1})
	p.stream(Message{Channel: 1}, 16<<10, 5000)
	w.run(time.Second, nil)
	full := 0
	for range 300 {
		w.run(tick, nil)
		st := s.Stats()
		if st.CongestionWindow-st.BytesInFlight < st.MTU {
			full++
		}
		p.mustPost(s, Message{Channel: urgentChannel}, 100)
		if s.Urgent() || s.Stats().Sent == st.Sent {
			t.Fatal("the message waits")
		}
	}
	if full < 100 {
		t.Fatalf("the window was full only %d times: the test shows nothing", full)
	}
}

// Urgent messages exceed a full window by little, however many there are.
func TestUrgentMessagesExceedAFullWindowByLittle(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 25 * time.Millisecond})
	s, _ := w.connect(p, q)
	s.Configure(urgentChannel, ChannelOptions{LowLatency: true, Priority: 1})
	p.host.Up.Loss = 1
	p.stream(Message{Channel: 1}, 16<<10, 20)
	for range 100 {
		p.mustPost(s, Message{Channel: urgentChannel}, 200)
	}
	over := s.Stats().BytesInFlight - s.Stats().CongestionWindow
	if over < 1000 || over > 4*1200 {
		t.Errorf("%d bytes more than the window in flight", over)
	}
}
