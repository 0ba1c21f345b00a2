package portmap

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"time"
)

// gatewayPort is where gateways listen for PCP and NAT-PMP (RFC 6887 §19.1).
const gatewayPort = 5351

// pcpResends are the times to send a request again. RFC 6887 §8.1.1 begins at 3 s
// because a PCP server can be anywhere; this one is the next hop, and the search
// as a whole is repeated far more slowly than that.
var pcpResends = []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond}

// answersMax is how many datagrams are read in wait for the right one.
const answersMax = 64

// A pcpClient asks by PCP.
type pcpClient struct {
	gateway Gateway
	port    uint16
	nonce   pcpNonce
	epoch   epoch
}

func newPCPClient(g Gateway, port uint16) *pcpClient {
	c := &pcpClient{gateway: g, port: port}
	rand.Read(c.nonce[:]) // never fails
	return c
}

func (c *pcpClient) name() string { return PCP }

// probe announces, which changes nothing. A gateway that does not know the opcode
// may know MAP.
func (c *pcpClient) probe(ctx context.Context) error {
	r, err := c.exchange(ctx, appendPCPAnnounce(nil, c.gateway.Local), pcpOpAnnounce)
	if err != nil {
		return err
	}
	switch r.result {
	case pcpSuccess, pcpUnsuppOp:
	case pcpUnsuppVers: // that was the NAT-PMP of it
		return errSilent
	default:
		return r.result
	}
	c.epoch.lostPCP(r.epoch, time.Now())
	return nil
}

func (c *pcpClient) request(ctx context.Context, wish netip.AddrPort) (g grant, err error) {
	r, err := c.exchangeMap(ctx, wish, leaseWanted)
	if err != nil {
		return g, err
	}
	g = grant{external: r.mapped.external, lease: r.lifetime}
	g.restarted = c.epoch.lostPCP(r.epoch, time.Now())
	if g.lease == 0 || !plausible(g.external) {
		return grant{}, errImplausible
	}
	return g, nil
}

// lost looks at the epoch, which comes with any answer. A gateway MUST reset it
// when its external address changes too (RFC 6887 §8.5); of one that does not, the
// next renewal tells.
func (c *pcpClient) lost(ctx context.Context, _ grant) bool {
	r, err := c.exchange(ctx, appendPCPAnnounce(nil, c.gateway.Local), pcpOpAnnounce)
	if err != nil || r.result == pcpUnsuppVers {
		return false
	}
	return c.epoch.lostPCP(r.epoch, time.Now())
}

func (c *pcpClient) release(ctx context.Context, _ grant) error {
	_, err := c.exchangeMap(ctx, netip.AddrPort{}, 0)
	return err
}

// exchangeMap sends a MAP request and returns the answer of success.
func (c *pcpClient) exchangeMap(ctx context.Context, wish netip.AddrPort, lifetime time.Duration) (r pcpResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestBudget)
	defer cancel()
	m := pcpMap{nonce: c.nonce, internal: c.port, external: wish}
	r, err = c.exchange(ctx, appendPCPMap(nil, m, lifetime, c.gateway.Local), pcpOpMap)
	if err == nil && r.result != pcpSuccess {
		err = r.result
	}
	return r, err
}

// exchange sends a request until its answer comes or the context ends. The socket
// is connected: it takes datagrams of the gateway's port alone.
func (c *pcpClient) exchange(ctx context.Context, request []byte, op byte) (r pcpResponse, err error) {
	conn, err := dialGateway(ctx, c.gateway)
	if err != nil {
		return r, errSilent
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	began := time.Now()
	buf := make([]byte, pcpMessageLenMax+1)
	answers := 0
	for i := range pcpResends {
		if _, err := conn.Write(request); err != nil {
			return r, errSilent
		}
		next := began.Add(time.Hour) // the context ends before
		if i+1 < len(pcpResends) {
			next = began.Add(pcpResends[i+1])
		}
		conn.SetReadDeadline(next)
		for {
			n, err := conn.Read(buf)
			if isTimeout(err) {
				break
			}
			if answers++; err != nil || answers > answersMax {
				return r, errSilent // it says that nobody listens, or talks nonsense
			}
			if r, err := parsePCP(buf[:n]); err == nil && c.isAnswer(r, op) {
				return r, nil
			}
		}
	}
	return r, errSilent
}

// isAnswer reports whether a response is to the open request (RFC 6887 §8.3,
// §11.4).
func (c *pcpClient) isAnswer(r pcpResponse, op byte) bool {
	if r.result == pcpUnsuppVers {
		return true
	}
	return r.op == op && (op != pcpOpMap || r.mapped.nonce == c.nonce && r.mapped.internal == c.port)
}

func dialGateway(ctx context.Context, g Gateway) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(g.Local, 0))}
	return d.DialContext(ctx, "udp4", netip.AddrPortFrom(g.Addr, gatewayPort).String())
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
