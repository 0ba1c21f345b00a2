package session

import (
	"testing"

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
