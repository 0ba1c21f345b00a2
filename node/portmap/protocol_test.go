package portmap

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wantStatus waits for a status.
func wantStatus(t *testing.T, told chan Status, what string, is func(Status) bool) Status {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case s := <-told:
			if is(s) {
				return s
			}
		case <-timeout:
			t.Fatal("not told: " + what)
		}
	}
}

func wantMapped(t *testing.T, told chan Status) Status {
	t.Helper()
	return wantStatus(t, told, "a mapping", func(s Status) bool { return s.External.IsValid() })
}

func TestEachProtocolAlone(t *testing.T) {
	for _, name := range []string{PCP, NATPMP, UPnP} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, name)
			c, told := g.start()
			s := wantMapped(t, told)
			if s.Protocol != name || s.External.Addr() != g.external || s.Lease != leaseWanted || !slices.Equal(s.Answered, []string{name}) {
				t.Errorf("%+v", s)
			}
			if m := g.mappings(); len(m) != 1 || m[s.External.Port()] != 4000 {
				t.Errorf("the gateway maps %v", m)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if m := g.mappings(); len(m) != 0 {
				t.Errorf("after Close the gateway maps %v", m)
			}
		})
	}
}

func TestOfAllProtocolsPCPIsUsed(t *testing.T) {
	g := newGateway(t, PCP, NATPMP, UPnP)
	_, told := g.start()
	if s := wantMapped(t, told); s.Protocol != PCP {
		t.Errorf("%+v", s)
	}
	if m := g.mappings(); len(m) != 1 {
		t.Errorf("the gateway maps %v", m)
	}
}

func TestSearchIsAHandfulOfDatagrams(t *testing.T) {
	g := newGateway(t)
	ctx, cancel := context.WithTimeout(t.Context(), searchMax)
	defer cancel()
	var running sync.WaitGroup
	for _, p := range g.protocols() {
		running.Go(func() {
			if err := p.probe(ctx); err != errSilent {
				t.Errorf("%s: %v", p.name(), err)
			}
		})
	}
	running.Wait()
	g.change(func() {
		if g.heard == 0 || g.heard > 12 {
			t.Errorf("%d datagrams", g.heard)
		}
	})
}

func TestCloseInASearchIsPrompt(t *testing.T) {
	g := newGateway(t, PCP, NATPMP)
	arrived := make(chan struct{}, 64)
	g.change(func() {
		g.tamper = func([]byte) [][]byte { arrived <- struct{}{}; return nil }
	})
	c, _ := g.start()
	<-arrived
	began := time.Now()
	c.Close()
	if d := time.Since(began); d > closeMax+50*time.Millisecond {
		t.Errorf("took %v", d)
	}
}

const hostileBudget = 400 * time.Millisecond // to find no answer in

// ask asks one protocol for a mapping.
func ask(t *testing.T, p protocol, budget time.Duration) (grant, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), budget)
	defer cancel()
	if err := p.probe(ctx); err != nil {
		return grant{}, err
	}
	return p.request(ctx, netip.AddrPort{})
}

func (g *fakeGateway) protocols() []protocol {
	return protocolsOf(g.Gateway, 4000, []netip.AddrPort{netip.MustParseAddrPort(g.ssdp.LocalAddr().String())})
}

func (g *fakeGateway) protocol(name string) protocol {
	for _, p := range g.protocols() {
		if p.name() == name {
			return p
		}
	}
	panic(name)
}

// newGrant returns a gateway of one protocol, and what it has granted.
func newGrant(t *testing.T, name string) (g *fakeGateway, p protocol, granted grant) {
	t.Helper()
	g = newGateway(t, name)
	p = g.protocol(name)
	granted, err := ask(t, p, searchMax)
	if err != nil {
		t.Fatal(err)
	}
	return g, p, granted
}

