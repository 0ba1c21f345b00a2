package reach

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Config sets up a client. It must not be changed after New.
type Config struct {
	// Self is the node's own peer ID.
	Self wire.PeerID
	// Servers are the rendezvous servers to stay registered with, at most
	// MaxServers.
	Servers []wire.Server
	// Known reports whether the node has an established session with a peer. It
	// must not call back into the client.
	Known func(wire.PeerID) bool
	// Direct reports whether a session with a peer has a direct path. It must not
	// call back into the client.
	Direct func(wire.PeerID) bool
	// Accepts reports whether the node wants to meet a peer that it has no session
	// with. It must not call back into the client.
	Accepts func(wire.PeerID) bool
	// Busy reports whether the node's sessions are in use: then servers are to be
	// watched closely, else the node keeps quiet. It must not call back into the
	// client.
	Busy func() bool
	// RelayOnly keeps the node's addresses from everybody but the servers.
	RelayOnly bool
	// Search lets the node take part in a search over all ports.
	Search bool
}

// Limits of what a client holds. What it may cost to meet peers is in budget.go.
const (
	MaxServers = 16 // Config.Servers and those added later
	MaxHosts   = 6  // host addresses told to servers, out of wire.MaxCandidates
	MaxSTUN    = 4  // STUN servers queried, beside the rendezvous servers

	maxOwn     = 64 // introductions the application waits for
	maxInvited = 8  // introductions that servers began
	maxRetries = 64 // introductions of relayed sessions that are tried again
	maxLinks   = 65536
)

// A Client is the reach of one node. Its methods must not be called
// concurrently. After each method that takes the time, drain Next.
type Client struct {
	cfg     Config
	rand    *rand.ChaCha8
	now     clock.Time // of the last input
	actions []Action
	first   int // of actions, not yet returned by Next

	servers       []server
	introductions []*introduction // in the order in which they began
	budget        budget
	links         linkTable
	hosts         []Host
	mapped        netip.AddrPort // granted by a gateway; invalid if none is
	stun          []stunServer
	seen          []sighting

	sockets     uint32 // the number of the newest one
	queries     []*query
	samplings   []*sampling
	survey      *survey    // of the present network; nil if there was none yet
	surveyAfter clock.Time // when the next one may begin
	tests       []*lifetimeTest
	lifetimes   map[network]Lifetime
	log         logbook
}

// A Host is an address of one of the node's own interfaces.
type Host struct {
	Addr   netip.AddrPort // where the node's socket is reachable on the interface
	OnLink netip.Prefix   // which addresses share the link; the zero Prefix if unknown
}

// New returns a client that behaves the same for the same inputs and seed. The
// first HandleTimeout makes it dial its servers.
func New(cfg Config, seed [32]byte) *Client {
	c := &Client{cfg: cfg, rand: rand.NewChaCha8(seed), lifetimes: make(map[network]Lifetime)}
	c.links.init(maxLinks)
	for _, s := range cfg.Servers[:min(len(cfg.Servers), MaxServers)] {
		c.servers = append(c.servers, server{Server: s})
	}
	return c
}

// Next returns the next action, or false if there is none for now.
func (c *Client) Next() (Action, bool) {
	if c.first == len(c.actions) {
		clear(c.actions)
		c.actions, c.first = c.actions[:0], 0
		return Action{}, false
	}
	a := c.actions[c.first]
	c.first++
	return a, true
}

// Deadline returns when HandleTimeout is due next, or clock.Never.
func (c *Client) Deadline() clock.Time {
	d := c.survey.deadline()
	for i := range c.servers {
		d = min(d, c.servers[i].deadline())
	}
	for i := range c.stun {
		d = min(d, c.stun[i].at)
	}
	for _, in := range c.introductions {
		d = min(d, in.deadline())
	}
	for _, q := range c.queries {
		d = min(d, q.at)
	}
	for _, sp := range c.samplings {
		d = min(d, sp.next)
	}
	for _, t := range c.tests {
		d = min(d, t.at)
	}
	return d
}

