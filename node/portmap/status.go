package portmap

import (
	"net/netip"
	"slices"
	"time"
)

// Protocols, in the order of preference. Beside being newer, those on top need
// fewer datagrams and no XML.
const (
	PCP    = "PCP"     // RFC 6887
	NATPMP = "NAT-PMP" // RFC 6886
	UPnP   = "UPnP"    // UPnP Internet Gateway Device, version 1 or 2
)

// A Status is what is known of the mapping.
type Status struct {
	// Searched is set once the first search since Start is over.
	Searched bool `json:"searched"`
	// Protocol is the one that granted the mapping, or "".
	Protocol string `json:"protocol,omitempty"`
	// External is the address that is mapped to the port, or zero.
	External netip.AddrPort `json:"external,omitzero"`
	// DoubleNAT is set if the gateway is behind another NAT: its external address
	// is private (RFC 1918) or shared (RFC 6598), and not to be offered as public.
	DoubleNAT bool `json:"double_nat,omitempty"`
	// Lease is for how long the mapping was last granted, and Expires when that
	// is over. Both are zero if there is none, or it never expires.
	Lease   time.Duration `json:"lease_ns,omitempty"`
	Expires time.Time     `json:"expires,omitzero"`
	// Answered are the protocols that some gateway answered in the last search,
	// if only to refuse.
	Answered []string `json:"answered,omitempty"`
	// Error says to people why there is no mapping; "" if there is one.
	Error string `json:"error,omitempty"`
}

// equal reports whether there is nothing new in t for whoever knows s.
func (s *Status) equal(t *Status) bool {
	return s.Searched == t.Searched && s.Protocol == t.Protocol && s.External == t.External &&
		s.DoubleNAT == t.DoubleNAT && s.Lease == t.Lease && s.Expires.Equal(t.Expires) &&
		s.Error == t.Error && slices.Equal(s.Answered, t.Answered)
}
