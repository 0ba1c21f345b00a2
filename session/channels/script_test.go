package channels

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

var (
	seedCount = flag.Int("seeds", 200, "how many seeds TestEveryMessageMeetsItsFate runs")
	oneSeed   = flag.Uint64("seed", 0, "run only this seed of TestEveryMessageMeetsItsFate")
)

// TestEveryMessageMeetsItsFate joins two Sets by a wire that loses, reorders
// and repeats, lets both send all kinds of messages, and then heals it.
func TestEveryMessageMeetsItsFate(t *testing.T) {
	first, n := uint64(1), uint64(*seedCount)
	if *oneSeed != 0 {
		first, n = *oneSeed, 1
	}
	for seed := first; seed < first+n; seed++ {
		if err := runScript(seed); err != nil {
			t.Fatalf("%v\nreplay: go test ./session/channels -run TestEveryMessageMeetsItsFate -seed %d", err, seed)
		}
	}
}

// A script is two ends and the frames between them.
type script struct {
	rng    *rand.Rand
	now    clock.Time
	ends   [2]*end
	flying []flight
	loss   int // percent
	dup    int // percent
	jitter int // ms
	names  uint32
}

// A flight is a frame on its way, or what its sender will learn of it.
type flight struct {
	at    clock.Time
	frame frame
	from  int
	event flightEvent
}

type flightEvent uint8

const (
	arrives flightEvent = iota
	isAcked
	isLost
)

// An end is a Set and what its application knows.
type end struct {
	set      *Set
	sent     map[uint32]*sentMessage
	byID     map[MessageID]*sentMessage
	order    []MessageID
	inFlight int
	lastRead map[uint16]uint32 // by channel, the newest reliable message delivered
	lastSeq  map[uint16]uint32 // by channel, the newest sequenced message delivered
	deaf     map[uint16]bool   // channels that nobody reads for now
}

type sentMessage struct {
	name      uint32
	id        MessageID
	mode      wire.Mode
	channel   uint16
	receipt   bool
	key       uint64
	fates     []Fate
	delivered int
}

func runScript(seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &script{rng: rng, now: 1, loss: rng.IntN(50), dup: rng.IntN(10), jitter: 1 + rng.IntN(50)}
	cfg := Config{
		MaxMessage: 40_000,
		SendBuffer: 10_000 + rng.IntN(100_000),
		Window:     1024 + rng.IntN(20_000),
		WindowMax:  1024 + rng.IntN(60_000),
	}
	a, b := newPair(cfg)
	for i, set := range []*Set{a, b} {
		set.SetPath(20*ms, 0, 1200)
		s.ends[i] = &end{
			set: set, sent: map[uint32]*sentMessage{}, byID: map[MessageID]*sentMessage{},
			lastRead: map[uint16]uint32{}, lastSeq: map[uint16]uint32{}, deaf: map[uint16]bool{},
		}
	}
	for range 150 {
		if err := s.step(true); err != nil {
			return err
		}
	}
	return s.heal()
}

// heal ends all trouble and expects everything to settle in 30 s.
func (s *script) heal() error {
	s.loss, s.dup = 0, 0
	for _, e := range s.ends {
		clear(e.deaf)
	}
	for until := s.now.Add(30_000 * ms); s.now < until; {
		if err := s.step(false); err != nil {
			return err
		}
		if len(s.flying) == 0 && s.ends[0].set.Drained() && s.ends[1].set.Drained() &&
			!s.ends[0].set.Pending() && !s.ends[1].set.Pending() {
			return s.verify()
		}
	}
	return fmt.Errorf("not settled: %+v %+v", s.ends[0].set.Stats(), s.ends[1].set.Stats())
}

