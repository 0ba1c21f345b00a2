package reach

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// newHardRig returns a rig that is online and has found out what NAT it is
// behind. Its sessions are relayed.
func newHardRig(t *testing.T, nat wire.NAT, set func(*Config)) *rig {
	r := newRigWith(t, 2, set)
	r.relay = true
	r.allOnline()
	r.c.survey = &survey{
		base: addr("198.51.99.9:3479"), probes: probePorts, hairpins: clock.Never, poison: clock.Never,
		findings: Findings{NAT: nat, Done: true},
	}
	return r
}

func plain(*Config)        {}
func withSearch(c *Config) { c.Search = true }

// meets is the punch of a server that says the peer is behind a NAT.
func (r *rig) meets(server int, id uuid.UUID, p wire.PeerID, nat wire.NAT, own bool, addrs ...addrPort) {
	m := wire.Punch{ID: id, Peer: p, Initiator: own, NAT: nat}
	for _, a := range addrs {
		m.Candidates.Add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: a})
	}
	r.control(server, m.Append(nil))
}

// invited is an invitation and the order that follows it.
func (r *rig) invited(id uuid.UUID, p wire.PeerID, nat wire.NAT, addrs ...addrPort) {
	r.invite(0, id, p)
	if in := r.c.findIntroduction(id); in != nil && in.phase == preparing {
		r.advance(prepareMax)
	}
	r.meets(0, id, p, nat, false, addrs...)
}

// tally counts actions and empties r.out, and keeps track of which sockets are
// open.
type tally struct {
	kinds    [Failed + 1]int
	open     map[uint32]bool
	mostOpen int
}

func (n *tally) take(r *rig) {
	r.t.Helper()
	if n.open == nil {
		n.open = make(map[uint32]bool)
	}
	for _, a := range r.out {
		n.kinds[a.Kind]++
		switch a.Kind {
		case OpenSocket:
			n.open[a.Link] = true
		case CloseSocket:
			if !n.open[a.Link] {
				r.t.Fatalf("socket %x is closed, but not open", a.Link)
			}
			delete(n.open, a.Link)
		case Probe, Guess:
			if !r.known[a.Peer] {
				r.t.Fatalf("%+v to a peer without a session", a)
			}
		}
		n.mostOpen = max(n.mostOpen, len(n.open))
	}
	r.out = r.out[:0]
}

