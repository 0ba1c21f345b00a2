package wiretest

import "time"

// Join attaches the host to a named segment of the network that it is in. A
// multicast reaches the hosts of one segment. All hosts behind a NAT are on one,
// unless they join others; those on the internet are on none, until they join
// the same, as machines do in one rack. A host that moves leaves its segment.
func (h *Host) Join(segment string) { h.segment = segment }

// multicast takes a datagram to all other hosts of the sender's segment. It goes
// no further: routers do not forward it.
func (n *Net) multicast(now time.Duration, from hop, f *flight) {
	reached := false
	for _, h := range n.hosts {
		if _, speaks := h.Addr(f.to.Addr()); speaks && n.neighbours(from.by, h) {
			reached = true
			n.transmit(now, h.Down, f.copy(), hop{to: h})
		}
	}
	if !reached {
		n.end(now, f, NoRoute, "")
	}
}

func (n *Net) neighbours(a, b *Host) bool {
	return a != b && a.behind == b.behind && a.segment == b.segment && (a.behind != nil || a.segment != "")
}
