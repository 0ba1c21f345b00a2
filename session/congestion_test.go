package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/congestion"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A link is filled, whatever it loses at random, and what is urgent beside that bulk meets
// hardly a queue.
func TestUrgentMeetsHardlyAQueueBesideBulk(t *testing.T) {
	for _, c := range []struct {
		name       string
		link       wiretest.Link
		warm, long time.Duration
		late       map[int]time.Duration // beyond the delay of the link, by percentile
	}{
		{"50 ms, 1 % loss", wiretest.Link{Delay: 25 * time.Millisecond, Loss: .01, Rate: 20e6, Queue: 125_000}, time.Second, 4 * time.Second, map[int]time.Duration{98: 35 * time.Millisecond}},
		{"200 ms", wiretest.Link{Delay: 100 * time.Millisecond, Rate: 100e6, Queue: 2_500_000}, 2 * time.Second, 10 * time.Second, map[int]time.Duration{50: 3 * time.Millisecond, 99: 13 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			c.link.MTU = 1500
			p, q := w.pair(c.link)
			w.connect(p, q)
			p.stream(Message{}, 16<<10, 8000)
			w.run(c.warm, nil)
			bulk := 0
			q.onArrival = func(x *entry) { bulk += x.size }
			urgent := p.beats(q, ChannelOptions{LowLatency: true, Priority: 1}, Message{}, 100, int(60*c.long.Seconds()), tick)
			w.run(c.long, nil)
			if got := float64(bulk) * 8 / c.long.Seconds(); got < float64(c.link.Rate)*.88 {
				t.Errorf("%.0f bits a second of messages", got)
			}
			late := urgent.sorted()
			for percent, most := range c.late {
				if got := late[len(late)*percent/100] - c.link.Delay; got > most {
					t.Errorf("%d%% of the urgent messages wait for up to %v, want %v", percent, got, most)
				}
			}
		})
	}
}

// A path that carries more than a send buffer holds within milliseconds is found to be full
// all the same: a window that went on growing would leave all of the buffer in its queue.
func TestStartupEndsAlthoughTheSendBufferIsShort(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 50 * time.Microsecond, Rate: 8e9, Queue: 64 << 20, MTU: 9000})
	s, _ := w.connect(p, q)
	p.stream(Message{}, 64<<10, 8000)
	w.run(200*time.Millisecond, nil)
	if got := s.Stats().SmoothedRTT; got > 1500*time.Microsecond {
		t.Errorf("a round trip of %v", got)
	}
}

// A path that is too short for pacing is found to carry less, too.
func TestShortPathThatCarriesLessIsMeasured(t *testing.T) {
	for _, rtt := range []time.Duration{100 * time.Microsecond, time.Millisecond, 1800 * time.Microsecond, 3 * time.Millisecond} {
		w := newWorld(t, 1)
		p, q := w.pair(wiretest.Link{})
		link := wiretest.Link{Delay: rtt / 2, Rate: 400e6, Queue: 1 << 20, MTU: 1500}
		p.host.SetLink(link)
		s, _ := w.connect(p, q)
		p.stream(Message{}, 16<<10, 20000)
		w.run(time.Second, nil)
		before := s.Stats()
		link.Rate /= 10
		p.host.SetLink(link)
		w.run(1500*time.Millisecond, nil)
		if got := s.Stats().SmoothedRTT; got > before.SmoothedRTT+4*time.Millisecond {
			t.Errorf("RTT %v: a round trip of %v was %v", rtt, got, before.SmoothedRTT)
		}
	}
}

// A send buffer that is smaller than the window does not hide that a path has come to
// carry less.
func TestPathFilledByASmallSendBufferIsMeasured(t *testing.T) {
	link := wiretest.Link{Delay: 50 * time.Millisecond, Rate: 20e6, Queue: 1 << 20, MTU: 1500}
	w := newWorld(t, 1)
	p, q := w.peer("alice", nil, Config{SendBuffer: 400_000}), w.peer("bob", nil, Config{})
	p.host.SetLink(link)
	s, _ := w.connect(p, q)
	p.stream(Message{}, 16<<10, 8000)
	w.run(3*time.Second, nil)
	link.Rate /= 2
	p.host.SetLink(link)
	w.run(8*time.Second, nil)
	if got := s.Stats().SmoothedRTT; got > 130*time.Millisecond {
		t.Errorf("a round trip of %v", got)
	}
}

