package netnstest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// translating are the kinds whose ports change when the router forgets.
var translating = []Kind{
	FullCone, AddrRestricted, PortRestricted, Linux, SequentialPorts, PortBlock, RandomPorts,
	CGNFullCone, CGNAddrRestricted, CGNPortRestricted,
}

// works checks that an answer to a mapping comes in.
func (l *lab) works(m netip.AddrPort) {
	l.t.Helper()
	if !l.passes(l.first, m) {
		l.t.Errorf("the mapping %v does not work", m)
	}
}

func TestRouterForgetsMappingsWhenRebound(t *testing.T) {
	Require(t)
	for _, kind := range translating {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, kind)
			old := l.mapped(l.first)
			l.must(l.router.Rebind())
			if l.passes(l.first, old) {
				t.Error("the old mapping still works")
			}
			m := l.mapped(l.first)
			if m == old || m.Addr() != routerAddr {
				t.Errorf("mapped to %v, was %v: want another port", m, old)
			}
			l.works(m)
			l.must(l.router.Renumber(movedAddr))
			if l.passes(l.first, m) {
				t.Error("the old address still works")
			}
			if m = l.mapped(l.first); m.Addr() != movedAddr {
				t.Errorf("mapped to %v, want the new address %v", m, movedAddr)
			}
			l.works(m)
		})
	}
}

func TestRouterWithoutTranslationRenumbersTheHost(t *testing.T) {
	Require(t)
	for _, kind := range []Kind{Firewall, IPv6Firewall} {
		t.Run(kind.Name, func(t *testing.T) {
			l := newLab(t, kind)
			l.mapped(l.first)
			l.must(l.router.Renumber(l.moved))
			m := l.mapped(l.first)
			if m.Addr() != l.moved {
				t.Errorf("seen from %v, want %v", m, l.moved)
			}
			l.works(m)
		})
	}
}

func TestRouterForgetsWhomItLetIn(t *testing.T) {
	Require(t)
	for _, kind := range []Kind{AddrRestricted, CGNAddrRestricted} {
		t.Run(kind.Name, func(t *testing.T) {
			l := newLab(t, kind)
			m := l.mapped(l.first)
			kept := l.mapped(l.second)
			l.must(l.router.Forget(firstAddr))
			if l.passes(l.first, m) {
				t.Error("a packet from the forgotten address passes")
			}
			if !l.passes(l.second, kept) {
				t.Error("the flow with the other address was forgotten as well")
			}
		})
	}
}

func TestRouterRebootsWithEmptyTablesAndAnotherAddress(t *testing.T) {
	Require(t)
	const down = 400 * time.Millisecond
	for _, kind := range []Kind{PortRestricted, CGNPortRestricted, Firewall, IPv6Firewall} {
		t.Run(kind.Name, func(t *testing.T) {
			l := newLab(t, kind)
			old := l.mapped(l.first)
			done := make(chan error)
			begin := time.Now()
			go func() { done <- l.router.Reboot(down, l.moved) }()
			Pass(down / 4)
			if _, ok := l.reaches(l.first); ok {
				t.Error("a packet passes meanwhile")
			}
			l.must(<-done)
			if took := time.Since(begin); took < down {
				t.Errorf("down for %v, want %v", took, down)
			}
			if l.passes(l.first, old) {
				t.Error("the old mapping still works")
			}
			m := l.mapped(l.first)
			if m.Addr() != l.moved {
				t.Errorf("mapped to %v, want the address %v", m, l.moved)
			}
			l.works(m)
		})
	}
}

func TestRouterBlocksUDPAndPassesTCP(t *testing.T) {
	Require(t)
	for _, kind := range []Kind{PortRestricted, CGNFullCone, IPv6Firewall} {
		t.Run(kind.Name, func(t *testing.T) {
			l := newLab(t, kind)
			m := l.mapped(l.first)
			l.must(l.router.BlockUDP())
			if _, ok := l.reaches(l.first); ok || l.passes(l.first, m) {
				t.Error("UDP passes")
			}
			l.tcp()
			l.must(l.router.UnblockUDP())
			if again := l.mapped(l.first); again != m {
				t.Errorf("mapped to %v, was %v", again, m)
			}
			l.works(m)
		})
	}
}

