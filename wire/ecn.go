package wire

// An ECN is the codepoint in the IP header of a datagram (RFC 3168 §5). It is on
// the wire, but outside the datagram: the socket sets and tells it.
type ECN uint8

// Codepoints.
const (
	NotECT ECN = 0b00 // the network drops the datagram if there is congestion
	ECT1   ECN = 0b01
	ECT0   ECN = 0b10 // the network may mark it instead
	CE     ECN = 0b11 // the network has: there is congestion
)

// ECNCounts are how many frames have arrived in datagrams of each codepoint, from
// the beginning of the session (RFC 9000 §19.3.2).
type ECNCounts struct{ ECT0, ECT1, CE uint64 }

// Add counts a frame.
func (c *ECNCounts) Add(e ECN) {
	switch e {
	case ECT0:
		c.ECT0++
	case ECT1:
		c.ECT1++
	case CE:
		c.CE++
	}
}

func (c *ECNCounts) len() int { return VarintLen(c.ECT0) + VarintLen(c.ECT1) + VarintLen(c.CE) }

func (c *ECNCounts) append(b []byte) []byte {
	b = AppendVarint(b, c.ECT0)
	b = AppendVarint(b, c.ECT1)
	return AppendVarint(b, c.CE)
}

func (c *ECNCounts) consume(b []byte) (rest []byte, err error) {
	for _, n := range [...]*uint64{&c.ECT0, &c.ECT1, &c.CE} {
		if *n, b, err = ConsumeVarint(b); err != nil {
			return nil, err
		}
	}
	if *c == (ECNCounts{}) {
		return nil, ErrRange // that is an ACK
	}
	return b, nil
}
