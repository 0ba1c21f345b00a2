package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-reuseport"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
)

// DatagramMax is the size of the largest datagram that is handed on.
const DatagramMax = 256

// What is handed on at most, from one source and from all. The latter is what a
// link full of dialling nodes may cost; a handshake is tried a few times only.
var (
	sourceRate = limit.Rate{PerSecond: 10, Burst: 20}
	totalRate  = limit.Rate{PerSecond: 200, Burst: 100}
)

// sourcesMax is how many sources are told apart.
const sourcesMax = 256

// A Config says what to do with datagrams.
type Config struct {
	// Handle is called with each datagram and where its answer goes, by one
	// goroutine at a time; b is valid until it returns. The zone of a link-local
	// address is that of its interface. It must not call Close. It is required.
	Handle func(b []byte, from netip.AddrPort)
}

// A Socket receives what is sent to the groups.
type Socket struct {
	handle    func([]byte, netip.AddrPort)
	receivers []*receiver
	links     atomic.Pointer[[]iface]

	refreshing sync.Mutex
	joined     map[membership]iface

	admitting sync.Mutex // held while handle runs
	epoch     time.Time
	sources   *limit.Table[netip.Addr]
	total     limit.Bucket

	stats   counters
	done    chan struct{}
	closing sync.Once
	running sync.WaitGroup
}

// A membership is of one receiver on one interface.
type membership struct {
	receiver *receiver
	index    int
}

type counters struct{ delivered, oversize, offLink, limited, readErrors atomic.Uint64 }

// Stats are counts of datagrams since Listen, but for Groups.
type Stats struct {
	Groups     int    // memberships held: one for each interface and family
	Delivered  uint64 // handed on
	Oversize   uint64 // dropped: larger than DatagramMax
	OffLink    uint64 // dropped: not from the link to the group
	Limited    uint64 // dropped: more than the limits allow
	ReadErrors uint64
}

// Listen joins the groups on every interface that can multicast. It fails if
// neither IPv4 nor IPv6 has the port. That a group cannot be joined, because
// there is no network yet, is not a failure: Refresh tries again, and says why.
func Listen(cfg Config) (*Socket, error) {
	s := &Socket{
		handle:  cfg.Handle,
		joined:  make(map[membership]iface),
		epoch:   time.Now(),
		sources: limit.NewTable[netip.Addr](sourceRate, sourcesMax),
		done:    make(chan struct{}),
	}
	conn4, err4 := listen("udp4", Port)
	if err4 == nil {
		s.receivers = append(s.receivers, newReceiver4(conn4))
	}
	conn6, err6 := listen("udp6", Port)
	if err6 == nil {
		s.receivers = append(s.receivers, newReceiver6(conn6))
	}
	if len(s.receivers) == 0 {
		return nil, fmt.Errorf("lan: cannot listen: %w", errors.Join(err4, err6))
	}
	s.links.Store(new([]iface))
	s.Refresh()
	for _, r := range s.receivers {
		s.running.Go(func() { s.receive(r) })
	}
	return s, nil
}

// listen opens a socket on a port that other processes may listen on too.
func listen(network string, port uint16) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: reuseport.Control}
	conn, err := lc.ListenPacket(context.Background(), network, net.JoinHostPort("", strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// Refresh joins the groups on interfaces that have come, and leaves those on
// interfaces that have gone. The error says where a group could not be joined;
// the others are.
func (s *Socket) Refresh() error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	links, err := interfaces()
	if err != nil {
		return fmt.Errorf("lan: %w", err)
	}
	var errs []error
	present := make(map[membership]iface)
	for _, r := range s.receivers {
		for _, l := range links {
			if !r.uses(l) {
				continue
			}
			m := membership{r, l.Index}
			// An interface that went and came may have lost a membership, so it is joined
			// again; if that fails, the old one is still there.
			if err := r.join(l); err != nil && !s.holds(m) {
				errs = append(errs, fmt.Errorf("lan: cannot join %v on %s: %w", r.group, l.Name, err))
				continue
			}
			present[m] = l
		}
	}
	for m, l := range s.joined {
		if _, ok := present[m]; !ok {
			m.receiver.leave(l)
		}
	}
	s.joined = present
	s.links.Store(&links)
	return errors.Join(errs...)
}

func (s *Socket) holds(m membership) bool {
	_, ok := s.joined[m]
	return ok
}

// Stats returns the counts.
func (s *Socket) Stats() Stats {
	s.refreshing.Lock()
	groups := len(s.joined)
	s.refreshing.Unlock()
	return Stats{
		Groups:     groups,
		Delivered:  s.stats.delivered.Load(),
		Oversize:   s.stats.oversize.Load(),
		OffLink:    s.stats.offLink.Load(),
		Limited:    s.stats.limited.Load(),
		ReadErrors: s.stats.readErrors.Load(),
	}
}

// Close leaves the groups and waits for a call of Handle to end.
func (s *Socket) Close() error {
	s.closing.Do(func() {
		close(s.done)
		for _, r := range s.receivers {
			r.conn.Close()
		}
	})
	s.running.Wait()
	return nil
}

// receive reads until the socket is closed. No error ends it: on some systems
// even a datagram that is too large is one.
func (s *Socket) receive(r *receiver) {
	var buf [DatagramMax + 1]byte
	for failures := 0; ; {
		n, a, err := r.read(buf[:])
		if err == nil {
			failures = 0
			s.admit(r, buf[:n], a)
			continue
		}
		failures++
		if !s.failed(failures) {
			return
		}
	}
}

// failed waits, the longer the more reads failed in a row, and reports whether to
// read on.
func (s *Socket) failed(failures int) bool {
	const pauseMax = 100 * time.Millisecond
	pause := min(time.Millisecond<<min(failures, 16), pauseMax)
	select {
	case <-s.done:
		return false
	case <-time.After(pause):
		s.stats.readErrors.Add(1)
		return true
	}
}

// admit hands on a datagram unless there is a reason not to.
func (s *Socket) admit(r *receiver, b []byte, a arrival) {
	if len(b) > DatagramMax {
		s.stats.oversize.Add(1)
		return
	}
	if !r.came(a, *s.links.Load()) {
		s.stats.offLink.Add(1)
		return
	}
	s.admitting.Lock()
	defer s.admitting.Unlock()
	if !s.allowed(a.from.Addr()) {
		s.stats.limited.Add(1)
		return
	}
	s.stats.delivered.Add(1)
	s.handle(b, a.from)
}

// allowed takes from the source's own share first: a flood uses up no other's.
func (s *Socket) allowed(from netip.Addr) bool {
	now := clock.Time(time.Since(s.epoch))
	return s.sources.Take(now, from, 1) && s.total.Take(now, totalRate, 1)
}
