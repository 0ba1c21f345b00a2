package rendezvous

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
)

// A prober answers binding requests on the probe ports, from which nodes learn
// what the NATs before them do (RFC 5780): whether another port sees another
// mapping, and whether an answer from another port comes through. It holds no
// state of any node. Sources may be forged; so an answer is never longer than a
// request that asks for it elsewhere, and each address gets few.
type prober struct {
	ports   []net.PacketConn // in the order of their numbers
	now     func() clock.Time
	running sync.WaitGroup

	mu        sync.Mutex
	perSource *limit.Table[netip.Prefix]
}

// probeRate is what one IPv4 address or IPv6 /64 may ask for. A survey takes some
// 30 requests; a carrier's NAT has many nodes behind one address.
var probeRate = limit.Rate{PerSecond: 50, Burst: 200}

const probeSourcesMax = 65536

// listenProbes opens n ports after the server's own. One that is taken ends the
// row; without any, nodes do without.
func listenProbes(listen func(port uint16) (net.PacketConn, error), own uint16, n int, now func() clock.Time) *prober {
	p := &prober{now: now, perSource: limit.NewTable[netip.Prefix](probeRate, probeSourcesMax)}
	for k := 1; k <= n && int(own)+k <= 65535; k++ {
		conn, err := listen(own + uint16(k))
		if err != nil {
			break
		}
		p.ports = append(p.ports, conn)
	}
	for _, conn := range p.ports {
		p.running.Go(func() { p.serve(conn) })
	}
	return p
}

func (p *prober) close() {
	for _, conn := range p.ports {
		conn.Close()
	}
	p.running.Wait()
}

// readFailuresMax is how many reads may fail in a row until a port is given up.
const readFailuresMax = 100

func (p *prober) serve(conn net.PacketConn) {
	buf := make([]byte, 2048)
	for failures := 0; failures < readFailuresMax; {
		n, from, err := conn.ReadFrom(buf)
		switch udp, ok := from.(*net.UDPAddr); {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil || !ok:
			failures++ // of one datagram that was sent, as a rule
		default:
			failures = 0
			p.handle(conn, udp.AddrPort(), buf[:n])
		}
	}
}

func (p *prober) handle(conn net.PacketConn, from netip.AddrPort, b []byte) {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	req, ok := reach.ParseProbe(b)
	if !ok || !p.admits(from) {
		return
	}
	answer, ok := reach.AppendProbeResponse(nil, b, from)
	if !ok {
		return
	}
	if req.ChangePort {
		conn = p.ports[len(p.ports)-1]
	}
	to := from
	if req.ResponsePort != 0 {
		to = netip.AddrPortFrom(from.Addr(), req.ResponsePort)
	}
	conn.WriteTo(answer, net.UDPAddrFromAddrPort(to)) // lost like any other if that fails
}

func (p *prober) admits(from netip.AddrPort) bool {
	bits := 32
	if from.Addr().Is6() {
		bits = 64
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.perSource.Take(p.now(), network(from.Addr(), bits), 1)
}

// probeHosts returns the addresses of the probe ports: where the server itself listens.
// On all addresses a stack has a socket for each family, the operating system one for both.
func probeHosts(c *Config, own netip.Addr) []netip.Addr {
	if c.Stack != nil && own.IsUnspecified() {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return []netip.Addr{own}
}

// listenProbe opens probe ports at a host's address.
func listenProbe(c *Config, host netip.Addr) func(port uint16) (net.PacketConn, error) {
	return func(port uint16) (net.PacketConn, error) {
		at := netip.AddrPortFrom(host, port)
		if c.Stack != nil {
			return c.Stack.ListenUDP(at)
		}
		if host.IsUnspecified() {
			return net.ListenUDP("udp", &net.UDPAddr{Port: int(port)}) // both families
		}
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	}
}
