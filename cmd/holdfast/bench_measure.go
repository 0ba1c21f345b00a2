package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/node"
)

// Pings of a bench.
const (
	benchPingEvery    = 2 * time.Millisecond
	benchLoadedEvery  = 10 * time.Millisecond // while a flow is measured, which they should not disturb
	benchPingLoss     = 2 * time.Second       // after which an unreliable one counts as lost
	benchPingPatience = 10 * time.Second      // for the reliable ones to come back
)

// benchDrainMax is how long after its duration a flow may take to arrive: on a slow
// path the sender's buffer holds seconds of it.
const benchDrainMax = 2 * time.Minute

// A measurer measures the way to the other end of a session, which obeys.
type measurer struct {
	*run
	*benchEnd
	benchPlan
	live          liveLine
	steady, loose *pingSeries // of reliable and of unreliable messages
}

// measure does what the plan says and prints the results.
func (r *run) measure(ctx context.Context, c *node.Conn, plan benchPlan) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := newBenchEnd(c)
	m := &measurer{
		run: r, benchEnd: end, benchPlan: plan, live: liveLine{w: r.out, on: watched(r.out) && !r.json},
		steady: &pingSeries{ch: end.reliable}, loose: &pingSeries{ch: end.unreliable},
	}
	for _, p := range []*pingSeries{m.steady, m.loose} {
		go func() { cancel(p.listen(ctx)) }()
	}
	err := m.all(ctx)
	m.live.clear()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // a consequence of it
	}
	if err == nil {
		return nil
	}
	return cmp.Or(ended(err), errors.New("the peer has left"))
}

func (m *measurer) all(ctx context.Context) error {
	there, err := m.tell(ctx)
	if err != nil {
		return err
	}
	path, here := m.conn.Path(), m.since(m.mark())
	here.BusyCores, there.Side.BusyCores = 0, 0 // nothing was done yet
	m.print.result(benchStart{
		Event: "start", Peer: m.conn.Peer(), Path: path, DurationMS: milliseconds(m.duration),
		Here: here, There: there.Side,
	})
	for _, one := range m.measurements() {
		if now := m.conn.Path(); now.Kind != path.Kind || now.Remote != path.Remote {
			m.print.result(pathNote{"path", m.conn.Peer(), now})
			path = now
		}
		if err := one(ctx); err != nil {
			return err
		}
	}
	return nil
}

// measurements returns what the plan asks for, in the order of benchKinds.
func (m *measurer) measurements() (list []func(context.Context) error) {
	add := func(what string, one func(context.Context) error) {
		if slices.Contains(m.what, what) {
			list = append(list, one)
		}
	}
	add("latency", m.latency)
	add("loss", m.loss)
	for _, flow := range []struct {
		what string
		size int
	}{{"bulk", m.size}, {"small", benchSmall}} {
		if m.up {
			add(flow.what, func(ctx context.Context) error { return m.throughput(ctx, flow.what, "up", flow.size) })
		}
		if m.down {
			add(flow.what, func(ctx context.Context) error { return m.throughput(ctx, flow.what, "down", flow.size) })
		}
	}
	return list
}

func (m *measurer) latency(ctx context.Context) error {
	res, err := m.roundTrips(ctx, "latency", m.steady, benchPingPatience)
	if err != nil {
		return err
	}
	m.print.result(res)
	return nil
}

func (m *measurer) loss(ctx context.Context) error {
	res, err := m.roundTrips(ctx, "loss", m.loose, benchPingLoss)
	if err != nil {
		return err
	}
	there, err := m.tell(ctx)
	if err != nil {
		return err
	}
	arrived := min(max(there.Pings, 0), res.Sent)
	res.LostThere, res.LostBack = new(int), new(int)
	*res.LostThere, *res.LostBack = res.Sent-arrived, max(arrived-res.RoundTrip.Count, 0)
	m.print.result(res)
	return nil
}

// roundTrips measures those of pings.
func (m *measurer) roundTrips(ctx context.Context, what string, p *pingSeries, patience time.Duration) (pingResult, error) {
	every := benchEvery(m.duration)
	res := pingResult{Event: "result", What: what, Bytes: benchSmall, PlotEveryMS: milliseconds(every)}
	talking, cancel := context.WithTimeout(ctx, m.duration)
	defer cancel()
	stop := m.live.follow(every, func() string {
		points := append([]float64{0}, p.worst(every)...)
		return liveRow(what, plot(points[1:]), short(points[len(points)-1])+" ms")
	})
	err := p.run(ctx, talking, benchPingEvery, patience)
	stop()
	m.live.clear()
	if err != nil {
		return res, err
	}
	res.Sent, res.RoundTrip = p.summary()
	res.PlotMS, res.Path = p.worst(every), m.conn.Path()
	return res, nil
}

// tell asks the other end what it knows.
func (m *measurer) tell(ctx context.Context) (n benchNews, err error) {
	if err := sendJSON(ctx, m.control, benchOrder{Do: doTell}); err != nil {
		return n, err
	}
	err = recvJSON(ctx, m.control, &n)
	return n, err
}

