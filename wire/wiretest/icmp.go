package wiretest

import "time"

// refusal returns what a NAT sends to the source of a datagram that it refuses:
// an ICMP error (RFC 1812 §5.2.7.1), here a datagram in the other direction that
// carries nothing. Nobody answers it in turn.
func (n *Net) refusal(now time.Duration, by *NAT, f *flight) *flight {
	r := &flight{from: f.to, to: f.from, ttl: DefaultTTL, refusal: true}
	r.serial = n.ladder.sent(now, by.Name, r)
	n.ladder.note(r.serial, "ICMP")
	return r
}

// refusalOut translates the error of a NAT inside this one. It makes no mapping.
func (b *NAT) refusalOut(now time.Duration, f *flight) {
	for _, m := range b.mappings[tuple{f.from, b.cfg.Mapping.key(f.to)}] {
		if b.live(now, m) {
			f.from = m.external
			b.net.transmit(now, b.Up, f, hop{up: true, at: b.behind})
			return
		}
	}
	b.net.end(now, f, NoMapping, b.Name)
}

// refusalIn takes an error back to the inside host whose flow it is about. It
// refreshes nothing.
func (b *NAT) refusalIn(now time.Duration, f *flight) {
	fl, m := flow{}, b.byExternal[f.to]
	if m != nil {
		fl = b.flows[tuple{m.inside, f.from}]
	}
	if fl.m == nil || fl.m != m || !b.live(now, m) || now >= fl.s.expires {
		b.net.end(now, f, NoMapping, b.Name)
		return
	}
	f.to = m.inside
	b.net.descend(now, b, f)
}