func TestRestartOfTheGatewayIsNoticed(t *testing.T) {
	for _, name := range []string{PCP, NATPMP, UPnP} {
		t.Run(name, func(t *testing.T) {
			g, p, granted := newGrant(t, name)
			if p.lost(t.Context(), granted) {
				t.Error("lost for no reason")
			}
			g.restart()
			if !p.lost(t.Context(), granted) {
				t.Error("the restart was not noticed")
			}
			granted, err := p.request(t.Context(), granted.external)
			if err != nil || granted.restarted || p.lost(t.Context(), granted) {
				t.Errorf("after the renewal: %+v, %v", granted, err)
			}
		})
	}
}

func TestChangedExternalAddressIsNoticed(t *testing.T) {
	for _, name := range []string{PCP, NATPMP, UPnP} {
		t.Run(name, func(t *testing.T) {
			g, p, granted := newGrant(t, name)
			g.change(func() { g.external = netip.MustParseAddr("203.0.113.99") })
			if name == PCP { // RFC 6887 §8.5: the epoch MUST begin again
				g.change(func() { g.began = time.Now() })
			}
			if !p.lost(t.Context(), granted) {
				t.Error("the change was not noticed")
			}
			if granted, err := p.request(t.Context(), granted.external); err != nil || granted.external.Addr() != g.external {
				t.Errorf("%+v, %v", granted, err)
			}
		})
	}
}

func TestRestartIsNoticedInARenewalToo(t *testing.T) {
	for _, name := range []string{PCP, NATPMP} {
		t.Run(name, func(t *testing.T) {
			g, p, granted := newGrant(t, name)
			if granted.restarted {
				t.Fatal(granted)
			}
			g.restart()
			if granted, err := p.request(t.Context(), granted.external); err != nil || !granted.restarted {
				t.Errorf("%+v, %v", granted, err)
			}
		})
	}
}

func TestHostileAnswersOfPCPAndNATPMP(t *testing.T) {
	put := func(i int, v ...byte) func([]byte) {
		return func(b []byte) {
			if len(b) >= i+len(v) {
				copy(b[i:], v)
			}
		}
	}
	for _, test := range []struct {
		name, protocol string
		change         func(reply []byte)
	}{
		{"another nonce", PCP, func(b []byte) {
			if len(b) > 24 {
				b[24] ^= 9
			}
		}},
		{"another port", PCP, put(40, 9)},
		{"another protocol", PCP, put(36, 6)},
		{"a request", PCP, put(1, 1)},
		{"for no time", PCP, put(4, 0, 0, 0, 0)},
		{"external port 0", PCP, put(42, 0, 0)},
		{"loopback", PCP, put(56, 127, 0, 0, 1)},
		{"unspecified", PCP, put(56, 0, 0, 0, 0)},
		{"multicast", PCP, put(56, 224, 0, 0, 1)},
		{"IPv6", PCP, put(44, 0x20, 1)},
		{"another opcode", NATPMP, put(1, 0x82)},
		{"another port", NATPMP, put(8, 9, 9, 9, 9, 0, 0, 0x1c, 0x20)},
		{"link-local", NATPMP, func(b []byte) {
			if len(b) == 12 {
				copy(b[8:], []byte{169, 254, 1, 1})
			}
		}},
		{"for no time", NATPMP, put(12, 0, 0, 0, 0)},
	} {
		t.Run(test.protocol+" "+test.name, func(t *testing.T) {
			g := newGateway(t, test.protocol)
			g.change(func() {
				g.tamper = func(b []byte) [][]byte { test.change(b); return [][]byte{b} }
			})
			if granted, err := ask(t, g.protocol(test.protocol), hostileBudget); err == nil {
				t.Errorf("believed: %+v", granted)
			}
		})
	}
}

// What is no answer does not keep the answer from being heard.
func TestAnswerIsFoundAmongNoise(t *testing.T) {
	g := newGateway(t, PCP)
	g.change(func() {
		g.tamper = func(b []byte) [][]byte {
			other := bytes.Clone(b)
			if len(b) >= pcpMapLen {
				other[24] ^= 1
			}
			return [][]byte{{}, {2}, []byte("HTTP/1.1 200 OK"), other, make([]byte, 1400), b}
		}
	})
	granted, err := ask(t, g.protocol(PCP), searchMax)
	if err != nil || granted.external.Addr() != g.external {
		t.Errorf("%+v, %v", granted, err)
	}
}

