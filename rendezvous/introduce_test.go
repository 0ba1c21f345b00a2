package rendezvous

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/wire"
)

// ask sends INTRODUCE and leaves the INVITE unanswered.
func (r *rig) ask(from *client, to int) (id uuid.UUID) {
	r.t.Helper()
	m := wire.Introduce{ID: uuid.New(), Peer: peer(to)}
	r.tell(from, m.Append(nil))
	return m.ID
}

func (r *rig) accept(c *client, id uuid.UUID, p wire.PeerID) {
	r.t.Helper()
	m := wire.Accept{ID: id, Peer: p, Accepted: true, Candidates: candidates("192.168.0.2:5000")}
	r.tell(c, m.Append(nil))
}

// newInvitation returns a rig in which a has asked for b, whom the server has told.
func newInvitation(t *testing.T) (r *rig, a, b *client, id uuid.UUID) {
	t.Helper()
	r = newRig(t, nil)
	a, b = r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
	id = r.ask(a, 2)
	r.take(b, wire.RendezvousInvite)
	return r, a, b, id
}

func TestInvitedPeerIsNotToldOfUntilItAccepts(t *testing.T) {
	r, a, b, id := newInvitation(t)
	r.wantSilence("b has not said that it wants to")
	r.accept(b, id, a.peer)
	r.take(a, wire.RendezvousPunch)
	r.take(b, wire.RendezvousPunch)
	r.accept(b, id, a.peer)
	r.wantSilence("it is accepted once")
}

// [W49] To the one who asked, a refusal looks like absence.
func TestRefusalLooksLikeAbsence(t *testing.T) {
	for _, since := range []time.Duration{0, settleTime} {
		r := newRig(t, nil)
		r.now = r.h.started.Add(since)
		r.shy = true
		a := r.join(1, "20.0.0.1:4000")
		r.join(2, "20.0.0.2:5000")
		r.introduce(a, 2, true)
		refused := r.take(a, wire.RendezvousRefused).Refused
		r.introduce(a, 3, true)
		absent := r.take(a, wire.RendezvousRefused).Refused
		refused.ID, refused.Peer = absent.ID, absent.Peer
		if refused != absent {
			t.Errorf("%v after the start: %+v of a peer that is there, %+v of one that is not", since, refused, absent)
		}
	}
}

func TestOnlyTheInvitedCanAccept(t *testing.T) {
	r, a, b, id := newInvitation(t)
	c := r.join(3, "20.0.0.3:5000")
	r.accept(c, id, a.peer)
	r.accept(a, id, a.peer)
	r.accept(b, uuid.New(), a.peer)
	r.wantSilence("none of them is the answer to the invitation")
	r.accept(b, id, c.peer)
	r.wantSilence("c asked for nothing")
}

// [W49] Between INVITE and ACCEPT one datagram with a forged source can move the
// session of the one who asked: nobody is told to send there.
func TestAddressThatIsNotProvedWhenAcceptedIsToldToNobody(t *testing.T) {
	r, a, b, id := newInvitation(t)
	r.h.locate = func(c *client) {
		if c == a {
			c.addr, c.validated = netip.MustParseAddrPort("66.6.6.6:53"), false
		}
	}
	r.accept(b, id, a.peer)
	if m := r.take(a, wire.RendezvousRefused).Refused; m.Code != wire.RefusedBusy || m.RetryAfter == 0 {
		t.Errorf("refused with %+v, want busy, and when to ask again", m)
	}
	r.wantSilence("where a is has not been proved")
}

func TestAcceptThatComesLateMeansNothing(t *testing.T) {
	r, a, b, id := newInvitation(t)
	r.now = r.now.Add(acceptTimeout)
	r.accept(b, id, a.peer)
	r.wantSilence("its time is up")
}

