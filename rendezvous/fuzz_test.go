package rendezvous

import (
	"net/netip"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

// The bytes are a script: each step lets one of some clients come, go, move, or
// say something. Whatever they do, the hub's state stays within its limits, and
// it never says more than it was asked for.
func FuzzHub(f *testing.F) {
	relay := append(wire.AppendRelay(nil, peer(2)), 1, 2, 3)
	introduce := (&wire.Introduce{Peer: peer(2), Candidates: candidates("192.168.0.1:1", "20.0.0.1:5")}).Append(nil)
	register := (&wire.Register{}).Append(nil)
	accept := (&wire.Accept{Peer: peer(1), Accepted: true, Candidates: candidates("10.0.0.1:1")}).Append(nil)
	script := func(steps ...[]byte) (b []byte) {
		for _, s := range steps {
			b = append(b, s...)
		}
		return b
	}
	say := func(op, who byte, msg []byte) []byte {
		return append([]byte{op, who, byte(len(msg))}, msg...)
	}
	f.Add(script([]byte{0, 1, 0}, say(1, 1, register), []byte{0, 2, 0}, say(1, 2, register),
		say(1, 1, introduce), say(1, 2, accept), say(2, 1, relay), []byte{3, 1, 0}, say(2, 2, relay), []byte{4, 9, 0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRig(t, &Config{MaxClients: 6})
		live := map[byte]*client{}
		for len(b) >= 3 {
			op, who, n := b[0]%6, b[1]%8, int(b[2])
			b = b[3:]
			msg := b[:min(n, len(b))]
			b = b[len(msg):]
			c := live[who]
			switch {
			case op == 0 && c == nil:
				if c = r.h.connected(r.now, peer(int(who%5)), addrNumber(who)); c != nil {
					c.validated = who != 7
					live[who] = c
				}
			case op == 1 && c != nil:
				r.h.message(r.now, c, msg)
			case op == 2 && c != nil:
				if to, _ := r.h.relay(r.now, c, msg, nil); to != nil && !to.registered {
					t.Error("relayed to a client that is not registered")
				}
			case op == 3 && c != nil:
				r.h.closed(r.now, c)
				delete(live, who)
			case op == 4:
				r.now = r.now.Add(time.Duration(who) * time.Second)
			case op == 5 && c != nil:
				r.h.moved(c, addrNumber(byte(n)))
			}
			before := len(r.sent)
			r.drain()
			if n := len(r.sent) - before; n > 2+6 {
				t.Errorf("%d messages after one step", n)
			}
			checkBounds(t, r.h, live)
		}
	})
}

func addrNumber(n byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{20, 0, 0, n % 4}), 4000)
}

func checkBounds(t *testing.T, h *hub, live map[byte]*client) {
	t.Helper()
	reg := &h.registry
	total := 0
	for _, n := range reg.networks {
		total += n
	}
	switch {
	case len(reg.sessions) != len(live), total != len(live):
		t.Fatalf("%d sessions, %d in networks, %d live", len(reg.sessions), total, len(live))
	case h.waiting.byAge.Len() != len(h.waiting.byKey), h.waiting.byAge.Len() > pendingMax:
		t.Fatalf("%d introductions by age, %d by key", h.waiting.byAge.Len(), len(h.waiting.byKey))
	case len(reg.sessions) > reg.max, len(reg.byPeer) > len(reg.sessions):
		t.Fatalf("%d sessions of at most %d, %d registered", len(reg.sessions), reg.max, len(reg.byPeer))
	}
	for p, c := range reg.byPeer {
		if _, ok := reg.sessions[c]; !ok || c.peer != p || !c.registered {
			t.Fatalf("registered: %+v", c)
		}
	}
}
