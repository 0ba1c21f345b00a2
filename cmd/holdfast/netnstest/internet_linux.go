package netnstest

import (
	"container/heap"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const mtu = 1500

// hops is how many routers the Internet itself is, unless told otherwise.
const hops = 8

// An Internet carries packets between the namespaces attached to it.
type Internet struct {
	prefix string // of the names of namespaces

	mu      sync.Mutex
	routes  map[netip.Addr]*uplink // by public address
	blocked map[[2]netip.Addr]bool // source and destination
	hops    uint8
	flight  packets
	order   uint64
	closed  bool
	wake    chan struct{}
	uplinks []*uplink
	routers int
	spaces  []string // namespaces to remove
	onClose []func()

	carriers sync.WaitGroup
}

// An uplink is the attachment of one namespace.
type uplink struct {
	tun   *os.File
	delay time.Duration // one way, between the namespace and the middle
	dark  atomic.Bool   // its interface has no carrier
}

// internets counts those of this process, whose namespaces must differ.
var internets atomic.Uint32

// New makes an Internet that nothing is attached to. The name distinguishes its
// namespaces from those of others at work on the same machine; several Internets
// of the same name may be in use at a time. Each is for one goroutine to build.
func New(name string) *Internet {
	in := &Internet{
		prefix:  fmt.Sprintf("%s%d.%d-", name, os.Getpid(), internets.Add(1)),
		routes:  make(map[netip.Addr]*uplink),
		blocked: make(map[[2]netip.Addr]bool),
		hops:    hops,
		wake:    make(chan struct{}, 1),
	}
	in.carriers.Go(in.deliver)
	return in
}

// Close detaches and removes every namespace, and kills the processes that are
// left in them.
func (in *Internet) Close() error {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.poke()
	errs := []error{killIn(in.spaces)}
	for _, f := range in.onClose {
		f()
	}
	for _, u := range in.uplinks {
		errs = append(errs, u.tun.Close())
	}
	in.carriers.Wait()
	var batch strings.Builder
	for _, ns := range in.spaces {
		fmt.Fprintf(&batch, "netns del %s\n", ns)
	}
	return errors.Join(append(errs, run(batch.String(), "ip", "-batch", "-"))...)
}

// SetHops says by how much the Internet lowers the time to live of packets; those
// that have no more are lost, and nobody is told.
func (in *Internet) SetHops(n uint8) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.hops = n
}

// namespace makes a namespace with nothing in it but loopback, and returns its
// name on the machine.
func (in *Internet) namespace(name string) (string, error) {
	ns := in.prefix + name
	if err := run("", "ip", "netns", "add", ns); err != nil {
		return "", err
	}
	in.spaces = append(in.spaces, ns)
	return ns, errors.Join(
		// Nothing the kernel says of its own accord is to blur what a test sees.
		sysctl(ns, "net/ipv6/conf/default/router_solicitations", "0"),
		sysctl(ns, "net/ipv6/conf/default/accept_ra", "0"),
		sysctl(ns, "net/ipv6/conf/default/accept_dad", "0"),
		// A link-local address comes with the first address that is not.
		sysctl(ns, "net/ipv6/conf/default/addr_gen_mode", "1"),
		runIn(ns, "link set lo up\n", "ip", "-batch", "-"),
	)
}

// attach gives the namespace the interface wan with the public addresses, and a
// default route of each family it has, or of the one that v6 says.
func (in *Internet) attach(ns string, delay time.Duration, v6 bool, addrs ...netip.Addr) (*uplink, error) {
	tun, err := inNamespace(ns, func() (*os.File, error) { return openTUN("wan") })
	if err != nil {
		return nil, err
	}
	u := &uplink{tun: tun, delay: delay}
	in.uplinks = append(in.uplinks, u)
	var batch strings.Builder
	fmt.Fprintf(&batch, "link set wan mtu %d up\n", mtu)
	v4 := len(addrs) == 0 && !v6
	for _, a := range addrs {
		v4, v6 = v4 || a.Is4(), v6 || a.Is6()
		fmt.Fprintf(&batch, "addr add %v dev wan nodad\n", netip.PrefixFrom(a, a.BitLen()))
		in.route(a, u)
	}
	if v4 {
		fmt.Fprintln(&batch, "route add 0.0.0.0/0 dev wan")
	}
	if v6 {
		fmt.Fprintln(&batch, "route add ::/0 dev wan")
	}
	in.carriers.Go(func() { in.collect(u) })
	return u, runIn(ns, batch.String(), "ip", "-batch", "-")
}

// carrier says whether the interface has a carrier. The kernel takes in what
// comes to an interface without one, so the Internet must not deliver it.
func (u *uplink) carrier(on bool) error {
	u.dark.Store(!on)
	value := 0
	if on {
		value = 1
	}
	c, err := u.tun.SyscallConn()
	if err != nil {
		return err
	}
	var ioctl error
	err = c.Control(func(fd uintptr) { ioctl = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, value) })
	return errors.Join(err, ioctl)
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
		in.send(from, buf[:n])
	}
}

func (in *Internet) send(from *uplink, b []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	pair, ok := addresses(b)
	u := in.routes[pair[1]]
	if !ok || u == nil || in.closed || in.blocked[pair] || !travel(b, in.hops) {
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
			if !p.to.dark.Load() {
				p.to.tun.Write(p.b)
			}
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
