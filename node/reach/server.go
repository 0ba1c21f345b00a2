package reach

import (
	"errors"
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Timing of the sessions with servers. A server that comes back is to know us
// again within 5 s: so a dial ends after ServerDialTimeout, the next one begins
// at most redialSoon later, and a live session is used at least every
// refreshMax, since a restarted server tells us only when we speak to it. After
// redialPatience without the server, redials get rarer.
const (
	// ServerDialTimeout is how long the node should wait for a server to answer
	// a DialServer action.
	ServerDialTimeout = 3 * time.Second

	redialMin      = 250 * time.Millisecond
	redialSoon     = 2 * time.Second
	redialMax      = 30 * time.Second
	redialPatience = 10 * time.Minute

	refreshMin     = 2 * time.Second
	refreshMax     = 25 * time.Second
	refreshDefault = 3 * time.Second
	idleCheck      = 5 * time.Second // how often a node that keeps quiet looks whether it still should
	drainMax       = 30 * time.Second

	// Two nodes with one key put each other off the server. Whoever loses waits
	// this long, so that they do not take turns for ever.
	replacedWait = 60 * time.Second
)

// Codes with which a rendezvous server closes a session.
const (
	CodeReplaced     uint64 = 1 + iota // the key registered again in a newer session
	CodeBusy                           // the server holds as many sessions as it may, in all or from this network
	CodeUnregistered                   // no REGISTER came
)

// A ServerState is how far the node has come with a rendezvous server.
type ServerState uint8

// Server states.
//
//	          at once             ServerUp              REGISTERED
//	Waiting ----------> Dialing ------------> Connected -----------> Online
//	   ^   after backoff   |                      |                    |
//	   +-------------------+----------------------+--------------------+
//	                            ServerDown
const (
	Waiting ServerState = iota
	Dialing
	Connected
	Online
)

// String returns the state in lower case.
func (s ServerState) String() string {
	return [...]string{"waiting", "dialing", "connected", "online"}[s]
}

// A ServerStatus is a snapshot of one server for people and programs.
type ServerStatus struct {
	Server   wire.Server
	State    ServerState
	RTT      time.Duration
	Observed netip.AddrPort // where the server sees the node
	Err      error          // why the latest session or dial failed; nil once there is a session
}

type server struct {
	wire.Server
	state     ServerState
	temporary bool // added for one dial: not kept for its own sake

	remote   netip.AddrPort
	rtt      time.Duration
	observed netip.AddrPort // invalid if the server is not reached by UDP
	stunPort uint16
	probes   int   // ports after stunPort that answer too
	err      error // why the latest session or dial failed; nil once there is a session

	redialAt  clock.Time // while Waiting
	tries     int        // failed dials since the last session
	lostAt    clock.Time // when the last session ended; the start of the client if none did
	refreshAt clock.Time // while Connected or Online: when to REGISTER again
	drainedAt clock.Time // when the server said it would be back; zero if it said nothing
}

func (s *server) deadline() clock.Time {
	switch s.state {
	case Waiting:
		return s.redialAt
	case Connected, Online:
		return s.refreshAt
	}
	return clock.Never
}

// Servers returns the number of servers. They are numbered from 0.
func (c *Client) Servers() int { return len(c.servers) }

// Server returns the status of a server.
func (c *Client) Server(i int) ServerStatus {
	s := &c.servers[i]
	return ServerStatus{Server: s.Server, State: s.state, RTT: s.rtt, Observed: s.observed, Err: s.err}
}

// AddServer makes the client use a server for as long as introductions need it,
// and returns its number.
func (c *Client) AddServer(now clock.Time, s wire.Server) (int, error) {
	c.now = now
	free := -1
	for i := range c.servers {
		if c.servers[i].Server == s {
			c.retryNow(i)
			return i, nil
		}
		if c.unused(i) {
			free = i
		}
	}
	if len(c.servers) < MaxServers {
		free = len(c.servers)
		c.servers = append(c.servers, server{})
	}
	if free < 0 {
		return 0, ErrLimit
	}
	c.links.forgetServer(free)
	c.servers[free] = server{Server: s, temporary: true, redialAt: now, lostAt: now}
	c.timeoutServer(free)
	return free, nil
}

// unused reports whether a server was temporary and has served its purpose.
func (c *Client) unused(i int) bool {
	return c.servers[i].temporary && c.servers[i].redialAt == clock.Never
}

// ServerUp reports that the session with a server is established. remote is the
// server's address, zero if there is none.
func (c *Client) ServerUp(now clock.Time, i int, remote netip.AddrPort, rtt time.Duration) {
	c.now = now
	s := &c.servers[i]
	s.state, s.remote, s.rtt, s.err = Connected, remote, rtt, nil
	s.redialAt, s.drainedAt = 0, 0
	c.register(i)
}

// ServerAt tells where the server is reached now: zero if no longer by UDP. It
// tells by itself where it sees the node then.
func (c *Client) ServerAt(now clock.Time, i int, remote netip.AddrPort) {
	c.now = now
	without := c.noUDP()
	c.servers[i].remote = remote
	if without && !c.noUDP() {
		c.wakeResting() // what failed did so for want of UDP
	}
}

// ServerRTT updates the round-trip time to a server. Introductions are asked of
// the nearest one first.
func (c *Client) ServerRTT(i int, rtt time.Duration) { c.servers[i].rtt = rtt }

// ServerDown reports that the session with a server ended or could not be
// established, and why.
func (c *Client) ServerDown(now clock.Time, i int, err error) {
	c.now = now
	s := &c.servers[i]
	if s.state == Waiting {
		return
	}
	wasUp := s.state != Dialing
	s.state, s.observed, s.err = Waiting, netip.AddrPort{}, err
	if wasUp {
		s.tries, s.lostAt = 0, now
	}
	s.redialAt = max(now.Add(c.backoff(s)), s.drainedAt)
	if replaced(err) {
		s.redialAt = now.Add(c.jitter(replacedWait))
	}
	s.tries++
	c.dropSTUNOf(i)
	if s.temporary && !c.awaited() {
		s.redialAt = clock.Never
	}
	c.introductionsServerDown(i)
}

// replaced reports whether a session ended because another took its place.
func replaced(err error) bool {
	var closed *session.CloseError
	return errors.As(err, &closed) && closed.Remote && closed.Code == CodeReplaced
}

func (c *Client) backoff(s *server) time.Duration {
	limit := redialSoon
	if c.now.Sub(s.lostAt) > redialPatience {
		limit = redialMax
	}
	return c.jitter(min(redialMin<<min(s.tries, 10), limit*5/6))
}

// retryNow ends the wait for a redial.
func (c *Client) retryNow(i int) {
	if s := &c.servers[i]; s.state == Waiting {
		s.redialAt, s.tries = c.now, 0
	}
}

func (c *Client) timeoutServer(i int) {
	s := &c.servers[i]
	switch {
	case s.deadline() > c.now:
	case s.state == Waiting:
		s.state = Dialing
		c.act(Action{Kind: DialServer, Server: i})
	default:
		c.refresh(i)
	}
}

// register sends REGISTER. Repeated, it keeps the session in use.
func (c *Client) register(i int) {
	s := &c.servers[i]
	if s.refreshAt <= c.now {
		s.refreshAt = c.now.Add(c.jitter(refreshDefault))
	}
	c.act(Action{Kind: SendControl, Server: i, Data: (&wire.Register{}).Append(nil)})
}

// refresh registers again if the node is in use, so that a server which has been
// restarted hears of it soon. A quiet node leaves it to the keepalive of the
// session to find out.
func (c *Client) refresh(i int) {
	if s := &c.servers[i]; s.state == Online && !c.cfg.Busy() {
		s.refreshAt = c.now.Add(idleCheck)
		return
	}
	c.register(i)
}

// HandleControl takes a message that a server sent on wire.ChannelControl. What
// is malformed or out of place is dropped.
func (c *Client) HandleControl(now clock.Time, i int, msg []byte) {
	c.now = now
	var m wire.Rendezvous
	if wire.ParseRendezvous(msg, &m) != nil || c.servers[i].state < Connected {
		return
	}
	switch m.Type {
	case wire.RendezvousRegistered:
		c.handleRegistered(i, &m.Registered)
	case wire.RendezvousInvite:
		c.handleInvite(i, &m.Invite)
	case wire.RendezvousPunch:
		c.handlePunch(i, &m.Punch)
	case wire.RendezvousRefused:
		c.handleRefused(i, &m.Refused)
	case wire.RendezvousDrain:
		wait := min(time.Duration(m.Drain.ReconnectIn)*time.Millisecond, drainMax)
		c.servers[i].drainedAt = now.Add(wait)
	}
	// GONE needs no case: a session notices by itself that a relay link is
	// silent, and it knows better whether it has other paths.
}

func (c *Client) handleRegistered(i int, m *wire.Registered) {
	s := &c.servers[i]
	refresh := refreshDefault
	if m.KeepAlive != 0 {
		refresh = min(max(time.Duration(m.KeepAlive)*time.Millisecond, refreshMin), refreshMax)
	}
	s.refreshAt = c.now.Add(c.jitter(refresh))
	s.observed, s.stunPort, s.probes = netip.AddrPort{}, m.STUNPort, int(m.Probes)
	if s.remote.IsValid() && plausibleReflexive(m.Observed, s.remote) { // else it is where TCP comes from
		s.observed = m.Observed
		c.sighted(m.Observed)
	}
	if m.STUNPort != 0 && s.remote.IsValid() {
		c.setSTUNOf(i, netip.AddrPortFrom(s.remote.Addr(), m.STUNPort))
	}
	c.maybeSurvey(i)
	if s.state == Connected {
		s.state = Online
		c.act(Action{Kind: Registered, Server: i})
		c.introductionsServerOnline()
	}
}
