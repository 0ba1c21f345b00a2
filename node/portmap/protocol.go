package portmap

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// A protocol is one way to ask one gateway for the mapping. Its methods block
// until the context ends at the latest, but for the quarter of a second that the
// library of NAT-PMP takes to notice. They are never called concurrently.
type protocol interface {
	name() string
	// probe asks whether the gateway speaks the protocol. It returns errSilent if
	// nobody answered, and another error if the answer was a refusal.
	probe(ctx context.Context) error
	// request asks for the mapping, or renews it. The wish is an external address
	// that would be welcome, or zero.
	request(ctx context.Context, wish netip.AddrPort) (grant, error)
	// lost asks whether the gateway forgot the mapping or changed its address. No
	// answer is no loss.
	lost(ctx context.Context, g grant) bool
	// release deletes the mapping.
	release(ctx context.Context, g grant) error
}

// A grant is a mapping that a gateway says to have made.
type grant struct {
	external  netip.AddrPort
	lease     time.Duration // zero if it never expires
	restarted bool          // the gateway had lost its state since it was last heard
}

var (
	errSilent      = errors.New("no answer")
	errUnanswered  = errors.New("the gateway did not answer the request for a mapping")
	errImplausible = errors.New("the gateway grants an address that it cannot have")
)

const (
	leaseWanted   = 2 * time.Hour
	requestBudget = 250 * time.Millisecond // for the answer of a gateway that has answered before
)

// protocolsOf returns all protocols in the order of preference.
func protocolsOf(g Gateway, port uint16, ssdp []netip.AddrPort) []protocol {
	return []protocol{newPCPClient(g, port), &natpmpClient{gateway: g, port: port}, &upnpClient{gateway: g, port: port, ssdp: ssdp}}
}