// A session over a WebSocket has no address that could be probed, and must not be
// able to name those of others.
func TestSessionOverAWebSocketClaimsNoAddress(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
	a.udp = false
	claims := candidates("20.0.0.1:4000", "20.0.0.2:53", "20.0.0.9:4000", "192.168.0.1:4000", "[2a00::1]:4000")
	for _, claim := range []func(*wire.Candidate){
		func(*wire.Candidate) {},
		func(c *wire.Candidate) { c.Kind = wire.CandidateReflexive },
		func(c *wire.Candidate) { c.Kind = wire.CandidateMapped },
	} {
		var list wire.Candidates
		for c := range claims.All() {
			claim(&c)
			list.Add(c)
		}
		m := wire.Introduce{ID: uuid.New(), Peer: b.peer, Candidates: list}
		r.tell(a, m.Append(nil))
		if i := r.take(b, wire.RendezvousInvite).Invite; i.Candidates.Len() != 0 {
			t.Errorf("INVITE names %v", addrsOf(&i.Candidates))
		}
		r.accept(b, m.ID, a.peer)
		if p := r.take(b, wire.RendezvousPunch).Punch; p.Candidates.Len() != 0 {
			t.Errorf("PUNCH names %v", addrsOf(&p.Candidates))
		}
		r.take(a, wire.RendezvousPunch)

		r.claims[a] = list
		id := r.introduce(b, 1, false)
		if p := r.take(b, wire.RendezvousPunch).Punch; p.ID != id || p.Candidates.Len() != 0 {
			t.Errorf("PUNCH for the one invited names %v", addrsOf(&p.Candidates))
		}
		r.take(a, wire.RendezvousPunch)
	}
	r.tell(a, (&wire.Register{}).Append(nil))
	if m := r.take(a, wire.RendezvousRegistered).Registered; m.Observed.IsValid() {
		t.Errorf("it is told that it is at %v", m.Observed)
	}
}

// Who asks and leaves is not told of any more, and nobody is sent to where it
// was. What the registry counts stays right, although it may be found to have
// moved last.
func TestWhoAsksAndLeavesIsForgotten(t *testing.T) {
	r := newRig(t, nil)
	for name, leave := range map[string]func(a *client){
		"its session ends": func(a *client) { r.h.closed(r.now, a) },
		"it is replaced":   func(a *client) { r.join(1, "20.0.0.8:4000"); r.sent = nil },
	} {
		a, b := r.join(1, "20.0.0.1:4000"), r.join(2, "20.0.0.2:5000")
		r.sent = nil
		r.h.locate = func(c *client) {
			if c == a {
				r.h.moved(a, addrNumber(3)) // its last word came from there
			}
		}
		id := r.ask(a, 2)
		r.take(b, wire.RendezvousInvite)
		r.sent = nil
		leave(a)
		r.accept(b, id, a.peer)
		r.wantSilence(name)
		r.h.locate = func(*client) {}
		r.h.closed(r.now, a)
		total := 0
		for _, n := range r.h.registry.networks {
			total += n
		}
		if total != len(r.h.registry.sessions) {
			t.Errorf("%s: %d sessions in networks, %d in all", name, total, len(r.h.registry.sessions))
		}
	}
}

func TestWaitingRoomIsBounded(t *testing.T) {
	r := newRig(t, nil)
	to := r.join(1, "20.0.0.1:4000")
	var w waitingRoom
	for n := range pendingMax + 1000 {
		w.add(&pending{at: r.now, from: to, to: to, m: wire.Introduce{ID: uuid.UUID{byte(n), byte(n >> 8), byte(n >> 16)}}})
		if w.byAge.Len() > pendingMax || len(w.byKey) != w.byAge.Len() {
			t.Fatalf("%d wait, %d by key", w.byAge.Len(), len(w.byKey))
		}
	}
	if w.take(r.now, pendingKey{to, uuid.UUID{}}) != nil {
		t.Error("the oldest is still there")
	}
	if w.take(r.now, pendingKey{to, uuid.UUID{0xe7, 0x03, 1}}) == nil {
		t.Error("the newest is not there")
	}
	if w.take(r.now.Add(acceptTimeout), pendingKey{to, uuid.UUID{0xe6, 0x03, 1}}) != nil || len(w.byKey) != 0 {
		t.Errorf("%d wait when their time is up", len(w.byKey))
	}
}

// One client cannot fill the room: it is stopped by its own rate.
func TestOneClientCannotFillTheWaitingRoom(t *testing.T) {
	r := newRig(t, nil)
	a := r.join(1, "20.0.0.1:4000")
	for n := range 500 {
		r.join(100+n, fmt.Sprintf("20.1.%d.%d:4000", n/250, n%250))
	}
	for n := range 5000 {
		r.ask(a, 100+n%500)
		r.now = r.now.Add(time.Millisecond)
	}
	if n := r.h.waiting.byAge.Len(); n > int(introduceRate.Burst+introduceRate.PerSecond*5) {
		t.Errorf("%d introductions of one client wait", n)
	}
}
