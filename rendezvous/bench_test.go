package rendezvous

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// What the hub adds to a relayed datagram, beside the two sessions that it
// travels in.
func BenchmarkRelay(b *testing.B) {
	r := newRig(b, &Config{RelayRate: 1 << 40, RelayBurst: 1 << 40})
	from, to := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	msg, buf := append(wire.AppendRelay(nil, to.peer), make([]byte, 1200)...), make([]byte, 0, 2000)
	b.ReportAllocs()
	b.SetBytes(1200)
	for b.Loop() {
		if c, _ := r.h.relay(r.now, from, msg, buf); c == nil {
			b.Fatal("not relayed")
		}
	}
}

func BenchmarkIntroduce(b *testing.B) {
	r := newRig(b, nil)
	from, to := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:4000")
	m := wire.Introduce{Peer: to.peer}
	msg := m.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		r.now = r.now.Add(10 * time.Second) // within all limits
		r.h.message(r.now, from, msg)
		for _, ok := r.h.next(); ok; _, ok = r.h.next() {
		}
	}
}