// An application that sends at its own pace says nothing about a path whose round trip has
// grown, although what is in flight is then as much as it held before.
func TestSteadyTrafficKeepsTheRateOfALongerPath(t *testing.T) {
	link := wiretest.Link{Delay: 20 * time.Millisecond, Rate: 10e6, Queue: 100_000, MTU: 1500}
	w := newWorld(t, 1)
	p, q := w.pair(link)
	s, _ := w.connect(p, q)
	w.transfer(p, 8<<20, 10*time.Second)
	before := s.active.rec.Rate()
	link.Delay *= 3
	p.host.SetLink(link)
	p.beats(q, ChannelOptions{}, Message{Channel: 3}, 1000, 10_000, 2*time.Millisecond) // 4 Mbit/s
	w.run(20*time.Second, nil)
	if now := s.active.rec.Rate(); now < before*8/10 {
		t.Errorf("the rate has fallen from %d to %d bytes a second", before, now)
	}
}

// A session that says little for long is as fast as ever when it says much.
func TestLightTrafficKeepsTheRate(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 30 * time.Millisecond, Rate: 10e6, Queue: 100_000, MTU: 1500})
	w.connect(p, q)
	w.transfer(p, 4<<20, 10*time.Second)
	p.beats(q, ChannelOptions{}, Message{Channel: 3}, 100, 3000, tick)
	w.run(50*time.Second, nil)
	if took := w.transfer(p, 1<<20, 10*time.Second); took > 1100*time.Millisecond {
		t.Errorf("1 MiB took %v at 10 Mbit/s", took)
	}
}

// Config.Congestion says how a side sends, whatever the other does, and
// DialOptions.Congestion how it sends on one session.
func TestCongestionControlIsChosenBySide(t *testing.T) {
	for _, c := range []struct{ side, dial, want congestion.Algorithm }{
		{want: congestion.BBR},
		{side: congestion.BBR, want: congestion.BBR},
		{side: congestion.CUBIC, want: congestion.CUBIC},
		{dial: congestion.CUBIC, want: congestion.CUBIC},
		{side: congestion.CUBIC, dial: congestion.BBR, want: congestion.BBR},
	} {
		t.Run(fmt.Sprintf("%v, dialled with %v", c.side, c.dial), func(t *testing.T) {
			w := newWorld(t, 1)
			p, q := w.pair(wiretest.Link{Delay: 25 * time.Millisecond, Rate: 20e6, Queue: 500_000, MTU: 1500})
			p.use(c.side)
			p.dialWith = c.dial
			s, _ := w.connect(p, q)
			wantSendsBy(t, w, p, s, c.want)
		})
	}
}

// wantSendsBy has p send more than the link carries: CUBIC fills its queue.
func wantSendsBy(t *testing.T, w *world, p *peer, s *Session, want congestion.Algorithm) {
	t.Helper()
	p.stream(Message{}, 16<<10, 1000)
	w.run(3*time.Second, nil)
	fills := s.Stats().SmoothedRTT > 100*time.Millisecond
	if fills != (want == congestion.CUBIC) {
		t.Errorf("a round trip of %v, want that of %v", s.Stats().SmoothedRTT, want)
	}
}

// A side that dialled keeps its choice when the peer's handshake takes the place of
// its own.
func TestCongestionControlOutlastsACrossedDial(t *testing.T) {
	w := newWorld(t, 1)
	p, q := w.pair(wiretest.Link{Delay: 25 * time.Millisecond, Rate: 20e6, Queue: 500_000, MTU: 1500})
	if p.ep.designated(q.ep.ID()) {
		p, q = q, p
	}
	p.dialWith = congestion.CUBIC
	s := p.dial(q, q.path())
	q.dial(p, p.path())
	w.want("one session", time.Second, func() bool { return p.counts[Established] == 1 && q.counts[Established] == 1 })
	if s.Initiator() {
		t.Fatal("the dials did not cross")
	}
	wantSendsBy(t, w, p, s, congestion.CUBIC)
}