func TestPacketsBetweenTwoAddressesCanBeBlocked(t *testing.T) {
	Require(t)
	l := newLab(t, FullCone)
	m := l.mapped(l.first)
	l.internet.BlockBetween(l.router.Addr(), firstAddr)
	if _, ok := l.reaches(l.first); ok || l.passes(l.first, m) {
		t.Error("a packet passes")
	}
	if !l.passes(l.second, l.mapped(l.second)) {
		t.Error("another address is blocked as well")
	}
	l.internet.UnblockBetween(firstAddr, l.router.Addr())
	l.works(l.mapped(l.first))
}

func TestRouterExpiresMappingsAtAnAge(t *testing.T) {
	Require(t)
	const age = 700 * time.Millisecond
	l := newLab(t, CGNPortRestricted)
	carrier := l.router.Carrier()
	l.must(carrier.ExpireMappings(age))
	for range 2 {
		begin := time.Now()
		m := l.mapped(l.first)
		l.mapped(l.second)
		n := m
		for n == m && time.Since(begin) < 3*age { // traffic does not keep it
			l.passes(l.first, m)
			Pass(20 * time.Millisecond)
			n = l.mapped(l.first)
		}
		if took := time.Since(begin); took < age || took > age+300*time.Millisecond {
			t.Errorf("the mapping lasted %v, want %v", took, age)
		}
		if l.passes(l.first, m) {
			t.Error("the old mapping still works")
		}
		if l.mapped(l.second) != n {
			t.Error("the flow with the other address kept the old mapping")
		}
		l.works(n)
		l.must(carrier.conntrack("-F")) // the next round begins with none
		Pass(age + 100*time.Millisecond)
	}
}

func TestRouterForgetsFlowsAfterTheirTimeouts(t *testing.T) {
	Require(t)
	l := newLab(t, PortRestricted)
	l.must(l.router.Timeouts(time.Second, 3*time.Second))
	m := l.mapped(l.first)
	Pass(1500 * time.Millisecond)
	if l.passes(l.first, m) {
		t.Error("a flow that nobody answered lives on")
	}
}

func TestChangesOfNetworkLeaveAGap(t *testing.T) {
	Require(t)
	const gap = 300 * time.Millisecond
	in := newInternet(t)
	home := must(in.Router("wifi", PortRestricted, routerAddr, oneWay))
	away := must(in.Router("lte", CGNPortRestricted, movedAddr, oneWay))
	l := &lab{t: t, internet: in, host: must(in.Host("h", home, away))}
	l.one = must(in.PublicHost("one", oneWay, firstAddr))
	l.inside, l.first = must(l.host.ListenUDP(Port)), must(l.one.ListenUDPAddr(netip.AddrPortFrom(firstAddr, anyPort)))
	if m := l.mapped(l.first); m.Addr() != routerAddr {
		t.Errorf("mapped to %v, want %v", m, routerAddr)
	}
	before := l.addresses()
	done := make(chan error)
	begin := time.Now()
	go func() { done <- l.host.Switch(away, gap) }()
	Pass(gap / 2)
	if got := l.addresses(); len(got) != 0 {
		t.Errorf("addresses %v in the gap, want none", got)
	}
	l.must(<-done)
	if took := time.Since(begin); took < gap {
		t.Errorf("the new network was there after %v, want %v", took, gap)
	}
	if got := l.addresses(); len(got) != 1 || got[0] == before[0] {
		t.Errorf("addresses %v, want one other than %v", got, before)
	}
	m := l.mapped(l.first)
	if m.Addr() != movedAddr {
		t.Errorf("mapped to %v, want %v", m, movedAddr)
	}
	l.works(m)
}

// addresses returns those of the host that are not of loopback.
func (l *lab) addresses() (found []string) {
	l.t.Helper()
	l.must(l.host.Do(func() error {
		all, err := net.InterfaceAddrs()
		for _, a := range all {
			if ip := a.(*net.IPNet).IP; !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
				found = append(found, a.String())
			}
		}
		return err
	}))
	return found
}

