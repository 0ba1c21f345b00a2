package portmap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	natpmp "github.com/jackpal/go-nat-pmp"
)

// natpmpSlice is how long one call of the library lasts at most: it cannot be
// interrupted. It sends once in that time, as RFC 6886 §3.1 begins.
const natpmpSlice = 250 * time.Millisecond

// A natpmpClient asks by NAT-PMP.
type natpmpClient struct {
	gateway Gateway
	port    uint16
	epoch   epoch
}

func (c *natpmpClient) name() string { return NATPMP }

func (c *natpmpClient) probe(ctx context.Context) error {
	_, _, err := c.external(ctx)
	return err
}

func (c *natpmpClient) request(ctx context.Context, wish netip.AddrPort) (g grant, err error) {
	ip, restarted, err := c.external(ctx)
	if err != nil {
		return g, err
	}
	r, err := c.mapPort(ctx, wish.Port(), leaseWanted)
	if err != nil {
		return g, err
	}
	g.external = netip.AddrPortFrom(ip, r.MappedExternalPort)
	g.lease = time.Duration(r.PortMappingLifetimeInSeconds) * time.Second
	g.restarted = c.epoch.lostNATPMP(r.SecondsSinceStartOfEpoc, time.Now()) || restarted
	if r.InternalPort != c.port || g.lease == 0 || !plausible(g.external) {
		return grant{}, errImplausible
	}
	return g, nil
}

func (c *natpmpClient) lost(ctx context.Context, g grant) bool {
	ip, restarted, err := c.external(ctx)
	return err == nil && (restarted || ip != g.external.Addr())
}

func (c *natpmpClient) release(ctx context.Context, _ grant) error {
	_, err := c.mapPort(ctx, 0, 0) // RFC 6886 §3.4
	return err
}

// external asks for the external address, and whether the gateway restarted.
func (c *natpmpClient) external(ctx context.Context) (ip netip.Addr, restarted bool, err error) {
	err = c.call(ctx, func(lib *natpmp.Client) error {
		r, err := lib.GetExternalAddress()
		if err != nil {
			return err
		}
		ip = netip.AddrFrom4(r.ExternalIPAddress)
		restarted = c.epoch.lostNATPMP(r.SecondsSinceStartOfEpoc, time.Now())
		return nil
	})
	return ip, restarted, err
}

func (c *natpmpClient) mapPort(ctx context.Context, wish uint16, lease time.Duration) (r *natpmp.AddPortMappingResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestBudget)
	defer cancel()
	if lease > 0 && wish == 0 {
		wish = c.port // RFC 6886 §3.3: the same as inside, if there is no other wish
	}
	err = c.call(ctx, func(lib *natpmp.Client) error {
		r, err = lib.AddPortMapping("udp", int(c.port), int(wish), int(lease/time.Second))
		return err
	})
	return r, err
}

// call makes a call of the library again and again until there is an answer, or
// the context ends.
func (c *natpmpClient) call(ctx context.Context, f func(*natpmp.Client) error) error {
	for ctx.Err() == nil {
		budget := natpmpSlice
		if end, ok := ctx.Deadline(); ok {
			budget = min(budget, time.Until(end))
		}
		if budget <= 0 {
			break
		}
		err := f(natpmp.NewClientWithLocalAndTimeout(c.gateway.Addr.AsSlice(), c.gateway.Local.AsSlice(), budget))
		var system *net.OpError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &system): // nobody listens there
			return errSilent
		case !strings.HasPrefix(err.Error(), "Timed out"): // the library has no value for it
			return err
		}
	}
	return errSilent
}