// throughput measures that of a flow, and how long round trips take meanwhile.
func (m *measurer) throughput(ctx context.Context, what, way string, size int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.duration+benchDrainMax, errors.New("what was sent does not arrive"))
	defer cancel()
	every := benchEvery(m.duration)
	f := &flowResult{Event: "result", What: what, Direction: way, MessageBytes: size, PlotEveryMS: milliseconds(every)}
	note := func(so flowSoFar) {
		f.note(so)
		m.live.show(liveRow(what+" "+way, plot(f.PlotBitRate), bits(f.last())))
	}
	pinging, stop := context.WithCancel(ctx)
	pings := make(chan error, 1)
	go func() { pings <- m.steady.run(ctx, pinging, benchLoadedEvery, benchPingPatience) }()
	begin := m.mark()
	measured := m.measureUp
	if way == "down" {
		measured = m.measureDown
	}
	total, there, err := measured(ctx, size, note)
	here := m.since(begin)
	stop()
	err = cmp.Or(err, <-pings)
	m.live.clear()
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	f.finish(total)
	f.Sender, f.Receiver = here, there
	if way == "down" {
		f.Sender, f.Receiver = there, here
	}
	_, f.Loaded = m.steady.summary()
	f.Path = m.conn.Path()
	f.Notes = f.notes(m.self)
	m.print.result(f)
	return nil
}

// measureUp sends a flow. The other end tells what arrives.
func (m *measurer) measureUp(ctx context.Context, size int, note func(flowSoFar)) (total flowSoFar, there benchSide, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := sendJSON(ctx, m.control, m.order(doTake, size)); err != nil {
		return total, there, err
	}
	var ready, n benchNews
	if err := recvJSON(ctx, m.control, &ready); err != nil {
		return total, there, err
	}
	given := make(chan error, 1)
	go func() {
		err := m.give(ctx, size, m.duration)
		if err != nil {
			cancel(err)
		}
		given <- err
	}()
	for !n.Done {
		n = benchNews{}
		if err := recvJSON(ctx, m.control, &n); err != nil {
			cancel(err)
			<-given
			return total, there, context.Cause(ctx)
		}
		if !n.Done {
			note(n.flowSoFar)
		}
	}
	return n.flowSoFar, n.Side, <-given
}

// measureDown receives a flow.
func (m *measurer) measureDown(ctx context.Context, size int, note func(flowSoFar)) (total flowSoFar, there benchSide, err error) {
	if err := sendJSON(ctx, m.control, m.order(doGive, size)); err != nil {
		return total, there, err
	}
	if total, err = m.take(ctx, size, benchEvery(m.duration), note); err != nil {
		return total, there, err
	}
	var n benchNews
	err = recvJSON(ctx, m.control, &n)
	return total, n.Side, err
}

func (m *measurer) order(do string, size int) benchOrder {
	return benchOrder{Do: do, Bytes: size, DurationMS: max(m.duration.Milliseconds(), 1)}
}

// A pingSeries sends pings at a fixed rate, whether or not earlier ones have come
// back: what holds one up is not hidden from those that would have followed.
type pingSeries struct {
	ch *node.Channel

	mu    sync.Mutex
	first uint64          // number of the first ping of this run
	sent  []time.Time     // by number, from first
	took  []time.Duration // 0: not back yet
	back  int
	heard chan struct{} // one of this run is back
}

// listen takes the pings that come back, until the session or ctx ends.
func (p *pingSeries) listen(ctx context.Context) error {
	var buf [benchSmall]byte
	for {
		n, err := p.ch.RecvInto(ctx, buf[:])
		if err != nil {
			return err
		}
		if n == benchSmall {
			p.answered(binary.BigEndian.Uint64(buf[:]), time.Now())
		}
	}
}

func (p *pingSeries) answered(number uint64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := number - p.first
	if i >= uint64(len(p.sent)) || p.took[i] > 0 {
		return // of an earlier run
	}
	p.took[i] = max(at.Sub(p.sent[i]), 1)
	p.back++
	select {
	case p.heard <- struct{}{}:
	default:
	}
}

// run sends pings while talking lasts, and waits for those that are not back.
func (p *pingSeries) run(ctx, talking context.Context, every, patience time.Duration) error {
	p.reset()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end, bounded := talking.Deadline(); talking.Err() == nil && (!bounded || time.Now().Before(end)); {
		if err := p.send(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-talking.Done():
		}
	}
	return p.settle(ctx, patience)
}

func (p *pingSeries) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first += uint64(len(p.sent))
	p.sent, p.took, p.back = p.sent[:0], p.took[:0], 0
	p.heard = make(chan struct{}, 1)
}

func (p *pingSeries) send(ctx context.Context) error {
	var ping [benchSmall]byte
	p.mu.Lock()
	binary.BigEndian.PutUint64(ping[:], p.first+uint64(len(p.sent)))
	p.sent, p.took = append(p.sent, time.Now()), append(p.took, 0)
	p.mu.Unlock()
	return p.ch.Send(ctx, ping[:])
}

// settle waits until all pings are back, or there is no patience left.
func (p *pingSeries) settle(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		p.mu.Lock()
		complete := p.back == len(p.sent)
		p.mu.Unlock()
		if complete {
			return nil
		}
		select {
		case <-p.heard:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// summary returns how many pings were sent, and how long their round trips took.
func (p *pingSeries) summary() (sent int, _ percentiles) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent), percentilesOf(p.took)
}

// worst returns the longest round trip of each stretch of time, in milliseconds;
// 0 where none came back.
func (p *pingSeries) worst(every time.Duration) (points []float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, took := range p.took {
		at := int(p.sent[i].Sub(p.sent[0]) / every)
		for len(points) <= at {
			points = append(points, 0)
		}
		points[at] = max(points[at], milliseconds(took))
	}
	return points
}
