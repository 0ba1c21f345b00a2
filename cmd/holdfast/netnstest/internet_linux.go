package netnstest

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

const mtu = 1500

// An Internet carries packets between the namespaces attached to it.
type Internet struct {
	prefix string // of the names of namespaces

	mu      sync.Mutex
	routes  map[netip.Addr]*uplink // by public address
	flight  packets
	order   uint64
	closed  bool
	wake    chan struct{}
	uplinks []*uplink
	spaces  []string // namespaces to remove

	carriers sync.WaitGroup
}

// An uplink is the attachment of one namespace.
type uplink struct {
	tun   *os.File
	delay time.Duration // one way, between the namespace and the middle
}

// New makes an Internet that nothing is attached to. The name distinguishes its
// namespaces from those of others at work on the same machine.
func New(name string) *Internet {
	in := &Internet{
		prefix: fmt.Sprintf("%s%d-", name, os.Getpid()),
		routes: make(map[netip.Addr]*uplink),
		wake:   make(chan struct{}, 1),
	}
	in.carriers.Go(in.deliver)
	return in
}

// Close detaches and removes every namespace. Processes in them should have been
// ended before.
func (in *Internet) Close() error {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.poke()
	var errs []error
	for _, u := range in.uplinks {
		errs = append(errs, u.tun.Close())
	}
	in.carriers.Wait()
	for _, ns := range in.spaces {
		errs = append(errs, run("ip", "netns", "del", ns))
	}
	return errors.Join(errs...)
}

// namespace makes a namespace with nothing in it but loopback, and returns its
// name on the machine.
func (in *Internet) namespace(name string) (string, error) {
	ns := in.prefix + name
	if err := run("ip", "netns", "add", ns); err != nil {
		return "", err
	}
	in.spaces = append(in.spaces, ns)
	return ns, errors.Join(
		run("ip", "-n", ns, "link", "set", "lo", "up"),
		// Neither router solicitations nor a second family are to blur what a test sees.
		run("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"),
	)
}

// attach gives the namespace the interface wan with the public address.
func (in *Internet) attach(ns string, addr netip.Addr, delay time.Duration) (*uplink, error) {
	tun, err := inNamespace(ns, func() (*os.File, error) { return openTUN("wan") })
	if err != nil {
		return nil, err
	}
	u := &uplink{tun: tun, delay: delay}
	in.uplinks = append(in.uplinks, u)
	err = errors.Join(
		run("ip", "-n", ns, "addr", "add", addr.String()+"/32", "dev", "wan"),
		run("ip", "-n", ns, "link", "set", "wan", "mtu", fmt.Sprint(mtu), "up"),
		run("ip", "-n", ns, "route", "add", "default", "dev", "wan"),
	)
	in.route(addr, u)
	in.carriers.Go(func() { in.collect(u) })
	return u, err
}

// route sends what is for the address to the uplink.
func (in *Internet) route(addr netip.Addr, u *uplink) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.routes[addr] = u
}

// unroute makes the address reach nobody.
func (in *Internet) unroute(addr netip.Addr) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.routes, addr)
}

// collect reads what a namespace sends until its uplink is closed.
func (in *Internet) collect(from *uplink) {
	buf := make([]byte, mtu)
	for {
		n, err := from.tun.Read(buf)
		if err != nil {
			return
		}
		if to, ok := destination(buf[:n]); ok {
			in.send(from, to, buf[:n])
		}
	}
}

func (in *Internet) send(from *uplink, to netip.Addr, b []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	u := in.routes[to]
	if u == nil || in.closed {
		return
	}
	in.order++
	heap.Push(&in.flight, packet{time.Now().Add(from.delay + u.delay), in.order, u, append([]byte(nil), b...)})
	in.poke()
}

func (in *Internet) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// deliver writes each packet to its uplink when its time has come.
func (in *Internet) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p, wait, ok := in.due()
		if !ok {
			return
		}
		if wait == 0 {
			// What an interface that is down does not take is lost, as on a real wire.
			p.to.tun.Write(p.b)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-in.wake:
		}
	}
}

// due returns the packet whose time has come, or how long to wait.
func (in *Internet) due() (p packet, wait time.Duration, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.closed:
		return p, 0, false
	case len(in.flight) == 0:
		return p, time.Hour, true
	}
	if wait = time.Until(in.flight[0].at); wait > 0 {
		return p, wait, true
	}
	return heap.Pop(&in.flight).(packet), 0, true
}

// destination returns the address that an IPv4 packet is for.
func destination(b []byte) (netip.Addr, bool) {
	if len(b) < 20 || b[0]>>4 != 4 || int(binary.BigEndian.Uint16(b[2:])) > len(b) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b[16:20])), true
}

// A packet is on its way.
type packet struct {
	at    time.Time
	order uint64 // among packets due at the same time
	to    *uplink
	b     []byte
}

type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	return p[i].at.Before(p[j].at) || p[i].at.Equal(p[j].at) && p[i].order < p[j].order
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	(*p)[last] = packet{}
	*p = (*p)[:last]
	return x
}
