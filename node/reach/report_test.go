package reach

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/wire"
)

func earlier(a, b Attempt) int { return cmp.Compare(a.Began, b.Began) }

func TestReportsAreBounded(t *testing.T) {
	r := newOnlineRig(t, 1)
	for n := range 3 * peersKept {
		p := numberedPeer(n)
		r.known[p] = true
		for k := range 3 * attemptsKept {
			id := uuidOf(n<<8 | k)
			r.invite(0, id, p)
			r.control(0, punch(id, p, 0, false, publicBob))
		}
		if a := r.c.Attempts(p); len(a) > attemptsKept || len(a) == 0 || !slices.IsSortedFunc(a, earlier) {
			t.Fatalf("%d attempts are remembered of a peer", len(a))
		}
		r.advance(5 * time.Second)
	}
	if n := len(r.c.log.byPeer); n > peersKept || r.c.log.used.Len() != n {
		t.Errorf("%d peers are remembered, %d in order", n, r.c.log.used.Len())
	}
	if r.c.Attempts(numberedPeer(0)) != nil {
		t.Error("the oldest peer is remembered")
	}
}

// Servers that name new candidates all the time do not make a report grow.
func TestCandidatesOfAReportAreBounded(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	id := r.introduce(bob, false)
	for n := range 100 {
		r.control(0, punch(id, bob, time.Second, true, addrOf(1, n)))
	}
	if a := r.c.Attempts(bob); len(a) != 1 || len(a[0].Candidates) != 2*wire.MaxCandidates {
		t.Errorf("%d candidates", len(a[0].Candidates))
	}
}

func TestReportTellsWhatWasTriedAndHeard(t *testing.T) {
	r := newHardRig(t, easyNAT, plain)
	r.c.SetHosts(r.now, []Host{atHome})
	r.known[bob] = true
	id := r.introduce(bob, false)
	r.meets(0, id, bob, sequentialNAT, true, publicBob, addr("127.0.0.1:4000"))
	r.advance(time.Second)
	r.c.PathUp(bob, publicBob)
	r.c.PathUp(carol, publicBob)
	a := r.c.Attempts(bob)
	if len(a) != 1 {
		t.Fatalf("%d attempts", len(a))
	}
	got := a[0]
	if got.ID != id || !got.Own || !got.Started || got.Technique != TechniquePredict || got.Guesses != 3*predicted ||
		got.Remote != sequentialNAT || got.Local != easyNAT || len(got.Told) != 2 {
		t.Errorf("attempt %+v", got)
	}
	if len(got.Candidates) != 2 || !got.Candidates[0].Heard || got.Candidates[0].Refused || !got.Candidates[1].Refused || got.Candidates[1].Heard {
		t.Errorf("candidates %+v", got.Candidates)
	}
}

