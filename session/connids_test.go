package session

import (
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

func newID(seq, retireTo uint64) *wire.NewConnID {
	return &wire.NewConnID{Seq: seq, RetireTo: retireTo, ID: wire.ConnID{byte(seq), 1}, Token: wire.ResetToken{byte(seq)}}
}

func remoteWith(t *testing.T, seqs ...uint64) *remoteIDs {
	t.Helper()
	first := newID(seqs[0], 0)
	r := &remoteIDs{live: []remoteID{{first.Seq, first.ID, first.Token}}}
	for _, seq := range seqs[1:] {
		if err := r.add(newID(seq, 0)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestRepeatedConnectionIDChangesNothing(t *testing.T) {
	r := remoteWith(t, 0, 1, 2)
	for range 1000 {
		if err := r.add(newID(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.live) != 3 {
		t.Fatalf("%d IDs, want 3", len(r.live))
	}
	if !r.rotate() {
		t.Fatal("no ID to rotate to")
	}
	if err := r.add(newID(0, 0)); err != nil || len(r.live) != 2 {
		t.Fatalf("a late repeat of the retired ID: %v, %d live", err, len(r.live))
	}
}

func TestConnectionIDLimits(t *testing.T) {
	t.Run("one more than may be active", func(t *testing.T) {
		if err := remoteWith(t, 0, 1, 2, 3).add(newID(4, 0)); err == nil {
			t.Fatal("accepted")
		}
	})
	t.Run("another ID under a known number", func(t *testing.T) {
		n := newID(1, 0)
		n.ID[3] = 9
		if err := remoteWith(t, 0, 1).add(n); err == nil {
			t.Fatal("accepted")
		}
	})
	t.Run("retirements without end", func(t *testing.T) {
		r := remoteWith(t, 0)
		for seq := uint64(1); ; seq++ {
			if err := r.add(newID(seq, seq)); err != nil {
				break
			}
			if seq > 10*pendingRetire {
				t.Fatal("no limit on retirements that the peer does not acknowledge")
			}
		}
		if len(r.retired) > pendingRetire || len(r.live) > activeIDs {
			t.Fatalf("%d retired, %d live", len(r.retired), len(r.live))
		}
	})
	t.Run("the last ID is never given up", func(t *testing.T) {
		r := remoteWith(t, 0)
		if r.rotate() {
			t.Fatal("rotated to nothing")
		}
		if err := r.obeyRetireTo(5); err != nil || len(r.live) != 1 {
			t.Fatalf("%v, %d live", err, len(r.live))
		}
		if err := r.add(newID(5, 5)); err != nil {
			t.Fatal(err)
		}
		if r.current().seq != 5 {
			t.Fatalf("still on ID %d", r.current().seq)
		}
	})
}

func TestLocalConnectionIDsAreRetiredOnce(t *testing.T) {
	var l localIDs
	for i := range 3 {
		l.issue(wire.ConnID{byte(i)}, known)
	}
	if _, removed, ok := l.retire(1); !removed || !ok {
		t.Fatal("live ID not retired")
	}
	if _, removed, ok := l.retire(1); removed || !ok {
		t.Fatal("a repeat must be harmless")
	}
	if _, _, ok := l.retire(3); ok {
		t.Fatal("an ID that was never issued was retired")
	}
}

// SPEC §7: the peer holds three IDs of ours, and gets another for each it retires.
func TestPeerIsGivenThreeConnectionIDs(t *testing.T) {
	sc := bareScript(t, Config{})
	hs := sc.initiate(wire.Params{})
	sc.deliver(hs.Frame())
	sc.confirm(hs)
	sc.s = sc.wantEvent("the session is up", Established).Session
	var issued []wire.NewConnID
	for _, f := range sc.take() {
		for i := range f.chunks {
			if c := &f.chunks[i]; c.Type == wire.TypeNewConnID {
				issued = append(issued, c.NewConnID)
			}
		}
	}
	if len(issued) != issuedIDs-1 {
		t.Fatalf("issued %d IDs beside the one of the handshake", len(issued))
	}
	sc.to = issued[0].ID
	sc.write(wire.AppendRetireConnID(nil, 0))
	if n := sc.wantChunk("another ID", wire.TypeNewConnID).chunk(wire.TypeNewConnID).NewConnID; n.Seq != issuedIDs {
		t.Errorf("number %d", n.Seq)
	}
	if len(sc.ep.byID) != issuedIDs {
		t.Errorf("%d IDs lead to the session", len(sc.ep.byID))
	}
}

func TestLostConnectionIDIsIssuedAgain(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.to = sc.s.local.live[1].id
	sc.write(wire.AppendRetireConnID(nil, 0))
	lost := sc.wantChunk("another ID", wire.TypeNewConnID).chunk(wire.TypeNewConnID).NewConnID
	sc.heard = sc.heard[:len(sc.heard)-1] // the frame never arrived
	for range 4 {
		sc.send(10)
	}
	sc.take()
	sc.ackAll()
	sc.advance(time.Second)
	if again := sc.wantChunk("it again", wire.TypeNewConnID).chunk(wire.TypeNewConnID).NewConnID; again != lost {
		t.Errorf("%+v, want %+v", again, lost)
	}
}

// RFC 9000 §19.16
func TestPeerMayNotRetireTheIDThatItUses(t *testing.T) {
	sc := acceptedScript(t, Config{})
	sc.write(wire.AppendRetireConnID(nil, 0))
	sc.wantEvent("the frame was addressed to the ID it retires", Closed)
}

// [S10]
func TestSessionWithoutASpareIDGoesOn(t *testing.T) {
	sc := dialedScript(t, Config{})
	for range 3 {
		sc.change(sc.s.Moved)
	}
	sc.send(100)
	if f := sc.wantChunk("the message", wire.TypeMessage); f.id != sc.connID {
		t.Errorf("addressed to %v", f.id)
	}
}