func TestAnswerFromElsewhereIsNotHeard(t *testing.T) {
	g := newGateway(t, PCP)
	other, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.Addr, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := dialGateway(t.Context(), g.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other.WriteToUDPAddrPort([]byte("elsewhere"), netip.MustParseAddrPort(conn.LocalAddr().String()))
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("heard %d bytes from another port", n)
	}
}

func TestUPnPMapsAnotherPortIfItMust(t *testing.T) {
	g := newGateway(t, UPnP)
	g.change(func() { g.faults = map[uint16]int{4000: upnpConflict} })
	granted, err := ask(t, g.protocol(UPnP), searchMax)
	if err != nil || granted.external.Port() == 4000 || granted.external.Port() == 0 {
		t.Errorf("%+v, %v", granted, err)
	}
}

func TestUPnPMapsForeverIfItMust(t *testing.T) {
	g := newGateway(t, UPnP)
	g.change(func() {
		g.leases = func(lease string) int {
			if lease != "0" {
				return upnpPermanentOnly
			}
			return 0
		}
	})
	granted, err := ask(t, g.protocol(UPnP), searchMax)
	if err != nil || granted.lease != 0 || len(g.mappings()) != 1 {
		t.Errorf("%+v, %v", granted, err)
	}
}

func TestUPnPTellsWhyItIsRefused(t *testing.T) {
	g := newGateway(t, UPnP)
	g.change(func() { g.faults = map[uint16]int{4000: 606} })
	_, told := g.start()
	wantStatus(t, told, "the refusal", func(s Status) bool {
		return strings.Contains(s.Error, "UPnP: the gateway refuses (error 606)") && slices.Equal(s.Answered, []string{UPnP})
	})
}

func TestUPnPGoesNowhereElse(t *testing.T) {
	touched := make(chan string, 8)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	victim := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		touched <- r.URL.Path
		fmt.Fprintf(w, description, "/control")
	})}
	go victim.Serve(l)
	defer victim.Close()
	elsewhere := "http://" + l.Addr().String() + "/"
	for _, test := range []struct {
		name  string
		setUp func(g *fakeGateway)
	}{
		{"a location", func(g *fakeGateway) { g.location = elsewhere }},
		{"a location by name", func(g *fakeGateway) { g.location = strings.Replace(elsewhere, "127.0.0.1", "localhost", 1) }},
		{"a location of a file", func(g *fakeGateway) { g.location = "file:///etc/passwd" }},
		{"a redirect", func(g *fakeGateway) {
			g.page = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }
		}},
		{"a redirect within", func(g *fakeGateway) {
			g.page = func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/other" {
					http.Redirect(w, r, "/other", http.StatusFound)
					return
				}
				fmt.Fprintf(w, description, "/control")
			}
		}},
		{"a control URL", func(g *fakeGateway) { g.wanURL = elsewhere }},
		{"a description without end", func(g *fakeGateway) {
			g.page = func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><!--`)
				for range 2 * upnpBodyMax / 1024 {
					fmt.Fprint(w, strings.Repeat("x", 1024))
				}
				fmt.Fprintf(w, "-->"+strings.TrimPrefix(description, `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">`), "/control")
			}
		}},
		{"an address that no gateway has", func(g *fakeGateway) { g.external = netip.MustParseAddr("127.0.0.1") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t, UPnP)
			if g.Addr == g.Local {
				t.Skip("needs a second loopback address")
			}
			g.change(func() { test.setUp(g) })
			if granted, err := ask(t, g.protocol(UPnP), hostileBudget); err == nil {
				t.Errorf("believed: %+v", granted)
			}
			select {
			case path := <-touched:
				t.Errorf("another host was asked for %s", path)
			default:
			}
		})
	}
}

