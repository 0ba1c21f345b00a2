package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v4"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A Verdict is the answer to a question about the network.
type Verdict uint8

// Verdicts.
const (
	Unknown Verdict = iota
	No
	Yes
)

// String returns "unknown", "no" or "yes".
func (v Verdict) String() string { return [...]string{"unknown", "no", "yes"}[v] }

// MarshalText implements [encoding.TextMarshaler].
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

func verdict(yes bool) Verdict {
	if yes {
		return Yes
	}
	return No
}

// Findings are what a survey found out about the NATs before the node.
type Findings struct {
	NAT      wire.NAT
	Done     bool    // the survey is over; until then some of it may be unknown
	Public   Verdict // the node's own address is the one that servers see
	Hairpin  Verdict // hosts behind the NAT reach each other by its external addresses
	Lifetime Lifetime
}

// A survey finds out what the NATs before the node do (RFC 5780), with the probe
// ports of one rendezvous server. Ports are given roles, so that no test spoils
// another: an unsolicited datagram can change what Linux NATs do with the tuple
// it came by, and with all flows begun after that.
//
//	main socket ---> 0, 1        mapping: one port for both?
//	main socket ---> 2           to be answered by the last: does the filter look at ports?
//	side socket ---> 0           then from the last, unasked, and then
//	side socket ---> last        still the same mapping? else poison-prone
//	main socket ---> side's      hairpin
//	side socket ---> 0, 1, 2 ... if the mapping depends on the port: how ports follow each other
//
// The last port never hears from the main socket.
type survey struct {
	server   int
	base     netip.AddrPort // of the server's probe port 0
	probes   int
	findings Findings
	open     int // tests under way
	side     uint32
	hairpin  [stun.TransactionIDSize]byte // of the datagram that is to turn; zero if none
	hairpins clock.Time                   // when its absence says no; Never if not waiting
	poison   clock.Time                   // when to look at the flow that may be poisoned; Never
	poisonAt netip.AddrPort               // the side socket's mapping before
}

// Timing of a survey.
const (
	surveyProbesMin = 4                      // probe ports that a server must have
	surveyInterval  = 5 * time.Minute        // between surveys that nobody answers
	poisonWait      = 250 * time.Millisecond // for the unsolicited datagram to have reached the NAT
	hairpinWait     = 500 * time.Millisecond
	sampleGap       = 4 * time.Millisecond // between samples of a port allocation, so that they stay in order
	samplesMax      = 7
)

// maybeSurvey begins a survey with server i if there was none since the network
// changed, or none that was answered.
func (c *Client) maybeSurvey(i int) {
	s := &c.servers[i]
	if c.survey != nil && !c.survey.unanswered() || s.probes < surveyProbesMin || !s.observed.IsValid() || c.now < c.surveyAfter {
		return
	}
	c.surveyAfter = c.now.Add(surveyInterval)
	c.survey = &survey{
		server: i, base: netip.AddrPortFrom(s.remote.Addr(), s.stunPort+1), probes: s.probes,
		hairpins: clock.Never, poison: clock.Never,
	}
	if own := c.isHost(s.observed); own || !s.observed.Addr().IsLoopback() {
		c.survey.findings.Public = verdict(own) // else the server is on this machine, before any NAT
	}
	c.surveyMapping(s.observed)
	c.surveyFiltering()
}

// unanswered reports whether a survey is over and has found out nothing: loss, or
// a firewall before the probe ports that may be opened.
func (s *survey) unanswered() bool {
	return s.findings.Done && s.findings.NAT.Mapping == wire.BehaviorUnknown
}

func (c *Client) isHost(a netip.AddrPort) bool {
	return slices.ContainsFunc(c.hosts, func(h Host) bool { return h.Addr.Addr() == a.Addr() })
}

// port returns the address of a probe port.
func (s *survey) port(k int) netip.AddrPort {
	return netip.AddrPortFrom(s.base.Addr(), s.base.Port()+uint16(k))
}

func (s *survey) last() netip.AddrPort { return s.port(s.probes - 1) }