// HandleTimeout does what is due by now.
func (c *Client) HandleTimeout(now clock.Time) {
	c.now = now
	for i := range c.servers {
		c.timeoutServer(i)
	}
	for i := range c.stun {
		c.timeoutSTUN(&c.stun[i])
	}
	c.timeoutQueries()
	c.timeoutSamplings()
	c.timeoutSurvey()
	c.timeoutLifetime()
	c.timeoutIntroductions()
}

// SetHosts replaces the node's own interface addresses.
func (c *Client) SetHosts(now clock.Time, hosts []Host) {
	c.now = now
	c.hosts = append(c.hosts[:0], hosts...)
}

// SetMapped sets the address that a gateway maps to the node's socket; the zero
// AddrPort is none.
func (c *Client) SetMapped(now clock.Time, mapped netip.AddrPort) {
	c.now = now
	if news := mapped != c.mapped; news {
		c.mapped = mapped
		c.wakeResting()
	}
}

// Moved tells the client that the node's socket or network has changed: what is
// known of addresses is no longer true, and servers that were unreachable may be
// reachable now.
func (c *Client) Moved(now clock.Time) {
	c.now = now
	c.seen = nil
	c.budget.searched = nil
	c.forgetSurvey()
	for i := range c.servers {
		c.servers[i].observed = netip.AddrPort{}
		c.retryNow(i)
	}
	for i := range c.stun {
		c.stun[i].restart(now)
	}
	c.wakeResting()
}

// forgetSurvey ends what is being found out about a network that the node has
// left. What is on its way comes too late to mean anything.
func (c *Client) forgetSurvey() {
	if s := c.survey; s != nil && s.side != 0 && !s.findings.Done {
		c.closeSockets([]uint32{s.side})
	}
	c.survey, c.queries, c.samplings, c.surveyAfter = nil, nil, nil, c.now
	c.stopLifetime()
}

// Findings returns what is known of the NATs before the node.
func (c *Client) Findings() (f Findings) {
	if c.survey != nil {
		f = c.survey.findings
	}
	f.NAT, f.Lifetime = c.facts(), c.lifetime()
	return f
}

// facts returns what peers are told of the NATs before the node.
func (c *Client) facts() (n wire.NAT) {
	if c.survey != nil {
		n = c.survey.findings.NAT
	}
	if c.cfg.Search {
		n.Flags |= wire.NATSearch
	}
	if c.cfg.RelayOnly {
		n.Flags |= wire.NATRelayOnly
	}
	if c.noUDP() {
		n.Flags |= wire.NATNoUDP
	}
	if c.mapped.IsValid() {
		// Whatever the NAT does with other flows, anybody may come in by this port.
		n.Mapping, n.Filtering, n.Ports = wire.EndpointIndependent, wire.EndpointIndependent, wire.PortsUnknown
	}
	return n
}

// noUDP reports whether servers are reached, but none by UDP. Those that have not
// told yet where they see the node after a change of network are no proof of it.
func (c *Client) noUDP() bool {
	online := false
	for i := range c.servers {
		if s := &c.servers[i]; s.state == Online {
			if s.remote.IsValid() {
				return false
			}
			online = true
		}
	}
	return online
}

func (c *Client) act(a Action) { c.actions = append(c.actions, a) }

// candidates returns the node's own candidates in the order in which a peer
// should try them.
func (c *Client) candidates() (list wire.Candidates) {
	if c.mapped.IsValid() {
		list.Add(wire.Candidate{Kind: wire.CandidateMapped, Addr: c.mapped})
	}
	for i := range c.servers {
		list.Add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: c.servers[i].observed})
	}
	for _, a := range c.Reflexive() {
		list.Add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: a})
	}
	for _, h := range c.hosts[:min(len(c.hosts), MaxHosts)] {
		list.Add(wire.Candidate{Kind: wire.CandidateHost, Addr: h.Addr})
	}
	return list
}

func (c *Client) newUUID() uuid.UUID {
	var id uuid.UUID
	c.rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// jitter returns d, up to a fifth longer or shorter.
func (c *Client) jitter(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(c.rand.Uint64()%uint64(d*2/5+1))
}
