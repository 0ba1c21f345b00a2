package portmap

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// ssdpGroup is where devices listen (UPnP Device Architecture 1.1 §1.3.2).
var ssdpGroup = netip.MustParseAddrPort("239.255.255.250:1900")

const (
	ssdpSearch = "M-SEARCH * HTTP/1.1\r\n" +
		"HOST: 239.255.255.250:1900\r\n" +
		"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n" + // version 2 answers too
		"MAN: \"ssdp:discover\"\r\n" +
		"MX: 1\r\n\r\n"

	ssdpResend   = 200 * time.Millisecond
	ssdpWait     = 300 * time.Millisecond // for the gateway, before others on the link are believed
	locationsMax = 4
)

// locate asks for gateway devices and calls use with the location of each, those
// on the gateway itself first, until use has found what it wants. The package
// ssdp of goupnp would log what it cannot read, and wait until the end.
func locate(ctx context.Context, g Gateway, to []netip.AddrPort, use func(*url.URL) bool) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.Local, 0)))
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if to == nil {
		to = []netip.AddrPort{netip.AddrPortFrom(g.Addr, ssdpGroup.Port()), ssdpGroup}
	}
	send := func() {
		for _, a := range to {
			conn.WriteToUDPAddrPort([]byte(ssdpSearch), a) // the other one may get through
		}
	}
	send()
	resend := time.AfterFunc(ssdpResend, send)
	defer resend.Stop()

	conn.SetReadDeadline(time.Now().Add(ssdpWait))
	l := locations{gateway: g}
	buf := make([]byte, 2048)
	for answers := 0; answers < answersMax; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if isTimeout(err) && !l.anybody {
			l.anybody = true
			conn.SetReadDeadline(time.Time{}) // the context ends it
		} else if err != nil {
			return
		} else {
			answers++
			l.add(buf[:n], from.Addr().Unmap())
		}
		for u := l.next(); u != nil; u = l.next() {
			if use(u) {
				return
			}
		}
	}
}

// locations are those heard of.
type locations struct {
	gateway Gateway
	anybody bool // believe others than the gateway too
	heard   []*url.URL
	used    [locationsMax]bool
}

// add takes an answer, if it is one and comes from where a gateway may be.
func (l *locations) add(answer []byte, from netip.Addr) {
	if !l.gateway.mayServe(from) || len(l.heard) == locationsMax {
		return
	}
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil {
		return
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return
	}
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil || u.Scheme != "http" {
		return
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil || !l.gateway.mayServe(ip) {
		return
	}
	if len(l.heard) == locationsMax-1 && ip != l.gateway.Addr {
		return // the last place is the gateway's, whoever else talks much
	}
	for _, known := range l.heard {
		if known.String() == u.String() {
			return
		}
	}
	l.heard = append(l.heard, u)
}

// next returns a location to try, or nil.
func (l *locations) next() *url.URL {
	for i, u := range l.heard {
		if !l.used[i] && (l.anybody || u.Hostname() == l.gateway.Addr.String()) {
			l.used[i] = true
			return u
		}
	}
	return nil
}