// test begins a query of the survey.
func (c *Client) test(q query, done func(mapped netip.AddrPort, ok bool)) {
	s := c.survey
	s.open++
	q.done = func(mapped netip.AddrPort, ok bool) {
		s.open--
		done(mapped, ok)
		c.surveyOver(s)
	}
	c.ask(q)
}

// surveyOver notes the end of a survey: nothing is under way any more.
func (c *Client) surveyOver(s *survey) {
	if s.open > 0 || s.findings.Done || s.hairpins != clock.Never || s.poison != clock.Never {
		return
	}
	s.findings.Done = true
	if s.unanswered() {
		s.findings.NAT.Filtering = wire.BehaviorUnknown // silence was not the filter's
	}
	if s.side != 0 {
		c.closeSockets([]uint32{s.side})
	}
	c.act(Action{Kind: Surveyed})
	c.measureLifetime(s)
}

func (c *Client) surveyMapping(observed netip.AddrPort) {
	seen := []netip.AddrPort{observed}
	for k := range 2 {
		c.test(query{to: c.survey.port(k)}, func(mapped netip.AddrPort, ok bool) {
			if ok {
				seen = append(seen, mapped)
			}
			if len(seen) == 3 {
				c.mappingFound(seen)
			}
		})
	}
}

func (c *Client) mappingFound(seen []netip.AddrPort) {
	s := c.survey
	nat := &s.findings.NAT
	if seen[0] == seen[1] && seen[1] == seen[2] {
		nat.Mapping = wire.EndpointIndependent
		if s.findings.Public == No {
			c.surveyPoison()
		}
		return
	}
	nat.Mapping, nat.Ports = wire.AddressAndPortDependent, wire.PortsRandom
	c.surveyPorts()
}

func (c *Client) surveyFiltering() {
	c.test(query{to: c.survey.port(2), change: true}, func(_ netip.AddrPort, ok bool) {
		nat := &c.survey.findings.NAT
		nat.Filtering = wire.AddressAndPortDependent
		if ok {
			nat.Filtering = wire.AddressDependent // one address cannot tell what the filter makes of another
		}
	})
}

// surveyPoison lets the last probe port send to a fresh mapping, unasked, and
// then looks whether that cost a flow to it its port.
func (c *Client) surveyPoison() {
	s := c.survey
	s.side = c.openSocket()
	c.test(query{link: s.side, to: s.port(0)}, func(mapped netip.AddrPort, ok bool) {
		if !ok {
			return
		}
		s.poisonAt, s.poison = mapped, c.now.Add(poisonWait)
		c.act(Action{Kind: SendSTUN, Link: s.side, Addr: s.port(0), Data: probeRequest(c.newTransaction(), true, 0)})
		c.surveyHairpin(mapped)
	})
}

// surveyHairpin sends to where the server sees the node, if that can be so: it
// might name a service of somebody else.
func (c *Client) surveyHairpin(mapped netip.AddrPort) {
	s := c.survey
	if mapped.Addr() != c.observed(s) || slices.Contains(forbiddenPorts, mapped.Port()) {
		return
	}
	s.hairpin, s.hairpins = c.newTransaction(), c.now.Add(hairpinWait)
	c.act(Action{Kind: SendSTUN, Addr: mapped, Data: probeRequest(s.hairpin, false, 0)})
}

func (c *Client) newTransaction() (id [stun.TransactionIDSize]byte) {
	c.rand.Read(id[:]) // never fails
	return id
}

// hairpinned takes a binding request that may be the survey's own.
func (c *Client) hairpinned(link uint32, b []byte) {
	s := c.survey
	if s == nil || s.hairpins == clock.Never || link != s.side || !isRequest(b, s.hairpin) {
		return
	}
	s.hairpins, s.findings.Hairpin = clock.Never, Yes
	c.surveyOver(s)
}

func (c *Client) timeoutSurvey() {
	s := c.survey
	if s == nil {
		return
	}
	if s.hairpins <= c.now {
		s.hairpins, s.findings.Hairpin = clock.Never, No
		c.surveyOver(s)
	}
	if s.poison <= c.now {
		s.poison = clock.Never
		c.test(query{link: s.side, to: s.last()}, func(mapped netip.AddrPort, ok bool) {
			if ok && mapped != s.poisonAt {
				s.findings.NAT.Flags |= wire.NATPoisonProne
			}
		})
	}
}

