package reach

import (
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/wire"
)

// What it may cost to meet peers, whatever these and the servers say of
// themselves and of their NATs. To invite costs a stranger nothing; so what is
// done for peers that the node has no session with has small budgets of its own,
// and hardly takes from those of its peers.
var (
	// probeRate is how often introductions that others began may come to probing.
	probeRate = limit.Rate{PerSecond: 2, Burst: maxInvited}
	// freshRate is how often they may open a socket that no NAT has seen before.
	freshRate = limit.Rate{PerSecond: 2, Burst: maxInvited}
	// shotRate bounds openers and guesses, of all introductions together. None is
	// longer than 64 bytes, so it is 16 KiB/s.
	shotRate = limit.Rate{PerSecond: 256, Burst: 512}
	// strangerRate is the part of it for openers to peers without a session.
	strangerRate = limit.Rate{PerSecond: 32, Burst: maxInvited * wire.MaxCandidates}
)

// Bounds of searches: some hundreds of sockets and datagrams each. There is one
// at a time.
const (
	searchPause    = time.Second      // from the beginning of one to the next
	searchGap      = 20 * time.Second // the same, through all ports of one peer
	searchesMax    = 2                // through all ports of one peer, until the network changes
	searchedLogMax = 128              // peers whose searches are counted
)

// A budget is what has been spent.
type budget struct {
	probes    limit.Bucket
	fresh     [2]limit.Bucket // for strangers, and for peers
	shots     limit.Bucket
	strangers limit.Bucket // of the shots

	search   *introduction // that searches; nil if none does
	searchAt clock.Time    // when the next one may begin
	searched map[wire.PeerID]searches
}

// searches counts those through all ports of a peer.
type searches struct {
	count int
	last  clock.Time
}

// affords charges an introduction that another began, once, and reports whether
// it may be probed for.
func (c *Client) affords(in *introduction) bool {
	if !in.own && !in.paid {
		in.paid = c.budget.probes.Take(c.now, probeRate, 1)
	}
	return in.own || in.paid
}

// affordsFresh reports whether an introduction may open a socket to prepare
// itself.
func (c *Client) affordsFresh(in *introduction) bool {
	kind := 0
	if c.cfg.Known(in.peer) {
		kind = 1
	}
	return in.own || c.budget.fresh[kind].Take(c.now, freshRate, 1)
}

// affordsShot charges one opener or guess, or returns how long to wait.
func (c *Client) affordsShot() (wait time.Duration) {
	if c.budget.shots.Take(c.now, shotRate, 1) {
		return 0
	}
	return c.budget.shots.Wait(c.now, shotRate, 1)
}

// affordsStrange charges an opener to a peer that there is no session with yet.
func (c *Client) affordsStrange() bool {
	return c.budget.strangers.Take(c.now, strangerRate, 1) && c.affordsShot() == 0
}

// beginSearch reports whether an introduction may search now, and notes that it
// does.
func (c *Client) beginSearch(in *introduction, t Technique) bool {
	b := &c.budget
	if b.search != nil || c.now < b.searchAt || t == TechniqueSearch && !b.searchAll(c.now, in.peer) {
		return false
	}
	b.search, b.searchAt = in, c.now.Add(searchPause)
	return true
}

// endSearch is called at the end of every round of every introduction.
func (c *Client) endSearch(in *introduction) {
	if c.budget.search == in {
		c.budget.search = nil
	}
}

func (b *budget) searchAll(now clock.Time, peer wire.PeerID) bool {
	s, known := b.searched[peer]
	if known && (s.count == searchesMax || now.Sub(s.last) < searchGap) {
		return false
	}
	if !known {
		b.makeRoom()
	}
	b.searched[peer] = searches{s.count + 1, now}
	return true
}

// makeRoom forgets the peer that was searched for the longest ago.
func (b *budget) makeRoom() {
	if b.searched == nil {
		b.searched = make(map[wire.PeerID]searches)
	}
	if len(b.searched) < searchedLogMax {
		return
	}
	var oldest wire.PeerID
	first := clock.Never
	for p, s := range b.searched {
		if s.last < first {
			oldest, first = p, s.last
		}
	}
	delete(b.searched, oldest)
}
