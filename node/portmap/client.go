package portmap

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Config sets up a client. It must not be changed after Start.
type Config struct {
	// Port is the UDP port of this machine that the gateway is to map.
	Port uint16
	// OnChange is called with each new status, a renewed lease too, one call at a
	// time and without locks; of several changes in a row, only the last one may
	// be told. It must not call Close. If nil, there is Client.Status.
	OnChange func(Status)
	// Gateway looks up the gateway. If nil, DefaultGateway.
	Gateway func() (Gateway, error)

	ssdp      []netip.AddrPort         // where to look for UPnP. If nil, the group and the gateway.
	protocols func(Gateway) []protocol // If nil, all.
}

// Times of a search and of what follows.
const (
	searchGrace   = 150 * time.Millisecond // for better protocols, once a worse one has answered
	searchDecided = 250 * time.Millisecond // when nothing granted counts as nothing, for the time being
	searchMax     = time.Second

	renewMin     = 30 * time.Second
	renewMax     = 24 * time.Hour
	checkPeriod  = 10 * time.Minute // of looking whether the gateway has restarted
	restartCheck = 30 * time.Second // after a restart: its external address may come late

	closeMax   = 500 * time.Millisecond
	releaseMax = 200 * time.Millisecond // of that; a call of the NAT-PMP library may have to end before
)

// rests are the pauses after the first, second and later searches in vain.
var rests = []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute}

// ErrNotReleased reports that a gateway did not confirm the end of the mapping.
// It ends with its lease.
var ErrNotReleased = errors.New("portmap: the gateway did not confirm that the mapping is deleted")

// A Client keeps one port mapped. Its methods may be called concurrently.
type Client struct {
	cfg  Config
	root context.Context
	stop context.CancelFunc
	done chan struct{} // closed when the goroutines have ended

	mu      sync.Mutex
	status  Status
	forget  context.CancelFunc // ends what is known of the present network
	changed chan struct{}      // capacity 1: the status has changed
	failed  error              // of Close

	// Of the goroutine of run.
	gateway   Gateway
	protocols []protocol     // of gateway
	asked     protocol       // what may have made a mapping, or nil
	granted   grant          // what it said, or zero
	wish      netip.AddrPort // the last external address of this gateway
}

// Start begins to look for a gateway and to keep the port mapped. It returns at
// once.
func Start(cfg Config) *Client {
	if cfg.Gateway == nil {
		cfg.Gateway = DefaultGateway
	}
	if cfg.protocols == nil {
		cfg.protocols = func(g Gateway) []protocol { return protocolsOf(g, cfg.Port, cfg.ssdp) }
	}
	c := &Client{cfg: cfg, done: make(chan struct{}), changed: make(chan struct{}, 1)}
	c.root, c.stop = context.WithCancel(context.Background())
	network := c.enterNetwork()
	var running sync.WaitGroup
	running.Go(func() { c.run(network) })
	running.Go(c.tell)
	go func() { running.Wait(); close(c.done) }()
	return c
}

// Status returns what is known of the mapping.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Moved tells that the network has changed: what is known of gateway and mapping
// is forgotten, and searched anew.
func (c *Client) Moved() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	c.setStatus(Status{})
}

// Close ends the client and deletes the mapping. It returns within 500 ms,
// whatever the gateway does.
func (c *Client) Close() error {
	c.stop()
	c.Moved()
	t := time.NewTimer(closeMax)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
		return ErrNotReleased
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// run works for one network after the other.
func (c *Client) run(network context.Context) {
	for c.root.Err() == nil {
		c.live(network)
		network = c.enterNetwork()
	}
	c.release()
}

// enterNetwork returns a context that ends with Moved.
func (c *Client) enterNetwork() context.Context {
	network, forget := context.WithCancel(c.root)
	c.mu.Lock()
	c.forget = forget
	c.mu.Unlock()
	return network
}

// live searches, and holds what was found, until the network changes.
func (c *Client) live(network context.Context) {
	for failures := 0; network.Err() == nil; {
		if p := c.search(network); p != nil {
			failures = 0
			c.hold(network, p)
			continue
		}
		pause(network, rests[min(failures, len(rests)-1)])
		failures++
	}
}

// hold renews a mapping until it is lost.
func (c *Client) hold(network context.Context, p protocol) {
	t := timesOf(c.granted)
	for pause(network, time.Until(t.next())) {
		if !c.upkeep(network, p, &t) {
			return
		}
	}
}

// upkeep checks or renews the mapping, and reports whether it still stands.
func (c *Client) upkeep(network context.Context, p protocol, t *times) bool {
	ctx, cancel := context.WithTimeout(network, searchMax)
	defer cancel()
	lost := false
	if time.Now().Before(t.renew) {
		t.check = time.Now().Add(checkPeriod)
		if lost = p.lost(ctx, c.granted); !lost {
			return true
		}
	}
	g, err := p.request(ctx, c.granted.external)
	switch left := time.Until(t.expire); {
	case err == nil:
		*t = timesOf(g)
		if lost || g.restarted {
			t.check = time.Now().Add(restartCheck)
		}
		c.grant(network, p, g, c.Status().Answered)
		return true
	case err == errSilent && !lost && left > 0:
		// RFC 6887 §11.2.1: again after half of what is left.
		t.renew = time.Now().Add(max(left/2, renewMin))
		return true
	}
	return false
}

// times are those of a mapping that is held.
type times struct{ check, renew, expire time.Time }

func (t *times) next() time.Time {
	if t.check.Before(t.renew) {
		return t.check
	}
	return t.renew
}

func timesOf(g grant) times {
	now := time.Now()
	lease := g.lease
	if lease == 0 {
		lease = leaseWanted // the permanent ones go by the clock of the others
	}
	renew := min(max(lease/2, renewMin), renewMax)
	return times{check: now.Add(checkPeriod), renew: now.Add(renew), expire: now.Add(lease)}
}

// grant takes and tells what a gateway granted.
func (c *Client) grant(network context.Context, p protocol, g grant, answered []string) {
	c.granted, c.wish = g, g.external
	s := Status{
		Searched: true, Protocol: p.name(), External: g.external, Answered: answered,
		DoubleNAT: isInside(g.external.Addr()), Lease: g.lease,
	}
	if g.lease > 0 {
		s.Expires = time.Now().Add(g.lease)
	}
	c.publish(network, s)
}

// release deletes the mapping, also one that was asked for and never granted: the
// answer may have been on its way.
func (c *Client) release() {
	if c.asked == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseMax)
	defer cancel()
	if err := c.asked.release(ctx, c.granted); err != nil && c.granted.external.IsValid() {
		c.mu.Lock()
		c.failed = errors.Join(ErrNotReleased, err)
		c.mu.Unlock()
	}
}

// publish sets the status, unless it is of a network that has been left.
func (c *Client) publish(network context.Context, s Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if network.Err() == nil {
		c.setStatus(s)
	}
}

// setStatus has a status told if there is something new in it. The caller holds
// the lock.
func (c *Client) setStatus(s Status) {
	if c.status.equal(&s) {
		return
	}
	c.status = s
	select {
	case c.changed <- struct{}{}:
	default: // it will be told with the change before
	}
}

// tell calls OnChange.
func (c *Client) tell() {
	for {
		select {
		case <-c.root.Done():
			return
		case <-c.changed:
			if c.cfg.OnChange != nil && c.root.Err() == nil {
				c.cfg.OnChange(c.Status())
			}
		}
	}
}

// pause waits and reports whether the context has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
