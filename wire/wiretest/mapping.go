package wiretest

import (
	"math"
	"net/netip"
	"time"
)

// A table is what a NAT remembers of the flows that pass it.
type table struct {
	mappings   map[tuple][]*mapping // by inside endpoint and what Mapping keeps of the remote one; the newest is last
	flows      map[tuple]flow       // by inside and remote endpoint
	byExternal map[netip.AddrPort]*mapping
	made       int // mappings ever
}

type tuple struct{ local, remote netip.AddrPort }

// A mapping is an external endpoint that stands for an inside one.
type mapping struct {
	inside, external netip.AddrPort
	serial           int           // in the order of making
	born, used       time.Duration // used: by the last datagram that refreshed it
	expires          time.Duration // with the last of states
	states           map[netip.AddrPort]*state
}

// A state is what a NAT keeps of the traffic of a mapping with those remote
// endpoints that its Filtering takes for one.
type state struct {
	refreshed, expires time.Duration
	replied            bool // something has come in
}

// A flow is an inside endpoint talking to a remote one. It stays on its mapping
// even when newer flows are given another.
type flow struct {
	m *mapping
	s *state
}

func newTable() table {
	return table{
		mappings:   make(map[tuple][]*mapping),
		flows:      make(map[tuple]flow),
		byExternal: make(map[netip.AddrPort]*mapping),
	}
}

// outbound returns the mapping for a flow, which it makes or refreshes; or else
// the fate of the datagram.
func (b *NAT) outbound(now time.Duration, inside, remote netip.AddrPort) (*mapping, Fate) {
	fl := b.flows[tuple{inside, remote}]
	if !b.live(now, fl.m) || now >= fl.s.expires {
		m, fate := b.mapping(now, inside, remote)
		if m == nil {
			return nil, fate
		}
		fl = flow{m, m.state(b.cfg.Filtering.key(remote), now)}
		b.flows[tuple{inside, remote}] = fl
	}
	b.refresh(now, fl.m, fl.s)
	return fl.m, Flying
}

// state returns that for a remote key. An expired one begins anew.
func (m *mapping) state(key netip.AddrPort, now time.Duration) *state {
	s := m.states[key]
	if s == nil || now >= s.expires {
		s = &state{}
		m.states[key] = s
	}
	return s
}

// mapping returns the mapping that a new flow uses: the newest one that is free
// towards the remote endpoint, or another.
func (b *NAT) mapping(now time.Duration, inside, remote netip.AddrPort) (*mapping, Fate) {
	id := tuple{inside, b.cfg.Mapping.key(remote)}
	var alive []*mapping
	for _, m := range b.mappings[id] {
		if b.live(now, m) {
			alive = append(alive, m)
		}
	}
	b.mappings[id] = alive
	for i := len(alive) - 1; i >= 0; i-- {
		if !b.isPoisoned(now, alive[i].external, remote) {
			return alive[i], Flying
		}
	}
	if !b.makeRoom(now) {
		return nil, TableFull
	}
	external := inside
	if b.translates(inside.Addr()) {
		var ok bool
		if external, ok = b.allocate(now, inside, remote); !ok {
			return nil, NoPort
		}
	}
	b.made++
	m := &mapping{inside: inside, external: external, serial: b.made, born: now, states: make(map[netip.AddrPort]*state)}
	b.mappings[id], b.byExternal[external] = append(alive, m), m
	return m, Flying
}

// makeRoom reports whether the NAT may have another mapping.
func (b *NAT) makeRoom(now time.Duration) bool {
	if b.cfg.MaxMappings == 0 || len(b.byExternal) < b.cfg.MaxMappings {
		return true
	}
	var oldest *mapping
	for external, m := range b.byExternal {
		if !b.live(now, m) {
			delete(b.byExternal, external)
			continue
		}
		if oldest == nil || m.used < oldest.used || m.used == oldest.used && m.serial < oldest.serial {
			oldest = m
		}
	}
	if len(b.byExternal) >= b.cfg.MaxMappings && b.cfg.EvictOldest {
		delete(b.byExternal, oldest.external)
	}
	return len(b.byExternal) < b.cfg.MaxMappings
}

// live reports whether a mapping, which may be nil, still stands.
func (b *NAT) live(now time.Duration, m *mapping) bool {
	return m != nil && b.byExternal[m.external] == m && now < m.expires &&
		(b.cfg.MaxAge == 0 || now-m.born < b.cfg.MaxAge)
}

// admits reports whether the filter lets a datagram in for which there is the
// state s, or nil.
func (b *NAT) admits(now time.Duration, s *state) bool {
	return b.cfg.Filtering == EndpointIndependent || s != nil && now < s.expires
}

// replied accounts for a datagram that has come in by a mapping.
func (b *NAT) replied(now time.Duration, m *mapping, s *state) {
	s.replied = true
	if b.cfg.InboundRefresh {
		b.refresh(now, m, s)
		return
	}
	b.extend(m, s) // the first one gives the whole lifetime since the last datagram out
}

func (b *NAT) refresh(now time.Duration, m *mapping, s *state) {
	s.refreshed, m.used = now, now
	b.extend(m, s)
}

func (b *NAT) extend(m *mapping, s *state) {
	life := b.cfg.Unreplied
	if s.replied {
		life = b.cfg.Lifetime
	}
	s.expires = s.refreshed + life
	if life < 0 {
		s.expires = math.MaxInt64
	}
	m.expires = max(m.expires, s.expires)
}
