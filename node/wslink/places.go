package wslink

import (
	"net"
	"net/netip"
	"sync"
)

// places bounds how many connections there are, in all and from one network.
type places struct {
	max, networkMax int

	mu      sync.Mutex
	taken   int
	of      map[netip.Prefix]int
	refused uint64
}

func newPlaces(max, networkMax int) *places {
	return &places{max: max, networkMax: networkMax, of: map[netip.Prefix]int{}}
}

// take reports whether there is a place for a connection from ip.
func (p *places) take(ip netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	network := networkOf(ip)
	if p.taken >= p.max || p.networkMax >= 0 && p.of[network] >= p.networkMax {
		p.refused++
		return false
	}
	p.taken++
	p.of[network]++
	return true
}

func (p *places) leave(ip netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	network := networkOf(ip)
	p.taken--
	if p.of[network]--; p.of[network] == 0 {
		delete(p.of, network)
	}
}

// networkOf returns what one customer commonly has: an IPv4 address or an IPv6
// /64. What is not over TCP is one network.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // zero if ip is
	return p
}

// A placedListener closes connections that there is no place for, before
// anything is spent on them.
type placedListener struct {
	net.Listener
	places *places
}

func (l *placedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := addrPortOf(c.RemoteAddr().String()).Addr()
		if l.places.take(ip) {
			return &placedConn{Conn: c, leave: sync.OnceFunc(func() { l.places.leave(ip) })}, nil
		}
		c.Close()
	}
}

type placedConn struct {
	net.Conn
	leave func()
}

func (c *placedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// NetConn returns the connection below, as that of a tls.Conn does.
func (c *placedConn) NetConn() net.Conn { return c.Conn }
