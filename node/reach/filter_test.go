package reach

import (
	"encoding/binary"
	"math/big"
	"net/netip"
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

func TestFilterByWhereTheNodeIs(t *testing.T) {
	home := []Host{{addr("192.168.1.5:4000"), netip.MustParsePrefix("192.168.1.5/24")}}
	host, reflexive := wire.CandidateHost, wire.CandidateReflexive
	for _, test := range []struct {
		name     string
		hosts    []Host
		observed string
		kind     wire.CandidateKind
		addr     string
		with     string // another candidate of the peer
		want     bool
	}{
		{"public address", home, "20.0.0.1:1", reflexive, "20.0.0.2:4000", "", true},
		{"public IPv6", home, "20.0.0.1:1", host, "[2a00::1]:4000", "", true},
		{"same link", home, "20.0.0.1:1", host, "192.168.1.9:4000", "", true},
		{"other private network", home, "20.0.0.1:1", host, "192.168.2.9:4000", "20.0.0.2:4000", false},
		{"other network behind our NAT", home, "20.0.0.1:1", host, "192.168.2.9:4000", "20.0.0.1:4000", true},
		{"carrier's network, behind our NAT", home, "20.0.0.1:1", host, "100.64.3.4:4000", "20.0.0.1:4000", true},
		{"carrier's network, elsewhere", home, "20.0.0.1:1", host, "100.64.3.4:4000", "", false},
		{"seen by a server inside our network", home, "10.0.0.1:1", reflexive, "10.9.9.9:4000", "", true},
		{"claimed behind a server inside our network", home, "10.0.0.1:1", host, "10.9.9.9:4000", "", false},
		{"ourselves", home, "20.0.0.1:1", host, "192.168.1.5:4000", "", false},
		{"another node on this machine", home, "20.0.0.1:1", host, "192.168.1.5:4001", "", true},
		{"loopback, told by a server elsewhere", home, "20.0.0.1:1", host, "127.0.0.1:4000", "", false},
		{"loopback, told on this machine", home, "127.0.0.1:1", reflexive, "127.0.0.1:4000", "", true},
		{"loopback, not yet observed", home, "", host, "127.0.0.1:4000", "", false},
		{"link-local, other link", home, "20.0.0.1:1", host, "169.254.1.1:4000", "", false},
		{"metadata service", home, "20.0.0.1:1", host, "169.254.169.254:80", "20.0.0.1:4000", false},
		{"laboratory", home, "203.0.113.1:1", reflexive, "198.51.100.1:4000", "", true},
		{"laboratory, told in the real world", home, "20.0.0.1:1", reflexive, "198.51.100.1:4000", "", false},
		{"DNS port", home, "20.0.0.1:1", reflexive, "20.0.0.2:53", "", false},
		{"memcached port", home, "20.0.0.1:1", reflexive, "20.0.0.2:11211", "", false},
		{"reserved", home, "20.0.0.1:1", reflexive, "240.0.0.1:4000", "", false},
		{"NAT64 of a private address", home, "20.0.0.1:1", host, "[64:ff9b::a00:1]:4000", "", false},
		{"NAT64 of a public address", home, "20.0.0.1:1", host, "[64:ff9b::1400:1]:4000", "", true},
		{"6to4 of loopback", home, "20.0.0.1:1", host, "[2002:7f00:1::1]:4000", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newOnlineRig(t, 1)
			r.c.SetHosts(r.now, test.hosts)
			r.c.servers[0].observed = netip.AddrPort{}
			if test.observed != "" {
				r.c.servers[0].observed = addr(test.observed)
			}
			var list wire.Candidates
			candidate := wire.Candidate{Kind: test.kind, Addr: addr(test.addr)}
			list.Add(candidate)
			if test.with != "" {
				list.Add(wire.Candidate{Kind: wire.CandidateReflexive, Addr: addr(test.with)})
			}
			f := r.c.filterFor(0, &list)
			if got := f.allows(candidate); got != test.want {
				t.Errorf("allowed %v, want %v", got, test.want)
			}
		})
	}
}

