package session

import (
	"runtime"
	"testing"
	"time"
)

// heapInUse is what the program holds once all garbage is gone.
func heapInUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// allocated returns what f allocates.
func allocated(f func()) (objects, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
}

// idlePairs makes n sessions, each of which has echoed one message, and lets time
// go on until they are at rest. It returns how much memory one takes, with both
// of its ends.
func idlePairs(d *duo, n int) int {
	m := Message{Data: make([]byte, 64)}
	before := heapInUse()
	for range n {
		d.dial()
		for range 2 {
			d.pass(&m, 1)
			d.ends[0], d.ends[1] = d.ends[1], d.ends[0]
		}
	}
	d.wait(2 * restCheck)
	return (heapInUse() - before) / n
}

// wait lets time go by.
func (d *duo) wait(long time.Duration) {
	for end := d.now.Add(long); d.now < end; {
		d.now = min(max(min(d.ends[0].e.Deadline(), d.ends[1].e.Deadline()), d.now+1), end)
		for i := range d.ends {
			d.ends[i].e.HandleTimeout(d.now)
			d.settle()
		}
	}
}

// [S40] What an idle session costs decides how many a node can have.
func TestIdleSessionIsSmall(t *testing.T) {
	const bytesMax = 5_400 // of both ends: an eighth more than was measured
	d := newDuo(t, 0)
	if got := idlePairs(d, 1000); got > bytesMax {
		t.Errorf("an idle session takes %d bytes at both ends, %d are allowed", got, bytesMax)
	}
	d.wait(time.Minute) // keepalives
	for _, end := range d.ends {
		if e := end.e; e.awake.first != nil {
			t.Error("a keepalive wakes a session")
		}
	}
	runtime.KeepAlive(d)
}

// What keepalives cost the core alone: one of each of a thousand sessions, both
// ends counted.
func BenchmarkKeepAlive(b *testing.B) {
	const sessions = 1000
	d := newDuo(b, 0)
	size := idlePairs(d, sessions)
	d.wait(rekeyInterval + time.Minute) // the keys change once after use
	b.ReportAllocs()
	for b.Loop() {
		d.wait(15 * time.Second)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*sessions), "ns/keepalive")
	b.ReportMetric(float64(size), "B/session")
}
