package lan

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/session/limit"
)

func link(index int, prefixes ...string) iface {
	l := iface{Interface: net.Interface{Index: index}}
	for _, p := range prefixes {
		l.prefixes = append(l.prefixes, netip.MustParsePrefix(p))
	}
	return l
}

var home = []iface{
	link(2, "192.168.1.0/24", "fe80::/64", "2001:db8:1::/64"),
	link(3, "10.9.0.0/16"),
}

func TestOnlyTheLinkIsLetIn(t *testing.T) {
	v4 := &receiver{group: Group4, control: true, hops: ttl4}
	v6 := &receiver{group: Group6, control: true, hops: hopLimit6}
	for _, test := range []struct {
		name  string
		r     *receiver
		from  string
		to    netip.Addr
		index int
		hops  int
		want  bool
	}{
		{"neighbour", v4, "192.168.1.9:4000", Group4, 2, 1, true},
		{"neighbour on the other link", v4, "10.9.3.3:4000", Group4, 3, 1, true},
		{"link-local neighbour", v4, "169.254.3.3:4000", Group4, 3, 1, true},
		{"address of the other link", v4, "10.9.3.3:4000", Group4, 2, 1, false},
		{"unknown interface", v4, "192.168.1.9:4000", Group4, 7, 1, false},
		{"elsewhere", v4, "8.8.8.8:4000", Group4, 2, 1, false},
		{"unicast", v4, "192.168.1.9:4000", netip.MustParseAddr("192.168.1.7"), 2, 1, false},
		{"another group", v4, "192.168.1.9:4000", netip.MustParseAddr("224.0.0.1"), 2, 1, false},
		{"with a TTL to be forwarded", v4, "192.168.1.9:4000", Group4, 2, 64, false},
		{"neighbour", v6, "[fe80::9%eth0]:4000", Group6, 2, 255, true},
		{"neighbour by a global address", v6, "[2001:db8:1::9]:4000", Group6, 2, 255, true},
		{"forwarded", v6, "[fe80::9%eth0]:4000", Group6, 2, 254, false},
		{"elsewhere", v6, "[2001:db8:2::9]:4000", Group6, 2, 255, false},
	} {
		a := arrival{netip.MustParseAddrPort(test.from), test.to, test.index, test.hops}
		if got := test.r.came(a, home); got != test.want {
			t.Errorf("%s, %s: let in: %v", test.name, test.from, got)
		}
	}
}

func TestWithoutControlMessagesTheSourceDecides(t *testing.T) {
	r := &receiver{group: Group4, hops: ttl4}
	for from, want := range map[string]bool{"10.9.3.3:4000": true, "8.8.8.8:4000": false} {
		if got := r.came(arrival{from: netip.MustParseAddrPort(from)}, home); got != want {
			t.Errorf("%s: let in: %v", from, got)
		}
	}
}

func TestFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delivered := make(map[netip.Addr]int)
		r := &receiver{group: Group6}
		s := pretendSocket(func(_ []byte, from netip.AddrPort) { delivered[from.Addr()]++ })
		flooder := netip.MustParseAddrPort("[fe80::bad]:1")
		dialler := netip.MustParseAddrPort("[fe80::1]:2")
		for range 10 * 1000 { // 10 s
			s.admit(r, []byte("noise"), arrival{from: flooder})
			time.Sleep(time.Millisecond)
		}
		for range 10 {
			s.admit(r, []byte("INIT"), arrival{from: dialler})
		}
		if n := delivered[flooder.Addr()]; n < 100 || n > 121 {
			t.Errorf("%d of one source in 10 s, want 20 + 10 a second", n)
		}
		if n := delivered[dialler.Addr()]; n != 10 {
			t.Errorf("%d of 10 of another source", n)
		}

		total := s.stats.delivered.Load()
		for i := range 100_000 {
			a := netip.MustParseAddr("fe80::").As16()
			a[13], a[14], a[15] = byte(i>>16), byte(i>>8), byte(i)
			s.admit(r, []byte("noise"), arrival{from: netip.AddrPortFrom(netip.AddrFrom16(a), 1)})
		}
		if n := s.stats.delivered.Load() - total; n > 100 {
			t.Errorf("%d of invented sources at once, want at most 100", n)
		}
		if s.sources.Len() > sourcesMax {
			t.Errorf("%d sources remembered", s.sources.Len())
		}
	})
}

func TestLargeDatagramIsDropped(t *testing.T) {
	s := pretendSocket(func(b []byte, _ netip.AddrPort) { t.Errorf("%d bytes delivered", len(b)) })
	s.admit(&receiver{}, make([]byte, DatagramMax+1), arrival{from: netip.MustParseAddrPort("[fe80::1]:2")})
	if n := s.stats.oversize.Load(); n != 1 {
		t.Errorf("oversize: %d", n)
	}
}

func pretendSocket(handle func([]byte, netip.AddrPort)) *Socket {
	s := &Socket{handle: handle, epoch: time.Now(), sources: limit.NewTable[netip.Addr](sourceRate, sourcesMax)}
	s.links.Store(&home)
	return s
}
