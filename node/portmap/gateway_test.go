package portmap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeGateway answers on loopback, in real time, as the gateways of people do.
type fakeGateway struct {
	Gateway
	t       *testing.T
	control *net.UDPConn // of PCP and NAT-PMP
	ssdp    *net.UDPConn
	web     *httptest.Server

	mu       sync.Mutex
	speaks   map[string]bool
	external netip.Addr
	began    time.Time         // of its epoch
	mapped   map[uint16]uint16 // external port to internal
	heard    int               // datagrams
	tamper   func(reply []byte) [][]byte
	location string           // told by SSDP
	faults   map[uint16]int   // of AddPortMapping, by external port
	leases   func(string) int // fault of AddPortMapping, by lease
	page     http.HandlerFunc // in place of the description
	wanURL   string           // of the service
}

func newGateway(t *testing.T, speaks ...string) *fakeGateway {
	t.Helper()
	g := &fakeGateway{
		t: t, speaks: make(map[string]bool), external: netip.MustParseAddr("203.0.113.5"),
		began: time.Now().Add(-time.Hour), mapped: make(map[uint16]uint16), wanURL: "/control",
	}
	for _, p := range speaks {
		g.speaks[p] = true
	}
	g.Local = netip.MustParseAddr("127.0.0.1")
	g.Addr = g.Local
	if runtime.GOOS == "linux" { // where all of 127.0.0.0/8 is ours
		g.Addr = netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(256)), byte(1 + rand.IntN(250))})
	}
	g.control = g.listen(gatewayPort)
	g.ssdp = g.listen(0)
	l, err := net.Listen("tcp4", netip.AddrPortFrom(g.Addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	g.web = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(g.serveHTTP)}}
	g.web.Start()
	t.Cleanup(g.web.Close)
	g.location = "http://" + l.Addr().String() + "/description.xml"
	g.serve(g.control, g.answerControl)
	g.serve(g.ssdp, g.answerSSDP)
	return g
}

func (g *fakeGateway) listen(port uint16) *net.UDPConn {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.Addr, port)))
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

// serve answers each datagram with what answer returns, until the test ends.
func (g *fakeGateway) serve(c *net.UDPConn, answer func([]byte) [][]byte) {
	var running sync.WaitGroup
	g.t.Cleanup(running.Wait)
	g.t.Cleanup(func() { c.Close() })
	running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, b := range answer(buf[:n]) {
				c.WriteToUDPAddrPort(b, from)
			}
		}
	})
}

func (g *fakeGateway) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// mappings returns what the gateway maps: external port to internal.
func (g *fakeGateway) mappings() (m map[uint16]uint16) {
	g.change(func() { m = maps.Clone(g.mapped) })
	return m
}

// restart forgets everything, as after a power cut.
func (g *fakeGateway) restart() {
	g.change(func() { g.began = time.Now(); clear(g.mapped) })
}

func (g *fakeGateway) answerControl(b []byte) (replies [][]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heard++
	var reply []byte
	switch {
	case b[0] == pcpVersion && g.speaks[PCP]:
		reply = g.answerPCP(b)
	case b[0] == pcpVersion && g.speaks[NATPMP]:
		reply = unhex(g.t, natpmpRefusal)
	case b[0] == 0 && g.speaks[NATPMP]:
		reply = g.answerNATPMP(b)
	default:
		return nil
	}
	if g.tamper != nil {
		return g.tamper(reply)
	}
	return [][]byte{reply}
}

func (g *fakeGateway) epoch() uint32 { return uint32(time.Since(g.began) / time.Second) }

// mapPort maps a port, or deletes the mapping, and returns the external one.
func (g *fakeGateway) mapPort(internal, wish uint16, lease uint32) uint16 {
	for e, i := range g.mapped {
		if i == internal {
			delete(g.mapped, e)
			wish = e
		}
	}
	if lease == 0 {
		return 0
	}
	if wish == 0 {
		wish = 40000
	}
	g.mapped[wish] = internal
	return wish
}

