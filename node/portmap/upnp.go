package portmap

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/dcps/internetgateway2"
	"github.com/huin/goupnp/soap"
)

// A wanConnection is the service that maps ports: WANIPConnection, version 1 or
// 2, or WANPPPConnection.
type wanConnection interface {
	GetExternalIPAddressCtx(ctx context.Context) (string, error)
	AddPortMappingCtx(ctx context.Context, remoteHost string, external uint16, protocol string, internal uint16,
		client string, enabled bool, description string, leaseSeconds uint32) error
	GetSpecificPortMappingEntryCtx(ctx context.Context, remoteHost string, external uint16, protocol string) (
		internal uint16, client string, enabled bool, description string, leaseSeconds uint32, err error)
	DeletePortMappingCtx(ctx context.Context, remoteHost string, external uint16, protocol string) error
}

// Error codes of AddPortMapping (WANIPConnection:1 §2.4.16).
const (
	upnpConflict      = 718 // the external port is mapped to another machine
	upnpSamePort      = 724 // the external port must be the internal one
	upnpPermanentOnly = 725 // no leases
)

const (
	upnpBodyMax   = 128 << 10
	upnpHeaderMax = 16 << 10
	upnpPortTries = 3
	upnpUDP       = "UDP"
	upnpName      = "holdfast" // told to people who look at the mappings of their router
)

// A upnpClient asks by UPnP.
type upnpClient struct {
	gateway Gateway
	port    uint16
	ssdp    []netip.AddrPort
	service wanConnection // nil if none was found
}

func (c *upnpClient) name() string { return UPnP }

func (c *upnpClient) probe(ctx context.Context) error {
	c.service = nil
	err := errSilent
	locate(ctx, c.gateway, c.ssdp, func(u *url.URL) bool {
		c.service, err = describe(ctx, u)
		return err == nil
	})
	return err
}

func (c *upnpClient) request(ctx context.Context, wish netip.AddrPort) (g grant, err error) {
	ip, err := c.external(ctx)
	if err != nil {
		return g, err
	}
	port := wish.Port()
	if port == 0 {
		port = c.port
	}
	for range upnpPortTries {
		if g.lease, err = c.add(ctx, port); upnpCode(err) != upnpConflict {
			break
		}
		port = uint16(20000 + rand.IntN(40000))
	}
	if err != nil {
		return grant{}, upnpError(err)
	}
	g.external = netip.AddrPortFrom(ip, port)
	if !plausible(g.external) {
		return grant{}, errImplausible
	}
	return g, nil
}

// add asks for a mapping, a permanent one where there are no others. Version 1 of
// the service does not say what it grants: what was asked for, or an error.
func (c *upnpClient) add(ctx context.Context, port uint16) (lease time.Duration, err error) {
	lease = leaseWanted
	err = c.addFor(ctx, port, lease)
	if upnpCode(err) == upnpPermanentOnly {
		lease = 0
		err = c.addFor(ctx, port, lease)
	}
	return lease, err
}

func (c *upnpClient) addFor(ctx context.Context, port uint16, lease time.Duration) error {
	return c.service.AddPortMappingCtx(ctx, "", port, upnpUDP, c.port, c.gateway.Local.String(), true, upnpName, uint32(lease/time.Second))
}

func (c *upnpClient) external(ctx context.Context) (netip.Addr, error) {
	text, err := c.service.GetExternalIPAddressCtx(ctx)
	if err != nil {
		return netip.Addr{}, upnpError(err)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, errImplausible // routers that are offline say "" or 0.0.0.0
	}
	return ip, nil
}

// lost looks for the mapping, as UPnP has no epoch.
func (c *upnpClient) lost(ctx context.Context, g grant) bool {
	ip, err := c.external(ctx)
	if err != nil {
		return false
	}
	port, client, _, _, _, err := c.service.GetSpecificPortMappingEntryCtx(ctx, "", g.external.Port(), upnpUDP)
	if err != nil {
		return upnpCode(err) != 0
	}
	return ip != g.external.Addr() || port != c.port || client != c.gateway.Local.String()
}

// release deletes the mapping. Without a grant it does not know which: the port
// may be another machine's.
func (c *upnpClient) release(ctx context.Context, g grant) error {
	if c.service == nil || !g.external.IsValid() {
		return errSilent
	}
	return upnpError(c.service.DeletePortMappingCtx(ctx, "", g.external.Port(), upnpUDP))
}

// describe reads the description of a device and returns its connection to the
// internet. What it says may lead nowhere but to the address that it came from.
func describe(ctx context.Context, location *url.URL) (wanConnection, error) {
	client := clientFor(location.Hostname())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the description of the gateway: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the description of the gateway: HTTP status %d", answer.StatusCode)
	}
	root := new(goupnp.RootDevice)
	d := xml.NewDecoder(answer.Body)
	d.DefaultSpace = goupnp.DeviceXMLNamespace
	if err := d.Decode(root); err != nil {
		return nil, fmt.Errorf("the description of the gateway: %w", err)
	}
	base := location
	if u, err := url.Parse(root.URLBaseStr); err == nil && u.IsAbs() {
		base = u
	}
	root.SetURLBase(base)
	return wanConnectionOf(root, location, client)
}

var errNoService = errors.New("the gateway has no service that maps ports")

func wanConnectionOf(root *goupnp.RootDevice, location *url.URL, client http.Client) (wanConnection, error) {
	for _, urn := range []string{
		internetgateway2.URN_WANIPConnection_2,
		internetgateway2.URN_WANIPConnection_1,
		internetgateway2.URN_WANPPPConnection_1,
	} {
		services, err := goupnp.NewServiceClientsFromRootDevice(root, location, urn)
		if err != nil {
			continue
		}
		s := services[0]
		s.SOAPClient.HTTPClient = client
		switch urn {
		case internetgateway2.URN_WANIPConnection_2:
			return &internetgateway2.WANIPConnection2{ServiceClient: s}, nil
		case internetgateway2.URN_WANIPConnection_1:
			return &internetgateway2.WANIPConnection1{ServiceClient: s}, nil
		default:
			return &internetgateway2.WANPPPConnection1{ServiceClient: s}, nil
		}
	}
	return nil, errNoService
}

// errElsewhere reports a URL that leads away from the gateway.
var errElsewhere = errors.New("portmap: UPnP leads to another host")

// clientFor returns an HTTP client that talks to one address, through no proxy,
// follows nothing, keeps no connection, and reads only so much.
func clientFor(host string) http.Client {
	var d net.Dialer
	return http.Client{
		Timeout:       searchMax,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: limited{&http.Transport{
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: upnpHeaderMax,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if h, _, err := net.SplitHostPort(addr); err != nil || h != host {
					return nil, errElsewhere
				}
				return d.DialContext(ctx, network, addr)
			},
		}},
	}
}

// limited bounds what is read of an answer.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, upnpBodyMax)
	}
	return answer, err
}

// upnpCode returns the error code that a gateway gave, or 0.
func upnpCode(err error) int {
	var fault *soap.SOAPFaultError
	if errors.As(err, &fault) {
		return fault.Detail.UPnPError.Errorcode
	}
	return 0
}

// upnpError makes an error for people. The rest of what a gateway writes is not
// worth their trust; without a code it is no answer.
func upnpError(err error) error {
	if err == nil {
		return nil
	}
	switch code := upnpCode(err); code {
	case 0:
		return errSilent
	case upnpConflict, upnpSamePort:
		return fmt.Errorf("the port is mapped to another machine (error %d)", code)
	default:
		return fmt.Errorf("the gateway refuses (error %d)", code)
	}
}