// A server, alone or together with peers, says 10,000 times a second that
// somebody behind the worst of NATs wants to be met.
func TestFloodOfInvitationsStaysWithinTheBudget(t *testing.T) {
	const seconds = 0.4
	var all []addrPort
	for n := range wire.MaxCandidates {
		all = append(all, addrOf(1, n))
	}
	for name, c := range map[string]struct {
		mine, theirs wire.NAT
		known        int // every how many-th of them; 0: none
		peers        int
		shots        limitOf
	}{
		"strangers, block":        {easyNAT, blockNAT, 0, 1 << 20, strangersOnly},
		"strangers, at my block":  {blockNAT, easyNAT, 0, 1 << 20, strangersOnly},
		"strangers, search":       {searchingNAT, withFlags(easyNAT, wire.NATSearch), 0, 1 << 20, strangersOnly},
		"strangers, I count":      {sequentialNAT, easyNAT, 0, 1 << 20, strangersOnly},
		"peers, block":            {easyNAT, blockNAT, 1, 50, everybody},
		"peers, at my block":      {blockNAT, easyNAT, 1, 50, everybody},
		"peers, search":           {searchingNAT, withFlags(easyNAT, wire.NATSearch), 1, 50, everybody},
		"peers, search for them":  {withFlags(easyNAT, wire.NATSearch), searchingNAT, 1, 50, everybody},
		"peers, I count":          {sequentialNAT, easyNAT, 1, 50, everybody},
		"peers, both count":       {sequentialNAT, sequentialNAT, 1, 50, everybody},
		"one peer, grid":          {sequentialNAT, blockNAT, 1, 1, everybody},
		"both, counted and block": {blockNAT, sequentialNAT, 2, 1 << 20, everybody},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHardRig(t, c.mine, func(cfg *Config) { cfg.Search = c.mine.Has(wire.NATSearch) })
			var n tally
			for k := range int(seconds * 10000) {
				p := numberedPeer(k % c.peers)
				if c.known != 0 && k%c.known == 0 {
					r.known[p] = true
				}
				r.invite(0, uuidOf(k), p)
				r.meets(0, uuidOf(k), p, c.theirs, false, all...)
				r.advance(100 * time.Microsecond)
				n.take(r)
				if held := len(r.c.introductions); held > maxInvited {
					t.Fatalf("%d introductions held, want at most %d", held, maxInvited)
				}
			}
			r.advance(30 * time.Second)
			n.take(r)
			// What is under way at the end of the flood goes on for a while.
			const took = 10
			if shots, most := n.kinds[SendOpener]+n.kinds[Guess], c.shots(took); shots > most {
				t.Errorf("%d openers and guesses, want at most %d", shots, most)
			}
			if most := int(probeRate.Burst+probeRate.PerSecond*took) * wire.MaxCandidates; n.kinds[Probe] > most {
				t.Errorf("%d probes, want at most %d", n.kinds[Probe], most)
			}
			fresh := int(2 * (freshRate.Burst + freshRate.PerSecond*took))
			most := fresh
			if c.known != 0 {
				most += took * int(time.Second/searchPause) * blockSockets
				if c.mine.Has(wire.NATSearch) {
					most = fresh + 2*searchSockets
				}
			}
			if n.kinds[OpenSocket] > most {
				t.Errorf("%d sockets, want at most %d", n.kinds[OpenSocket], most)
			}
			if n.mostOpen > searchSockets+2*maxInvited {
				t.Errorf("%d sockets open at one time", n.mostOpen)
			}
			if most := 3 * 3 * fresh; n.kinds[SendSTUN] > most {
				t.Errorf("%d binding requests, want at most %d", n.kinds[SendSTUN], most)
			}
			if len(n.open) != 0 || len(r.c.introductions) != 0 || r.c.budget.search != nil {
				t.Errorf("left: %d sockets, %d introductions, search %v", len(n.open), len(r.c.introductions), r.c.budget.search)
			}
		})
	}
}

// A limitOf is how many openers and guesses there may be in so many seconds.
type limitOf func(seconds int) int

func strangersOnly(seconds int) int {
	return int(strangerRate.Burst + strangerRate.PerSecond*float64(seconds))
}
func everybody(seconds int) int { return int(shotRate.Burst + shotRate.PerSecond*float64(seconds)) }

func TestStrangersLeavePeersTheirBudget(t *testing.T) {
	r := newHardRig(t, sequentialNAT, plain)
	for n := range 1000 {
		r.invite(0, uuidOf(n), numberedPeer(n))
		r.meets(0, uuidOf(n), numberedPeer(n), easyNAT, false, addrOf(2, n))
	}
	r.out = nil
	r.known[bob] = true
	r.invite(0, uuidOf(5000), bob)
	r.take(OpenSocket, "a new port is looked at for a peer")
	r.advance(prepareMax)
	r.meets(0, uuidOf(5000), bob, easyNAT, false, publicBob)
	if !slices.ContainsFunc(r.out, func(a Action) bool { return a.Kind == SendOpener && a.Addr == publicBob }) {
		t.Error("no opener to bob")
	}
	r.advance(time.Second)
	r.take(Guess, "the path is not direct")
}