// slowScope is ScopeOf by arithmetic on the whole number that an address is,
// from a list of first and last addresses.
func slowScope(ip netip.Addr) Scope {
	type span struct {
		first, last string
		scope       Scope
	}
	spans := []span{
		{"0.0.0.0", "0.255.255.255", ScopeNever}, {"10.0.0.0", "10.255.255.255", ScopePrivate},
		{"100.64.0.0", "100.127.255.255", ScopeShared}, {"127.0.0.0", "127.255.255.255", ScopeLoopback},
		{"169.254.0.0", "169.254.255.255", ScopeLinkLocal}, {"172.16.0.0", "172.31.255.255", ScopePrivate},
		{"192.0.0.0", "192.0.0.255", ScopeNever}, {"192.0.2.0", "192.0.2.255", ScopeDocumentation},
		{"192.88.99.0", "192.88.99.255", ScopeNever}, {"192.168.0.0", "192.168.255.255", ScopePrivate},
		{"198.18.0.0", "198.19.255.255", ScopeDocumentation}, {"198.51.100.0", "198.51.100.255", ScopeDocumentation},
		{"203.0.113.0", "203.0.113.255", ScopeDocumentation}, {"224.0.0.0", "255.255.255.255", ScopeNever},
		{"::", "::", ScopeNever}, {"::1", "::1", ScopeLoopback}, {"::ffff:0.0.0.0", "::ffff:255.255.255.255", ScopeNever},
		{"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", ScopeNever}, {"100::", "100::ffff:ffff:ffff:ffff", ScopeNever},
		{"2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", ScopeDocumentation},
		{"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", ScopeDocumentation},
		{"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", ScopeDocumentation},
		{"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ScopePrivate},
		{"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ScopeLinkLocal},
		{"fec0::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ScopeNever},
	}
	number := func(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }
	n := number(ip)
	if ip.Is6() {
		b := ip.As16()
		v4 := uint32(0xffffffff)
		switch {
		case n.Cmp(number(netip.MustParseAddr("64:ff9b::"))) >= 0 && n.Cmp(number(netip.MustParseAddr("64:ff9b::ffff:ffff"))) <= 0:
			v4 = binary.BigEndian.Uint32(b[12:])
		case b[0] == 0x20 && b[1] == 0x02:
			v4 = binary.BigEndian.Uint32(b[2:])
		case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0:
			v4 = ^binary.BigEndian.Uint32(b[12:])
		default:
			v4 = 0x14000001 // a global one
		}
		if slowScope(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v4)))) != ScopeGlobal {
			return ScopeNever
		}
	}
	for _, s := range spans {
		first, last := netip.MustParseAddr(s.first), netip.MustParseAddr(s.last)
		if first.Is4() == ip.Is4() && n.Cmp(number(first)) >= 0 && n.Cmp(number(last)) <= 0 {
			return s.scope
		}
	}
	return ScopeGlobal
}

func FuzzScope(f *testing.F) {
	for _, s := range []string{
		"0.0.0.0", "9.255.255.255", "10.0.0.0", "100.127.255.255", "100.128.0.0", "126.255.255.255", "172.31.255.255",
		"172.32.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "255.255.255.255", "::", "::1", "::2",
		"::ffff:1.2.3.4", "64:ff9b::10.0.0.1", "64:ff9b::20.0.0.1", "2002:a00:1::", "2001::f5ff:fffe", "2001:db8::1",
		"3fff:1000::", "fbff::", "fdff::", "fe7f::", "fec0::", "ff02::1",
	} {
		f.Add(netip.MustParseAddr(s).AsSlice())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if got, want := ScopeOf(ip), slowScope(ip); got != want {
			t.Errorf("scope of %v is %d, want %d", ip, got, want)
		}
	})
}