func TestExplainNamesTheCause(t *testing.T) {
	reflexive := func(a string) wire.Candidate {
		return wire.Candidate{Kind: wire.CandidateReflexive, Addr: addr(a)}
	}
	at := func(local, remote wire.NAT, round int) Attempt {
		return Attempt{
			Started: true, Ended: true, Local: local, Remote: remote, Round: round, Technique: techniqueFor(&local, &remote, round),
			Told:       []wire.Candidate{reflexive("198.51.99.1:4001")},
			Candidates: []Tried{{Candidate: reflexive("198.51.99.2:4002")}},
		}
	}
	where := func(mine, theirs string) Attempt {
		a := at(easyNAT, easyNAT, 0)
		a.Told, a.Candidates = []wire.Candidate{reflexive(mine)}, []Tried{{Candidate: reflexive(theirs)}}
		return a
	}
	withS := func(n wire.NAT) wire.NAT { return withFlags(n, wire.NATSearch) }
	running := at(easyNAT, easyNAT, 0)
	running.Ended = false
	postponed := at(sequentialNAT, easyNAT, 2)
	postponed.Technique = TechniqueNone
	refused := func(code wire.RefusedCode) error { return &RefusedError{Code: code} }
	for name, c := range map[string]struct {
		attempts []Attempt
		cause    Cause
		party    Party
	}{
		"nothing was tried":           {nil, CauseNone, Nobody},
		"it has only been asked for":  {[]Attempt{{}}, CauseNone, Nobody},
		"it is under way":             {[]Attempt{running}, CauseTrying, Nobody},
		"another is searched for":     {[]Attempt{postponed}, CauseTrying, Nobody},
		"no server answers":           {[]Attempt{{Err: ErrNoRendezvous}}, CauseNoServer, ThisSide},
		"the server limits":           {[]Attempt{{Err: refused(wire.RefusedRateLimited)}}, CauseNoServer, ThisSide},
		"the peer is absent":          {[]Attempt{{Err: refused(wire.RefusedAbsent)}}, CauseAbsent, PeerSide},
		"absent now, tried before":    {[]Attempt{at(easyNAT, easyNAT, 0), {Err: refused(wire.RefusedAbsent)}}, CauseAbsent, PeerSide},
		"absent before, tried now":    {[]Attempt{{Err: refused(wire.RefusedAbsent)}, at(easyNAT, easyNAT, 0), {}}, CauseUnanswered, BothSides},
		"this side relays only":       {[]Attempt{at(withFlags(easyNAT, wire.NATRelayOnly), easyNAT, 0)}, CauseRelayOnly, ThisSide},
		"both relay only":             {[]Attempt{at(withFlags(easyNAT, wire.NATRelayOnly), withFlags(easyNAT, wire.NATRelayOnly|wire.NATNoUDP), 0)}, CauseRelayOnly, BothSides},
		"the peer has no UDP":         {[]Attempt{at(easyNAT, withFlags(easyNAT, wire.NATNoUDP), 0)}, CauseNoUDP, PeerSide},
		"IPv4 and IPv6":               {[]Attempt{where("198.51.99.1:4001", "[2a00::1]:4002")}, CauseFamily, BothSides},
		"one public address":          {[]Attempt{where("198.51.99.1:4001", "198.51.99.1:4002")}, CauseNoHairpin, BothSides},
		"one IPv6 address":            {[]Attempt{where("[2a00::1]:4001", "[2a00::1]:4002")}, CauseUnanswered, BothSides},
		"firewall":                    {[]Attempt{at(easyNAT, easyNAT, 2)}, CauseUnanswered, BothSides},
		"hard, but the other is open": {[]Attempt{at(randomNAT, openNAT, 0)}, CauseUnanswered, BothSides},
		"both random":                 {[]Attempt{at(withS(randomNAT), withS(randomNAT), 0)}, CauseBothHard, BothSides},
		"block and random":            {[]Attempt{at(blockNAT, randomNAT, 0)}, CauseBothHard, BothSides},
		"neither searches":            {[]Attempt{at(easyNAT, randomNAT, 0)}, CauseSearchOff, BothSides},
		"the peer does not search":    {[]Attempt{at(withS(easyNAT), randomNAT, 0)}, CauseSearchOff, PeerSide},
		"searched in vain":            {[]Attempt{at(withS(easyNAT), withS(randomNAT), 0)}, CauseNotFound, PeerSide},
		"predicted in vain":           {[]Attempt{at(sequentialNAT, easyNAT, 2)}, CauseNotFound, ThisSide},
		"predicted in vain by both":   {[]Attempt{at(sequentialNAT, sequentialNAT, 2)}, CauseNotFound, BothSides},
	} {
		if cause, party := Explain(c.attempts); cause != c.cause || party != c.party {
			t.Errorf("%s: %v of %v, want %v of %v", name, cause, party, c.cause, c.party)
		}
	}
}

func TestEveryCauseHasItsWords(t *testing.T) {
	if len(causes) != int(CauseTrying)+1 {
		t.Fatalf("words for %d causes", len(causes))
	}
	for k := range causes {
		c := Cause(k)
		var back Cause
		text, _ := c.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != c {
			t.Errorf("%v: read as %v, %v", c, back, err)
		}
		if c.String() == "" || c.Text() == "" || c.Remedy() == "" && c != CauseNone {
			t.Errorf("%v: %q, %q", c, c.Text(), c.Remedy())
		}
	}
	if c := Cause(200); c.String() != "unknown" || c.Text() != "" || c.Remedy() != "" {
		t.Errorf("a cause that does not exist: %v, %q, %q", c, c.Text(), c.Remedy())
	}
	if err := new(Cause).UnmarshalText([]byte("bad luck")); err == nil {
		t.Errorf("read a cause that does not exist: %v", err)
	}
}