func TestOneSearchAtATime(t *testing.T) {
	r := newHardRig(t, blockNAT, plain)
	r.known[bob], r.known[carol] = true, true
	r.invited(uuidOf(1), bob, easyNAT, publicBob)
	if n := r.count(OpenSocket); n != blockSockets {
		t.Fatalf("%d sockets, want %d", n, blockSockets)
	}
	r.advance(searchPause)
	r.out = nil
	r.invited(uuidOf(2), carol, easyNAT, addr("198.51.99.3:4003"))
	r.wantNone(OpenSocket, "bob is searched for")
	r.take(Probe, "carol's address is probed all the same")
	r.advance(10 * time.Second)
	if n := r.count(CloseSocket); n != blockSockets {
		t.Errorf("%d sockets closed, want %d", n, blockSockets)
	}
	r.invited(uuidOf(3), carol, easyNAT, addr("198.51.99.3:4003"))
	r.take(OpenSocket, "bob's search is over")
}

// A search that had to wait for another one's is no search in vain: its round is
// begun again, rather than rest.
func TestSearchThatHadToWaitBeginsSoon(t *testing.T) {
	r := newHardRig(t, blockNAT, plain)
	r.known[bob], r.known[carol] = true, true
	r.invited(uuidOf(1), bob, easyNAT, publicBob)
	r.advance(searchPause)
	id := r.introduce(carol, true)
	r.advance(prepareMax)
	r.meets(0, id, carol, easyNAT, true, addr("198.51.99.3:4003"))
	if in := r.c.findIntroduction(id); in == nil || in.volley.plan.technique != TechniqueNone {
		t.Fatalf("%+v, want one that waits for bob's search", in)
	}
	r.out = nil
	begun := r.now
	for r.count(SendControl) == 0 && r.now.Sub(begun) < 30*time.Second {
		r.advance(100 * time.Millisecond)
	}
	if d := r.now.Sub(begun); d > 10*time.Second {
		t.Errorf("carol is asked for again after %v", d)
	}
}

// The application may want to meet many peers at once; the network before the
// node can take only so much all the same.
func TestManyIntroductionsShareOneRate(t *testing.T) {
	r := newHardRig(t, easyNAT, plain)
	for n := range maxOwn {
		p := numberedPeer(n)
		r.known[p] = true
		r.meets(0, r.introduce(p, false), p, sequentialNAT, true, addrOf(3, n))
	}
	var n tally
	begun := r.now
	for range 300 {
		r.advance(10 * time.Millisecond)
		n.take(r)
		most := shotRate.Burst + shotRate.PerSecond*r.now.Sub(begun).Seconds() + 1
		if shots := n.kinds[SendOpener] + n.kinds[Guess]; float64(shots) > most {
			t.Fatalf("%d openers and guesses within %v", shots, r.now.Sub(begun))
		}
	}
	if n.kinds[SendOpener] != maxOwn || n.kinds[Guess] == 0 {
		t.Errorf("%d openers, %d guesses", n.kinds[SendOpener], n.kinds[Guess])
	}
}

func TestSearchesDoNotBeginInARow(t *testing.T) {
	r := newHardRig(t, blockNAT, plain)
	r.known[bob] = true
	for n := range maxInvited {
		r.invite(0, uuidOf(n), bob)
		m := wire.Punch{ID: uuidOf(n), Peer: bob, StartIn: 1e6, NAT: easyNAT}
		m.Candidates.Add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: publicBob})
		r.control(0, m.Append(nil)) // void when the next invitation comes
		r.advance(searchPause / 20)
	}
	r.advance(10 * time.Second)
	if n := r.count(OpenSocket); n != blockSockets {
		t.Errorf("%d sockets, want %d: each invitation ended the search for another", n, blockSockets)
	}
}

// The end of one that did not search leaves the other's search alone.
func TestSearchBelongsToWhoBeganIt(t *testing.T) {
	r := newHardRig(t, blockNAT, plain)
	r.known[bob], r.known[carol] = true, true
	r.invited(uuidOf(1), bob, easyNAT, publicBob)
	r.advance(100 * time.Millisecond)
	for n := range 3 {
		r.invited(uuidOf(2+n), carol, easyNAT, addr("198.51.99.3:4003"))
		r.c.filterIntroductions(func(in *introduction) bool { return in.peer != carol })
	}
	if s := r.c.budget.search; s == nil || s.peer != bob {
		t.Errorf("the search is %+v, want bob's", s)
	}
}

