package reach

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pion/stun/v4"
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

// Anybody may send anything to a probe port. What it takes it can answer, and
// whatever is to go elsewhere than to the source is no longer than the request.
func FuzzProbe(f *testing.F) {
	var id [stun.TransactionIDSize]byte
	f.Add(probeRequest(id, false, 0))
	f.Add(probeRequest(id, true, 0))
	f.Add(probeRequest(id, false, 5000))
	f.Add(probeRequest(id, true, 1023))
	f.Add(stun.MustBuild(stun.BindingRequest, stun.Fingerprint).Raw)
	f.Add(stun.MustBuild(stun.BindingSuccess).Raw)
	f.Add(stun.MustBuild(stun.BindingRequest, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{2}}).Raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		req, ok := ParseProbe(b)
		if !slices.Equal(b, before) {
			t.Fatal("the datagram was changed")
		}
		for _, src := range []netip.AddrPort{publicSelf, addr("[2a00::1]:4001"), addr("[::ffff:198.51.99.1]:4001")} {
			answer, answered := AppendProbeResponse(nil, b, src)
			if ok && !answered {
				t.Fatalf("took %+v, but has no answer for %v", req, src)
			}
			elsewhere := req.ChangePort || req.ResponsePort != 0
			if ok && elsewhere && len(answer) > len(b) {
				t.Fatalf("%d bytes in answer to %d", len(answer), len(b))
			}
			if _, again := ParseProbe(answer); again {
				t.Fatal("the answer is a request: two ports would talk for ever")
			}
		}
		if ok && req.ResponsePort != 0 && req.ResponsePort < firstUserPort {
			t.Fatalf("the answer would go to port %d", req.ResponsePort)
		}
	})
}