func TestLocationsThatAreBelieved(t *testing.T) {
	const ok = "HTTP/1.1 200 OK"
	for _, test := range []struct {
		from, status, location string
		heard                  bool
		first                  bool // before others on the link are believed
	}{
		{"192.168.1.1", ok, "http://192.168.1.1:5000/x", true, true},
		{"192.168.1.1", ok, "http://192.168.1.9:5000/x", true, false},
		{"192.168.1.9", ok, "http://192.168.1.9:5000/x", true, false},
		{"192.168.1.9", ok, "http://192.168.1.1:5000/x", true, true},
		{"192.168.2.9", ok, "http://192.168.1.1:5000/x", false, false},
		{"20.0.0.1", ok, "http://192.168.1.1:5000/x", false, false},
		{"192.168.1.1", ok, "http://20.0.0.1:5000/x", false, false},
		{"192.168.1.1", ok, "http://127.0.0.1:5000/x", false, false},
		{"192.168.1.1", ok, "http://router.example/x", false, false},
		{"192.168.1.1", ok, "https://192.168.1.1/x", false, false},
		{"192.168.1.1", ok, "ftp://192.168.1.1/x", false, false},
		{"192.168.1.1", ok, "", false, false},
		{"192.168.1.1", "HTTP/1.1 404 Not Found", "http://192.168.1.1:5000/x", false, false},
		{"192.168.1.1", "M-SEARCH * HTTP/1.1", "http://192.168.1.1:5000/x", false, false},
	} {
		l := locations{gateway: home}
		for range 2 { // of which the second says nothing new
			l.add([]byte(test.status+"\r\nLocation: "+test.location+"\r\n\r\n"), netip.MustParseAddr(test.from))
		}
		if first := l.next() != nil; first != test.first {
			t.Errorf("%s from %s is used at once: %v", test.location, test.from, first)
		}
		l.anybody = true
		if used := l.next() != nil; (used || test.first) != test.heard || used && test.first {
			t.Errorf("%s from %s is used later: %v", test.location, test.from, used)
		}
	}
}

func TestLocationsAreFew(t *testing.T) {
	l := locations{gateway: home, anybody: true}
	for i := range 100 {
		l.add(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nLocation: http://192.168.1.9:%d/\r\n\r\n", i), home.Addr)
	}
	l.add([]byte("HTTP/1.1 200 OK\r\nLocation: http://192.168.1.1/\r\n\r\n"), home.Addr)
	n, gateway := 0, false
	for u := l.next(); u != nil; u = l.next() {
		n++
		gateway = gateway || u.Hostname() == home.Addr.String()
	}
	if n != locationsMax || !gateway {
		t.Errorf("%d locations, of the gateway too: %v", n, gateway)
	}
}

func TestGatewayMayServeOnItsLinkOnly(t *testing.T) {
	public := Gateway{netip.MustParseAddr("20.0.0.1"), netip.MustParseAddr("20.0.0.5"), netip.MustParsePrefix("20.0.0.0/24")}
	for _, test := range []struct {
		g    Gateway
		ip   string
		want bool
	}{
		{home, "192.168.1.1", true},
		{home, "192.168.1.9", true},
		{home, "192.168.2.1", false},
		{home, "192.168.1.5", false}, // ourselves
		{home, "127.0.0.1", false},
		{home, "20.0.0.1", false},
		{public, "20.0.0.1", true},
		{public, "20.0.0.9", false}, // on the link, and not private
	} {
		if got := test.g.mayServe(netip.MustParseAddr(test.ip)); got != test.want {
			t.Errorf("%s beside %v: %v", test.ip, test.g.Addr, got)
		}
	}
}

// The lookup itself depends on the machine; that it ends well or says why does
// not.
func TestDefaultGateway(t *testing.T) {
	g, err := DefaultGateway()
	if err == nil && (!g.Addr.Is4() || !g.Local.Is4()) {
		t.Errorf("%+v", g)
	}
	t.Log(g, err)
}
