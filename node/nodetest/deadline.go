package nodetest

import (
	"sync"
	"time"
)

// A deadline closes a channel when its time has come. The zero value has none.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	setting int           // counts set: the timer of an earlier one has no say
	reached chan struct{} // nil until somebody waits
	passed  bool
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.setting++
	if d.passed {
		d.passed, d.reached = false, nil
	}
	if t.IsZero() {
		return
	}
	setting := d.setting
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { d.pass(setting) })
		return
	}
	d.passLocked()
}

func (d *deadline) pass(setting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if setting == d.setting {
		d.passLocked()
	}
}

func (d *deadline) passLocked() {
	d.passed = true
	if d.reached == nil {
		d.reached = make(chan struct{})
	}
	close(d.reached)
}

// wait returns what is closed when the deadline has passed. It heeds later calls
// of set, unless the deadline had passed before.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reached == nil {
		d.reached = make(chan struct{})
	}
	return d.reached
}

func (d *deadline) isPast() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}