func TestPacketsAreLostWhileTheCableIsUnplugged(t *testing.T) {
	Require(t)
	for _, kind := range []Kind{Public, PortRestricted, IPv6Firewall} {
		t.Run(kind.Name, func(t *testing.T) {
			l := newLab(t, kind)
			m := l.mapped(l.first)
			events := l.linkEvents()
			for _, change := range []struct {
				do    func() error
				works bool
			}{{l.host.Unplug, false}, {l.host.Plug, true}} {
				l.must(change.do())
				if !awaitEvent(t, events) {
					t.Error("the host was not told")
				}
				if got := l.passes(l.first, m); got != change.works {
					t.Errorf("a packet passes: %v, want %v", got, change.works)
				}
			}
			l.mapped(l.first)
		})
	}
}

// linkEvents opens a netlink socket on the host that hears of its interfaces.
func (l *lab) linkEvents() (fd int) {
	l.t.Helper()
	l.must(l.host.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK})
	}))
	l.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func awaitEvent(t *testing.T, fd int) bool {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 2000)
	if err != nil || n == 0 {
		return false
	}
	_, _, err = unix.Recvfrom(fd, make([]byte, 8192), 0)
	return err == nil
}

func TestPacketsTakeTheDelayOfBothUplinks(t *testing.T) {
	Require(t)
	for _, kind := range []Kind{FullCone, CGNPortRestricted, IPv6Firewall} {
		t.Run(kind.Name, func(t *testing.T) {
			l := newLab(t, kind)
			l.mapped(l.first) // the first packet resolves neighbours on the way
			begin := time.Now()
			l.mapped(l.first)
			if d := time.Since(begin); d < 2*oneWay || d > 2*oneWay+15*time.Millisecond {
				t.Errorf("one way took %v, want %v or little more", d, 2*oneWay)
			}
		})
	}
}

// The Internet must not be what limits a test: several pairs, 2000 packets a
// second each.
func TestPacketsOfSeveralPairsAllArrive(t *testing.T) {
	Require(t)
	const pairs, perSecond = 4, 2000
	in := newInternet(t)
	var wg sync.WaitGroup
	for i := range byte(pairs) {
		src := must(in.HostOf(PortRestricted, fmt.Sprintf("s%d", i), netip.AddrFrom4([4]byte{203, 0, 113, i + 1}), oneWay))
		addr := netip.AddrFrom4([4]byte{198, 51, 100, i + 1})
		dst := must(in.PublicHost(fmt.Sprintf("d%d", i), oneWay, addr))
		from, to := must(src.ListenUDP(Port)), must(dst.ListenUDP(anyPort))
		must(0, to.SetReadBuffer(1<<20))
		wg.Go(func() { pour(from, netip.AddrPortFrom(addr, anyPort), perSecond) })
		wg.Go(func() {
			n := 0
			for n < perSecond {
				if _, ok := receive(to); !ok && n > 0 {
					break
				}
				n++
			}
			if n < perSecond*999/1000 {
				t.Errorf("pair %d: %d of %d packets arrived", i, n, perSecond)
			}
		})
	}
	wg.Wait()
}

// pour sends n packets in one second.
func pour(c *net.UDPConn, to netip.AddrPort, n int) {
	b := make([]byte, 1200)
	begin := time.Now()
	for i := range n {
		Pass(time.Until(begin.Add(time.Second * time.Duration(i) / time.Duration(n))))
		must(c.WriteToUDPAddrPort(b, to))
	}
}

func TestPacketsEndWithTheirInternetEvenIfProcessesHang(t *testing.T) {
	Require(t)
	in := New("lab")
	h := must(in.PublicHost("h", oneWay, firstAddr))
	cmd := h.Command(context.Background(), "sh", "-c", "trap '' TERM INT HUP; while :; do sleep 60; done")
	must(0, cmd.Start())
	must(must(in.PublicHost("k", oneWay, secondAddr)).ListenUDP(anyPort)) // left open
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	ended := make(chan error)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the process lives on")
	}
}