func (s *script) step(busy bool) error {
	s.now = s.now.Add(ms)
	for i, e := range s.ends {
		if busy && s.rng.IntN(3) == 0 {
			s.act(e)
		}
		if d := e.set.Deadline(); d <= s.now {
			e.set.HandleTimeout(s.now)
		}
		s.transmit(i)
	}
	if err := s.arrivals(); err != nil {
		return err
	}
	for i, e := range s.ends {
		if err := s.read(e, s.ends[1-i]); err != nil {
			return err
		}
		if err := e.note(); err != nil {
			return err
		}
		if err := e.set.Check(); err != nil {
			return fmt.Errorf("end %d at %d: %w", i, s.now, err)
		}
	}
	return nil
}

// act does something that an application does.
func (s *script) act(e *end) {
	switch s.rng.IntN(8) {
	case 0:
		if len(e.order) > 0 {
			e.set.Cancel(s.now, e.order[s.rng.IntN(len(e.order))])
		}
	case 1:
		e.deaf[uint16(s.rng.IntN(4))] = true
	case 2:
		delete(e.deaf, uint16(s.rng.IntN(4)))
	case 3:
		e.set.Configure(uint16(s.rng.IntN(4)), Options{Priority: int8(s.rng.IntN(3) - 1), Weight: s.rng.IntN(4)})
	default:
		for range 1 + s.rng.IntN(10) {
			s.send(e)
		}
	}
}

func (s *script) send(e *end) {
	s.names++
	m := &sentMessage{
		name: s.names, mode: wire.Mode(s.rng.IntN(4)), channel: uint16(s.rng.IntN(4)), receipt: s.rng.IntN(2) == 0,
	}
	sizes := []int{4, 64, 500, 3000, 40_000}
	req := Message{
		Channel: m.channel, Mode: m.mode, Receipt: m.receipt,
		Data: body(m.name, 4+s.rng.IntN(sizes[s.rng.IntN(len(sizes))]-3)),
	}
	if s.rng.IntN(4) == 0 {
		req.Deadline = s.now.Add(ms * time.Duration(s.rng.IntN(200)))
	}
	if s.rng.IntN(4) == 0 {
		req.Key = uint64(1 + s.rng.IntN(3))
	}
	req.Plain = s.rng.IntN(2) == 0
	id, err := e.set.Send(s.now, &req)
	if err != nil {
		return
	}
	m.id, m.key = id, req.Key
	e.sent[m.name] = m
	if id != 0 {
		e.byID[id] = m
		e.order = append(e.order, id)
	}
}

// transmit puts up to a few frames on the wire, as congestion control would.
func (s *script) transmit(i int) {
	e := s.ends[i]
	for e.inFlight < 20 {
		f, _ := fillFrame(e.set, s.now, RoomMin+s.rng.IntN(1200))
		if len(f.chunks) == 0 {
			return
		}
		e.inFlight++
		s.launch(i, f)
	}
}

// launch decides all that will happen to a frame: whether it arrives, once or
// twice, and what its sender learns, which may be that it is lost and then that
// it has arrived after all.
func (s *script) launch(from int, f frame) {
	arrival := s.now.Add(ms * time.Duration(1+s.rng.IntN(s.jitter)))
	back := arrival.Add(ms * time.Duration(1+s.rng.IntN(s.jitter)))
	lost := s.rng.IntN(100) < s.loss
	if !lost {
		s.flying = append(s.flying, flight{arrival, f, from, arrives})
	}
	if s.rng.IntN(100) < s.dup {
		s.flying = append(s.flying, flight{back, f, from, arrives})
		lost = false
	}
	if lost || s.rng.IntN(100) < s.loss/2 {
		s.flying = append(s.flying, flight{back, f, from, isLost})
	}
	if !lost {
		s.flying = append(s.flying, flight{back.Add(ms), f, from, isAcked})
	}
}

