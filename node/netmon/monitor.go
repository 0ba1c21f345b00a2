package netmon

import (
	"sync"
	"time"

	"github.com/seed-67dce94e/holdfast/session/limit"
)

// A Config says where a monitor learns of the network. The zero value is the
// machine's own; tests put another in its place.
type Config struct {
	// Snapshot returns the present state. If nil, Take.
	Snapshot func() Snapshot
	// Events tells that the state may have changed. If nil, the system does, unless
	// Snapshot was given: that is polled then.
	Events <-chan struct{}
	// Wall returns the time of day. If nil, time.Now.
	Wall func() time.Time
}

const (
	// tickInterval is how often the time of day is looked at.
	tickInterval = 5 * time.Second
	// sleepMin is the advance of the time of day between two looks that only sleep
	// explains.
	sleepMin = 2*tickInterval + 2*time.Second
	// pollTicks is the number of ticks after which the network is looked at if
	// nothing tells of events.
	pollTicks = 2
)

// lookRate is how often the network is looked at, whatever the number of events.
// A router's system may tell of thousands of routes a second.
var lookRate = limit.Rate{PerSecond: 20, Burst: 20}

// A Monitor watches the network until it is closed.
type Monitor struct {
	cfg     Config
	changes chan Change
	done    chan struct{}
	closing sync.Once
	running sync.WaitGroup
}

// Start begins to watch. Changes are those from the state at this moment on.
func Start(cfg Config) *Monitor {
	system := cfg.Snapshot == nil && cfg.Events == nil
	if cfg.Snapshot == nil {
		cfg.Snapshot = Take
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	m := &Monitor{cfg: cfg, changes: make(chan Change), done: make(chan struct{})}
	w := newWatch(m, system)
	m.running.Go(w.run)
	return m
}

// Changes returns the channel of changes. What is not received in time becomes
// one change with what follows it, from the state that was last received; so
// none is lost and none piles up. Close closes the channel.
func (m *Monitor) Changes() <-chan Change { return m.changes }

// Close ends the monitor. It may be called more than once.
func (m *Monitor) Close() error {
	m.closing.Do(func() { close(m.done) })
	m.running.Wait()
	return nil
}