func TestNobodySearchesUnlessBothWantTo(t *testing.T) {
	both := withFlags(easyNAT, wire.NATSearch)
	for name, c := range map[string]struct {
		search bool
		theirs wire.NAT
		want   bool
	}{
		"this node does not": {false, both, false},
		"the peer does not":  {true, easyNAT, false},
		"both do":            {true, both, true},
	} {
		r := newHardRig(t, randomNAT, func(cfg *Config) { cfg.Search = c.search })
		r.known[bob] = true
		r.invited(uuidOf(1), bob, c.theirs, publicBob)
		if n := r.count(OpenSocket); (n > 0) != c.want {
			t.Errorf("%s: %d sockets", name, n)
		}
	}
}

func TestSearchesForOnePeerAreRareAndFew(t *testing.T) {
	r := newHardRig(t, searchingNAT, withSearch)
	r.known[bob] = true
	var begun []time.Duration
	start := r.now
	for n := range 100 {
		r.invited(uuidOf(n), bob, withFlags(easyNAT, wire.NATSearch), publicBob)
		if r.count(OpenSocket) > 0 {
			begun = append(begun, r.now.Sub(start))
		}
		r.advance(3 * time.Second)
	}
	if len(begun) != searchesMax || begun[1]-begun[0] < searchGap {
		t.Errorf("searched after %v, want %d times and %v apart", begun, searchesMax, searchGap)
	}
	r.c.Moved(r.now)
	r.advance(time.Second)
	r.c.survey = &survey{hairpins: clock.Never, poison: clock.Never, findings: Findings{NAT: searchingNAT, Done: true}}
	r.out = nil
	r.invited(uuidOf(1000), bob, withFlags(easyNAT, wire.NATSearch), publicBob)
	r.take(OpenSocket, "in another network it may work")
}

func TestSearchedPeersFillNoMemory(t *testing.T) {
	var b budget
	for n := range 10 * searchedLogMax {
		if !b.searchAll(clock.Time(time.Duration(n)*time.Second), numberedPeer(n)) {
			t.Fatalf("peer %d may not be searched for", n)
		}
	}
	if len(b.searched) != searchedLogMax {
		t.Errorf("%d peers are remembered", len(b.searched))
	}
	if _, kept := b.searched[numberedPeer(10*searchedLogMax-1)]; !kept {
		t.Error("the latest was forgotten")
	}
}

func TestStrangerIsSearchedForWhenTheSessionIsThere(t *testing.T) {
	r := newHardRig(t, blockNAT, plain)
	r.invited(uuidOf(1), carol, easyNAT, addr("198.51.99.3:4003"))
	r.wantNone(OpenSocket, "carol may be one of many")
	r.peerUp(carol)
	if n := r.count(OpenSocket); n != blockSockets {
		t.Errorf("%d sockets for a peer, want %d", n, blockSockets)
	}
}

func TestGuessesStopWhenThePathIsDirect(t *testing.T) {
	for name, after := range map[string]time.Duration{"by a probe": 50 * time.Millisecond, "by a guess": 300 * time.Millisecond} {
		r := newHardRig(t, easyNAT, plain)
		r.known[bob] = true
		r.invited(uuidOf(1), bob, blockNAT, publicBob)
		r.advance(after)
		if n := r.count(Guess); (n > 0) != (after > openedFirst) {
			t.Errorf("%s: %d guesses after %v", name, n, after)
		}
		r.relay = false
		r.advance(10 * time.Second)
		r.wantNone(Guess, name)
		if len(r.c.introductions) != 0 || r.c.budget.search != nil {
			t.Errorf("%s: %d introductions left", name, len(r.c.introductions))
		}
	}
}