// deadline may be called on nil.
func (s *survey) deadline() clock.Time {
	if s == nil {
		return clock.Never
	}
	return min(s.hairpins, s.poison)
}

// surveyPorts finds out how the NAT picks ports, with a socket that it has not
// seen before.
func (c *Client) surveyPorts() {
	s := c.survey
	s.side = c.openSocket()
	s.open++
	c.samplePorts(s, s.side, min(samplesMax, s.probes), func(ports []uint16) {
		s.open--
		describePorts(&s.findings.NAT, ports)
		c.surveyOver(s)
	})
}

// samplePorts asks n probe ports, one after the other, at which external port
// they see the socket. done gets those in the order of asking.
func (c *Client) samplePorts(s *survey, link uint32, n int, done func(ports []uint16)) {
	sample := &sampling{link: link, survey: s, left: n, next: c.now, ports: make([]uint16, n), done: done}
	c.samplings = append(c.samplings, sample)
	c.timeoutSamplings()
}

// A sampling is a row of queries that are sent a little apart.
type sampling struct {
	link   uint32
	survey *survey
	asked  int
	left   int // that have not been answered
	next   clock.Time
	ports  []uint16
	done   func(ports []uint16)
}

func (c *Client) timeoutSamplings() {
	for _, sp := range slices.Clone(c.samplings) {
		for sp.next <= c.now {
			c.sample(sp)
		}
	}
}

func (c *Client) sample(sp *sampling) {
	k := sp.asked
	sp.asked++
	sp.next = c.now.Add(sampleGap)
	if sp.asked == len(sp.ports) {
		sp.next = clock.Never
		c.samplings = slices.DeleteFunc(c.samplings, func(x *sampling) bool { return x == sp })
	}
	c.ask(query{link: sp.link, to: sp.survey.port(k), done: func(mapped netip.AddrPort, ok bool) {
		if ok {
			sp.ports[k] = mapped.Port()
		}
		if sp.left--; sp.left == 0 {
			sp.done(slices.DeleteFunc(sp.ports, func(p uint16) bool { return p == 0 }))
		}
	}})
}

const (
	stepMax  = 1024 // beyond it, ports that follow each other do not
	blockMax = 4096 // beyond it, a block is no help
	skipsMax = 4    // ports that others may have taken between two of ours
	manySeen = 5    // samples from which a block can be told from chance
)

// describePorts notes in nat how the ports were picked, in the order in which
// they were.
func describePorts(nat *wire.NAT, ports []uint16) {
	if step, ok := stepOf(ports); ok {
		nat.Ports, nat.Base, nat.Step = wire.PortsSequential, ports[len(ports)-1], step
		return
	}
	nat.Ports = wire.PortsRandom
	if len(ports) < manySeen {
		return
	}
	low, high := slices.Min(ports), slices.Max(ports)
	spread := int(high) - int(low)
	// The samples are unlikely to have met both ends of the block.
	margin := spread/3 + 1
	if spread > 0 && spread <= blockMax && low >= firstUserPort {
		nat.Ports = wire.PortsBlock
		nat.Low = uint16(max(int(low)-margin, firstUserPort))
		nat.High = uint16(min(int(high)+margin, 65535))
	}
}

// stepOf returns the distance between ports that follow each other: all have the
// same sign, and each is the smallest of them or a few times that.
func stepOf(ports []uint16) (step int16, ok bool) {
	if len(ports) < 3 {
		return 0, false
	}
	for k := 1; k < len(ports); k++ {
		d := int16(ports[k] - ports[k-1])
		if d == 0 || step != 0 && (d > 0) != (step > 0) {
			return 0, false
		}
		if step == 0 || abs(d) < abs(step) {
			step = d
		}
	}
	for k := 1; k < len(ports); k++ {
		d := int16(ports[k] - ports[k-1])
		if d%step != 0 || d/step > skipsMax {
			return 0, false
		}
	}
	return step, abs(step) <= stepMax
}

func abs(d int16) int { return max(int(d), -int(d)) }