func (g *fakeGateway) answerPCP(b []byte) []byte {
	reply := bytes.Clone(b)
	reply[1] |= pcpResponseBit
	clear(reply[8:24])
	binary.BigEndian.PutUint32(reply[8:], g.epoch())
	if b[1] == pcpOpMap {
		internal, wish := binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint16(b[42:])
		binary.BigEndian.PutUint16(reply[42:], g.mapPort(internal, wish, binary.BigEndian.Uint32(b[4:])))
		ip := g.external.As16()
		copy(reply[44:], ip[:])
	}
	return reply
}

func (g *fakeGateway) answerNATPMP(b []byte) []byte {
	reply := []byte{0, b[1] | 0x80, 0, 0}
	reply = binary.BigEndian.AppendUint32(reply, g.epoch())
	if b[1] == 0 {
		return append(reply, g.external.AsSlice()...)
	}
	internal, wish := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	external := g.mapPort(internal, wish, binary.BigEndian.Uint32(b[8:]))
	reply = binary.BigEndian.AppendUint16(reply, internal)
	reply = binary.BigEndian.AppendUint16(reply, external)
	return append(reply, b[8:12]...)
}

func (g *fakeGateway) answerSSDP(b []byte) [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.speaks[UPnP] || !strings.HasPrefix(string(b), "M-SEARCH * HTTP/1.1\r\n") {
		return nil
	}
	return [][]byte{
		[]byte("NOTIFY garbage"),
		[]byte("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n" +
			"USN: uuid:1\r\nLOCATION: " + g.location + "\r\n\r\n"),
	}
}

const description = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType>
<serviceList><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<controlURL>%s</controlURL></service></serviceList></device></deviceList></device></deviceList></device></root>`

const envelope = `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>`

func (g *fakeGateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPACTION"), `"`), "#")
	arg := func(name string) string {
		m := regexp.MustCompile("<" + name + ">(.*)</" + name + ">").FindStringSubmatch(string(body))
		if m == nil {
			return ""
		}
		return m[1]
	}
	var external, internal uint16
	fmt.Sscan(arg("NewExternalPort"), &external)
	fmt.Sscan(arg("NewInternalPort"), &internal)
	switch {
	case r.Method == http.MethodGet && g.page != nil:
		g.page(w, r)
	case r.Method == http.MethodGet:
		fmt.Fprintf(w, description, g.wanURL)
	case action == "GetExternalIPAddress":
		reply(w, action, "<NewExternalIPAddress>"+g.external.String()+"</NewExternalIPAddress>")
	case action == "AddPortMapping" && g.faults[external] != 0:
		fault(w, g.faults[external])
	case action == "AddPortMapping" && g.leases != nil && g.leases(arg("NewLeaseDuration")) != 0:
		fault(w, g.leases(arg("NewLeaseDuration")))
	case action == "AddPortMapping":
		g.mapped[external] = internal
		reply(w, action, "")
	case action == "GetSpecificPortMappingEntry" && g.mapped[external] != 0:
		reply(w, action, fmt.Sprintf("<NewInternalPort>%d</NewInternalPort><NewInternalClient>127.0.0.1</NewInternalClient>"+
			"<NewEnabled>1</NewEnabled><NewPortMappingDescription>x</NewPortMappingDescription><NewLeaseDuration>9</NewLeaseDuration>", g.mapped[external]))
	case action == "DeletePortMapping" && g.mapped[external] != 0:
		delete(g.mapped, external)
		reply(w, action, "")
	default:
		fault(w, 714) // NoSuchEntryInArray
	}
}

func reply(w http.ResponseWriter, action, args string) {
	fmt.Fprintf(w, envelope, `<u:`+action+`Response xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">`+args+`</u:`+action+`Response>`)
}

func fault(w http.ResponseWriter, code int) {
	w.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(w, envelope, fmt.Sprintf(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>`+
		`<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode></UPnPError></detail></s:Fault>`, code))
}

// start runs a client of the gateway, which is closed at the end.
func (g *fakeGateway) start() (*Client, chan Status) {
	told := make(chan Status, 64)
	c := Start(Config{
		Port:     4000,
		OnChange: func(s Status) { told <- s },
		Gateway:  func() (Gateway, error) { return g.Gateway, nil },
		ssdp:     []netip.AddrPort{netip.MustParseAddrPort(g.ssdp.LocalAddr().String())},
	})
	g.t.Cleanup(func() { c.Close() })
	return c, told
}