// However an introduction ends, what it has opened is closed, and others may
// search.
func TestEveryEndClosesTheSockets(t *testing.T) {
	ask := func(r *rig) uuid.UUID {
		id := r.introduce(bob, false)
		r.advance(prepareMax)
		return id
	}
	for name, end := range map[string]func(r *rig){
		"abandoned while preparing": func(r *rig) { r.introduce(bob, false); r.c.Abandon(bob) },
		"abandoned while asking":    func(r *rig) { ask(r); r.c.Abandon(bob) },
		"abandoned while searching": func(r *rig) {
			r.meets(0, ask(r), bob, blockNAT, true, publicBob)
			r.advance(500 * time.Millisecond)
			r.c.Abandon(bob)
		},
		"refused": func(r *rig) {
			id := r.introduce(bob, true)
			r.advance(prepareMax)
			for server := range 2 {
				r.refuse(server, id, wire.RefusedAbsent, 0)
			}
			r.advance(serverPatience)
			r.refuse(1, id, wire.RefusedAbsent, 0)
		},
		"no answer":         func(r *rig) { r.introduce(bob, true); r.advance(time.Minute) },
		"session has ended": func(r *rig) { ask(r); r.known[bob] = false; r.advance(time.Minute) },
		"session has ended in the search": func(r *rig) {
			r.meets(0, ask(r), bob, blockNAT, true, publicBob)
			r.advance(500 * time.Millisecond)
			r.known[bob] = false
			r.advance(time.Minute)
		},
		"retries are refused": func(r *rig) {
			r.meets(0, ask(r), bob, easyNAT, true, publicBob)
			for range 600 {
				r.advance(time.Second)
				for _, in := range r.c.introductions {
					r.refuse(0, in.id, wire.RefusedAbsent, 0)
					r.refuse(1, in.id, wire.RefusedAbsent, 0)
				}
			}
			r.c.Abandon(bob)
		},
		"rounds come to nothing": func(r *rig) {
			r.meets(0, ask(r), bob, blockNAT, true, publicBob)
			for range 100 {
				r.advance(100 * time.Millisecond)
				for _, in := range slices.Clone(r.c.introductions) {
					r.meets(0, in.id, bob, blockNAT, true, publicBob)
				}
			}
			r.known[bob] = false
			r.advance(2 * time.Hour)
		},
		"moved while preparing": func(r *rig) { r.introduce(bob, false); r.c.Moved(r.now); r.advance(2 * time.Minute) },
		"moved in a retry": func(r *rig) {
			r.meets(0, ask(r), bob, blockNAT, true, publicBob)
			r.advance(4 * time.Second)
			r.c.Moved(r.now)
			r.known[bob] = false
			r.advance(2 * time.Minute)
		},
		"mapped in a retry": func(r *rig) {
			r.meets(0, ask(r), bob, blockNAT, true, publicBob)
			r.advance(4 * time.Second)
			r.c.SetMapped(r.now, publicSelf)
			r.known[bob] = false
			r.advance(2 * time.Minute)
		},
		"invitation is replaced": func(r *rig) {
			for n := range 5 {
				r.invite(0, uuidOf(n), bob)
				r.advance(10 * time.Millisecond)
			}
			r.advance(time.Minute)
		},
		"invitation is not followed up": func(r *rig) { r.invite(0, uuidOf(1), bob); r.advance(time.Minute) },
		"invited to a search": func(r *rig) {
			r.invited(uuidOf(1), bob, blockNAT, publicBob)
			r.advance(time.Minute)
		},
		"stranger who never comes": func(r *rig) {
			r.invited(uuidOf(1), carol, blockNAT, addr("198.51.99.3:4003"))
			r.advance(time.Minute)
		},
		"strangers crowd each other out": func(r *rig) {
			for n := range 100 {
				r.invite(0, uuidOf(n), numberedPeer(n))
			}
			r.advance(time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newHardRig(t, sequentialNAT, plain)
			r.known[bob] = true
			end(r)
			r.drain()
			if !slices.ContainsFunc(r.out, func(a Action) bool { return a.Kind == OpenSocket }) {
				t.Error("no socket was opened")
			}
			wantSocketsClosed(t, r)
			if r.c.budget.search != nil {
				t.Error("somebody still searches")
			}
		})
	}
}

