package rendezvous

import (
	"net/netip"
	"time"

	"github.com/seed-67dce94e/holdfast/session/limit"
)

// Limits of what clients can make the server hold or do.
const (
	clientsMax = 65536

	// A session that does not register is closed.
	registerTimeout = 10 * time.Second

	// While less is known of peers than a restart ago, absence is not final:
	// nodes are asked to try again for this long.
	settleTime  = 10 * time.Second
	settleRetry = time.Second

	strangersPart = 8  // the part of what a client is relayed that may come from whom it has not sent to
	calledMax     = 32 // whom a client has sent to

	pendingMax           = 1 << 16 // introductions that wait for the invited
	introductionsTracked = 1 << 18 // pairs in the pair limit
	networksTracked      = 1 << 16 // networks in the limit of new sessions
)

// Rates of what one client may ask, and of what it may be asked. A node whose
// network changed introduces itself to all its peers at once, hence the bursts;
// a session whose two ends keep moving is introduced again and again, hence the
// rate per pair.
var (
	controlRate   = limit.Rate{PerSecond: 20, Burst: 128} // messages of a client
	introduceRate = limit.Rate{PerSecond: 4, Burst: 64}   // introductions asked by a client
	targetRate    = limit.Rate{PerSecond: 8, Burst: 64}   // introductions to a client
	pairRate      = limit.Rate{PerSecond: 0.5, Burst: 5}  // introductions of one peer to one other
	goneRate      = limit.Rate{PerSecond: 1, Burst: 3}    // GONE notices to a client
	sessionRate   = limit.Rate{PerSecond: 2, Burst: 64}   // new sessions from an IPv4 address or IPv6 /56
	network48Rate = limit.Rate{PerSecond: 5, Burst: 256}  // new sessions from an IPv6 /48
)

// A networkLimit bounds the sessions that one network may hold. When more than
// half of all places are taken, crowded applies to new ones.
type networkLimit struct {
	bits              int
	sessions, crowded int
}

var (
	networkLimits4 = []networkLimit{{32, 64, 8}}
	networkLimits6 = []networkLimit{{64, 16, 8}, {56, 64, 8}, {48, 256, 64}}
)

func networkLimits(ip netip.Addr) []networkLimit {
	if ip.Is4() {
		return networkLimits4
	}
	return networkLimits6
}
