package reach

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// The bytes are a script of what a hostile server says, and when. Whatever it
// is, the client's state stays within its limits, it does not spin, and it
// probes only allowed addresses of peers that it knows, within its budget.
func FuzzServerIntake(f *testing.F) {
	say := func(op byte, msg []byte) []byte { return append([]byte{op, byte(len(msg))}, msg...) }
	script := func(steps ...[]byte) (b []byte) {
		for _, s := range steps {
			b = append(b, s...)
		}
		return b
	}
	f.Add(script(say(0, punch(uuidOf(1), bob, 0, false, publicBob, addr("127.0.0.1:53"))), []byte{2, 9},
		say(1, append(wire.AppendRelay(nil, carol), 1)), say(0, (&wire.Drain{ReconnectIn: 1}).Append(nil))))
	f.Add(script(say(0, (&wire.Registered{Observed: publicBob, STUNPort: 1, KeepAlive: 1}).Append(nil)), []byte{3, 0, 2, 200, 4, 0}))
	f.Add(script([]byte{3, 0}, say(0, (&wire.Refused{ID: uuid.UUID{1}, Peer: bob, Code: wire.RefusedAbsent}).Append(nil))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newOnlineRig(t, 2)
		r.known[bob], r.relay = true, true
		begun := r.now
		for len(b) >= 2 {
			op, n := b[0]%5, int(b[1])
			b = b[2:]
			switch op {
			case 0, 1:
				msg := b[:min(n, len(b))]
				b = b[len(msg):]
				if op == 0 {
					r.c.HandleControl(r.now, n%2, msg)
				} else {
					r.c.HandleRelay(r.now, n%2, msg)
				}
			case 2:
				r.advance(time.Duration(n) * 10 * time.Millisecond)
			case 3:
				r.c.Introduce(r.now, peer(byte(n%4)), n%2 == 0)
			case 4:
				r.c.ServerDown(r.now, n%2, nil)
				r.c.ServerUp(r.now, n%2, serverAddr, time.Millisecond)
			}
			r.drain()
		}
		r.advance(time.Second)
		checkIntake(t, r, r.now.Sub(begun))
	})
}

func checkIntake(t *testing.T, r *rig, took time.Duration) {
	t.Helper()
	switch c := r.c; {
	case len(c.introductions) > maxOwn+maxInvited+maxRetries:
		t.Errorf("%d introductions", len(c.introductions))
	case len(c.seen) > sightingsMax:
		t.Errorf("%d reflexive addresses", len(c.seen))
	case len(c.stun) > MaxServers+MaxSTUN:
		t.Errorf("%d STUN servers", len(c.stun))
	case c.Deadline() == clock.Never:
		t.Error("no timer runs while servers are configured")
	}
	own, probes := map[uuid.UUID]bool{}, map[uuid.UUID]int{}
	for _, a := range r.out {
		switch a.Kind {
		case OpenRelay:
			own[a.ID] = true
		case Probe:
			if probes[a.ID]++; probes[a.ID] > wire.MaxCandidates || !r.known[a.Peer] {
				t.Errorf("probe %d of %+v", probes[a.ID], a)
			}
		}
	}
	invited := 0
	for id := range probes {
		if !own[id] {
			invited++
		}
	}
	if most := probeRate.Burst + probeRate.PerSecond*took.Seconds() + 1; float64(invited) > most {
		t.Errorf("%d introductions of others in %v", invited, took)
	}
}