func TestRelayOnlyNodeTellsAndProbesNothing(t *testing.T) {
	r := newHardRig(t, sequentialNAT, func(cfg *Config) { cfg.RelayOnly = true })
	r.c.SetHosts(r.now, []Host{atHome})
	r.c.SetMapped(r.now, publicSelf)
	r.known[bob] = true
	id := r.introduce(bob, false)
	m, _ := r.takeControl(wire.RendezvousIntroduce, "the peer can be met over the relay")
	if m.Introduce.Candidates.Len() != 0 || !m.Introduce.NAT.Has(wire.NATRelayOnly) {
		t.Errorf("INTRODUCE %+v", m.Introduce)
	}
	r.meets(0, id, bob, blockNAT, true, publicBob)
	r.advance(time.Minute)
	for round := range uint8(3) {
		r.control(0, (&wire.Invite{ID: uuidOf(int(round)), Peer: carol, Round: round}).Append(nil))
		m, _ = r.takeControl(wire.RendezvousAccept, "it meets peers over the relay")
		if m.Accept.Candidates.Len() != 0 || !m.Accept.NAT.Has(wire.NATRelayOnly) {
			t.Errorf("ACCEPT %+v", m.Accept)
		}
		r.meets(0, uuidOf(int(round)), carol, easyNAT, false, publicBob)
		r.peerUp(carol)
		r.advance(time.Minute)
	}
	for _, kind := range []ActionKind{Probe, Guess, SendOpener, OpenSocket} {
		r.wantNone(kind, "addresses are for nobody")
	}
}

func TestUnwantedPeerGetsARefusalAndNothingElse(t *testing.T) {
	r := newHardRig(t, sequentialNAT, plain)
	r.shy = true
	r.c.SetHosts(r.now, []Host{atHome})
	r.invite(0, uuidOf(1), carol)
	m, server := r.takeControl(wire.RendezvousAccept, "the server waits for an answer")
	if a := m.Accept; server != 0 || a.ID != uuidOf(1) || a.Peer != carol || a.Accepted || a.Candidates.Len() != 0 || a.NAT != (wire.NAT{}) {
		t.Errorf("ACCEPT %+v to server %d", a, server)
	}
	r.meets(0, uuidOf(1), carol, easyNAT, false, publicBob)
	r.advance(10 * time.Second)
	for _, a := range r.out {
		if a.Kind != SendControl {
			t.Errorf("it led to %+v", a)
		}
	}
	if len(r.c.introductions) != 0 || r.c.Attempts(carol) != nil {
		t.Error("something is remembered of it")
	}
	r.known[carol] = true
	r.invite(0, uuidOf(2), carol)
	r.advance(prepareMax)
	if m, _ := r.takeControl(wire.RendezvousAccept, "there is a session by now"); !m.Accept.Accepted {
		t.Error("a peer with a session was refused")
	}
}

// Who asks one server and hears nothing asks the next under the same ID. The one
// that is asked must not refuse because the first had come through.
func TestInvitationThroughASecondServerIsAccepted(t *testing.T) {
	r := newOnlineRig(t, 2)
	r.known[bob] = true
	for server := range 2 {
		r.invite(server, uuidOf(1), bob)
		m, to := r.takeControl(wire.RendezvousAccept, "bob is welcome")
		if !m.Accept.Accepted || to != server {
			t.Errorf("server %d: %+v, to %d", server, m.Accept, to)
		}
	}
	r.control(0, punch(uuidOf(1), bob, 0, false, publicBob))
	r.wantNone(Probe, "the second invitation replaced the first")
	r.control(1, punch(uuidOf(1), bob, 0, false, publicBob))
	r.take(Probe, "the second server's order")
	r.invite(0, uuidOf(1), bob)
	if m, _ := r.takeControl(wire.RendezvousAccept, "it is answered"); m.Accept.Accepted {
		t.Error("an invitation in the middle of probing was accepted again")
	}
}

