package reach

import (
	"net/netip"
	"slices"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// A Lifetime is how long the NATs before a node keep a mapping that nothing uses,
// as far as it was measured.
type Lifetime struct {
	AtLeast time.Duration // a mapping was alive after so long; 0 if none was seen
	Below   time.Duration // a mapping was gone after so long; 0 if none was seen
	Done    bool
}

// lifetimeSteps is after which silence a mapping is looked at. Each has a mapping
// of its own, so that all are measured at once and the live ones run no risk.
var lifetimeSteps = [...]time.Duration{
	20 * time.Second, 35 * time.Second, 65 * time.Second, 125 * time.Second, 185 * time.Second,
}

// Keepalive times. Between measurements none is longer than lifetimeUnknown.
const (
	keepAliveMin     = 10 * time.Second
	keepAliveMax     = 55 * time.Second
	keepAliveDefault = 15 * time.Second
)

// KeepAlive returns how long the node's mappings may be left alone: six tenths of
// what they were seen to last.
func (c *Client) KeepAlive() time.Duration {
	l := c.lifetime()
	switch {
	case c.isPublic():
		return keepAliveMax
	case l.AtLeast == 0 && l.Below == 0:
		return keepAliveDefault
	}
	return min(max(l.AtLeast*6/10, keepAliveMin), keepAliveMax)
}

func (c *Client) isPublic() bool {
	s := c.survey
	return s != nil && s.findings.Done && s.findings.Public == Yes && ignoresPorts(s.findings.NAT.Filtering)
}

// A network is what lifetimes are remembered by.
type network struct {
	public netip.Addr   // address that servers see
	link   netip.Prefix // of the host address used
}

const networksKept = 32

func (c *Client) network() network {
	n := network{}
	if s := c.survey; s != nil {
		n.public = c.observed(s)
	}
	if len(c.hosts) > 0 {
		n.link = c.hosts[0].OnLink
	}
	return n
}

func (c *Client) lifetime() Lifetime { return c.lifetimes[c.network()] }

func (c *Client) setLifetime(n network, l Lifetime) {
	if _, known := c.lifetimes[n]; !known && len(c.lifetimes) >= networksKept {
		clear(c.lifetimes)
	}
	c.lifetimes[n] = l
}

// A lifetimeTest is a mapping that is left alone until at.
type lifetimeTest struct {
	survey *survey
	net    network
	after  time.Duration
	at     clock.Time
	link   uint32
	knocks uint32 // the other socket; 0 before at
	mapped netip.AddrPort
}

// testsMax bounds the mappings that are left alone at one time.
const testsMax = 16

// measureLifetime leaves some mappings alone, unless this network's are known.
func (c *Client) measureLifetime(s *survey) {
	if s.findings.Public != Yes && !c.lifetime().Done {
		c.measure(s, lifetimeSteps[:])
	}
}

// MeasureLifetime looks at mappings after the given silences, beside those that
// are looked at anyway. It does nothing before a survey is done.
func (c *Client) MeasureLifetime(now clock.Time, after ...time.Duration) {
	c.now = now
	if s := c.survey; s != nil && s.findings.Done && s.findings.Public != Yes {
		c.measure(s, after)
	}
}

func (c *Client) measure(s *survey, steps []time.Duration) {
	for _, after := range steps[:min(len(steps), testsMax-len(c.tests))] {
		t := &lifetimeTest{survey: s, net: c.network(), after: after, at: clock.Never, link: c.openSocket()}
		c.tests = append(c.tests, t)
		c.ask(query{link: t.link, to: s.port(0), done: func(mapped netip.AddrPort, ok bool) {
			if !ok {
				c.endTest(t)
				return
			}
			t.mapped, t.at = mapped, c.now.Add(after)
		}})
	}
}

// stopLifetime ends what is being measured, since the network has changed.
func (c *Client) stopLifetime() {
	for _, t := range slices.Clone(c.tests) {
		c.endTest(t)
	}
}

func (c *Client) endTest(t *lifetimeTest) {
	c.tests = slices.DeleteFunc(c.tests, func(x *lifetimeTest) bool { return x == t })
	c.closeSockets([]uint32{t.link})
	if t.knocks != 0 {
		c.closeSockets([]uint32{t.knocks})
	}
}

func (c *Client) timeoutLifetime() {
	for _, t := range slices.Clone(c.tests) {
		if t.at <= c.now {
			t.at = clock.Never
			c.knock(t)
		}
	}
}

// knock asks the server, from another socket, to send to the mapping (RFC 5780
// §4.6).
func (c *Client) knock(t *lifetimeTest) {
	t.knocks = c.openSocket()
	c.ask(query{link: t.knocks, to: t.survey.port(0), port: t.mapped.Port(), via: t.link, done: func(_ netip.AddrPort, ok bool) {
		c.endTest(t)
		c.lifetimeSeen(t, ok)
	}})
}

func (c *Client) lifetimeSeen(t *lifetimeTest, alive bool) {
	l := c.lifetimes[t.net]
	if alive {
		l.AtLeast = max(l.AtLeast, t.after)
	} else if l.Below == 0 || t.after < l.Below {
		l.Below = t.after
	}
	if l.Below != 0 && l.AtLeast >= l.Below {
		l.AtLeast = 0 // contradictory: the network drops more than its mappings
	}
	l.Done = l.Done || t.after == lifetimeSteps[len(lifetimeSteps)-1]
	c.setLifetime(t.net, l)
	c.act(Action{Kind: Surveyed})
}