func (s *script) arrivals() error {
	keep := s.flying[:0]
	var due []flight
	for _, f := range s.flying {
		if f.at <= s.now {
			due = append(due, f)
		} else {
			keep = append(keep, f)
		}
	}
	s.flying = keep
	for _, f := range due {
		e := s.ends[f.from]
		switch f.event {
		case arrives:
			if err := handleFrame(s.ends[1-f.from].set, s.now, f.frame.chunks); err != nil {
				return fmt.Errorf("at %d: an honest peer broke the protocol: %w", s.now, err)
			}
		case isAcked:
			acked(e.set, s.now, f.frame)
			e.inFlight = max(0, e.inFlight-1)
		case isLost:
			lost(e.set, s.now, f.frame)
			e.inFlight = max(0, e.inFlight-1)
		}
	}
	return nil
}

// read takes what has come, and checks that each message is whole, was sent,
// comes once and in order.
func (s *script) read(e, peer *end) error {
	for ch := range uint16(4) {
		if e.deaf[ch] {
			continue
		}
		for {
			r, ok := e.set.Recv(s.now, ch)
			if !ok {
				break
			}
			if err := e.accept(r, peer); err != nil {
				return fmt.Errorf("channel %d %v at %d: %w", ch, r.Mode, s.now, err)
			}
		}
	}
	return nil
}

func (e *end) accept(r Received, peer *end) error {
	name, ok := bodyName(r.Data)
	if !ok {
		return fmt.Errorf("%d bytes that nobody sent", len(r.Data))
	}
	m := peer.sent[name]
	if m == nil || m.channel != r.Channel || m.mode != r.Mode {
		return fmt.Errorf("message %d was not sent here", name)
	}
	if m.delivered++; m.delivered > 1 {
		return fmt.Errorf("message %d delivered twice", name)
	}
	if r.Mode == wire.Reliable {
		if name < e.lastRead[r.Channel] {
			return fmt.Errorf("message %d after %d", name, e.lastRead[r.Channel])
		}
		e.lastRead[r.Channel] = name
	}
	if r.Mode == wire.Sequenced && m.key == 0 {
		if name < e.lastSeq[r.Channel] {
			return fmt.Errorf("message %d after the newer %d", name, e.lastSeq[r.Channel])
		}
		e.lastSeq[r.Channel] = name
	}
	return nil
}

// note records outcomes and checks that they follow one another as they may.
func (e *end) note() error {
	for {
		id, fate, ok := e.set.NextOutcome()
		if !ok {
			return nil
		}
		m := e.byID[id]
		if m == nil {
			return fmt.Errorf("fate %v of a message that was not sent", fate)
		}
		read := fate == Read && len(m.fates) == 1 && m.fates[0] == Stored
		if len(m.fates) > 0 && !read || len(m.fates) == 0 && fate == Read {
			return fmt.Errorf("message %d: %v after %v", m.name, fate, m.fates)
		}
		if !m.receipt && !fate.Failed() {
			return fmt.Errorf("message %d: %v was not asked for", m.name, fate)
		}
		m.fates = append(m.fates, fate)
	}
}

// verify checks the end state: every message is resolved, what is stored was
// delivered, and both sides agree on the credit used.
func (s *script) verify() error {
	for i, e := range s.ends {
		for _, m := range e.sent {
			failed := len(m.fates) == 1 && m.fates[0].Failed()
			switch {
			case reliable(m.mode) && !failed && m.delivered != 1:
				return fmt.Errorf("message %d %v did not fail and was delivered %d times", m.name, m.mode, m.delivered)
			case m.receipt && len(m.fates) == 0:
				return fmt.Errorf("message %d %v has no fate", m.name, m.mode)
			case m.receipt && reliable(m.mode) && !failed && len(m.fates) != 2:
				return fmt.Errorf("message %d %v was read, its sender knows %v", m.name, m.mode, m.fates)
			}
		}
		for _, ch := range e.set.channels {
			if peer := s.ends[1-i].set.byID[ch.id]; peer != nil && ch.used != peer.received {
				return fmt.Errorf("end %d channel %d: %d of credit used, peer counted %d", i, ch.id, ch.used, peer.received)
			}
		}
	}
	return nil
}