func TestIDOfAnotherIntroductionIsRefused(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob], r.known[carol] = true, true
	id := r.introduce(bob, false)
	r.out = nil
	r.invite(0, id, carol)
	r.invite(0, id, bob)
	for range 2 {
		if m, _ := r.takeControl(wire.RendezvousAccept, "it is answered"); m.Accept.Accepted {
			t.Error("the ID of an introduction of our own was taken")
		}
	}
	r.punch(0, id, bob, 0, true, publicBob)
	r.take(Probe, "our own introduction goes on")
}

func TestOpenersGoWhereProbesMayGo(t *testing.T) {
	r := newHardRig(t, easyNAT, plain)
	r.known[bob] = true
	bad := []addrPort{
		addr("198.51.99.2:53"), addr("127.0.0.1:4000"), addr("10.0.0.1:4000"), addr("192.168.1.1:4000"), addr("169.254.1.1:4000"),
		addr("100.64.0.1:4000"), addr("192.0.2.1:4000"), addr("[fe80::1]:4000"), addr("[64:ff9b::7f00:1]:4000"),
	}
	for _, nat := range []wire.NAT{easyNAT, sequentialNAT, blockNAT} {
		r.invited(uuidOf(int(nat.Ports)), bob, nat, bad...)
		r.advance(30 * time.Second)
	}
	for _, kind := range []ActionKind{Probe, Guess, SendOpener} {
		r.wantNone(kind, "the peer cannot be there")
	}
}

func TestNewNetworkIsNotTakenForOneWithoutUDP(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.known[bob] = true
	r.c.Moved(r.now)
	r.introduce(bob, false)
	if m, _ := r.takeControl(wire.RendezvousIntroduce, "at once"); m.Introduce.NAT.Has(wire.NATNoUDP) {
		t.Error("the peer is told that there is no UDP")
	}
	r.c.Abandon(bob)
	r.c.ServerAt(r.now, 0, addrPort{})
	r.introduce(bob, false)
	if m, _ := r.takeControl(wire.RendezvousIntroduce, "at once"); !m.Introduce.NAT.Has(wire.NATNoUDP) {
		t.Error("the server is reached over a WebSocket alone")
	}
}

// What another socket was found to be is not told of this one.
func TestLateSamplesOfAnEarlierRoundMeanNothing(t *testing.T) {
	r := newHardRig(t, sequentialNAT, plain)
	r.known[bob] = true
	r.introduce(bob, false)
	r.c.introductions[0].retry = true
	old := r.take(SendSTUN, "the first sample")
	r.advance(2 * sampleGap)
	second, third := r.take(SendSTUN, "the second"), r.take(SendSTUN, "the third")
	r.c.SetMapped(r.now, publicSelf) // wakes those that try again
	r.c.SetMapped(r.now, addrPort{})
	r.advance(wakeDelay * 6 / 5)
	base := r.c.introductions[0].me.nat.Base
	for _, a := range []Action{old, second, third} {
		r.c.HandleSTUN(r.now, a.Link, a.Addr, answer(t, a, addr("198.51.99.1:7777")))
	}
	in := r.c.introductions[0]
	if in.phase != preparing || in.me.nat.Base != base || in.me.link == old.Link || old.Link&session.LinkSocket == 0 {
		t.Errorf("phase %d, base %d, link %x", in.phase, in.me.nat.Base, in.me.link)
	}
}
