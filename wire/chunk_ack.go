package wire

// AckDelayUnit is the unit of Ack.Delay on the wire, in microseconds.
const AckDelayUnit = 8

// A Range is the packet numbers from Lo to Hi, both included.
type Range struct{ Lo, Hi uint64 }

// An Ack says which packet numbers have been received, and how their datagrams
// were marked (RFC 9000 §19.3). When decoded, the ranges stay in the buffer they
// were read from; walk them with Next. A copy of an Ack is walked on its own.
type Ack struct {
	Delay   uint64 // microseconds between receipt of Largest and sending this
	Largest uint64
	Counts  ECNCounts // all zero in an ACK, and not in an ACK_ECN
	left    int       // ranges not yet walked
	smaller uint64
	raw     []byte
}

// AppendAck appends an ACK with the given ranges, which are in descending order,
// do not touch, and are at least one. The oldest ranges are left out if there
// are more than MaxAckRanges or the chunk would exceed limit bytes; b comes back
// unchanged if not even the newest one fits. delay is in microseconds.
func AppendAck(b []byte, delay uint64, ranges []Range, limit int) []byte {
	return AppendAckECN(b, delay, ranges, ECNCounts{}, limit)
}

// AppendAckECN is AppendAck of an ACK_ECN, unless all counts are zero.
func AppendAckECN(b []byte, delay uint64, ranges []Range, counts ECNCounts, limit int) []byte {
	t := TypeAck
	ranges = ranges[:min(len(ranges), MaxAckRanges)]
	delay = min(delay/AckDelayUnit, 1<<30-1)
	const typeAndCount = 1 + 1 // MaxAckRanges keeps the count at one byte
	size := typeAndCount + VarintLen(ranges[0].Hi) + VarintLen(delay) + VarintLen(ranges[0].Hi-ranges[0].Lo)
	if counts != (ECNCounts{}) {
		t = TypeAckECN
		size += counts.len()
	}
	if size > limit {
		return b
	}
	n := 1
	for n < len(ranges) {
		s := VarintLen(ranges[n-1].Lo-ranges[n].Hi-2) + VarintLen(ranges[n].Hi-ranges[n].Lo)
		if size+s > limit {
			break
		}
		size += s
		n++
	}
	b = append(b, byte(t))
	b = AppendVarint(b, ranges[0].Hi)
	b = AppendVarint(b, delay)
	b = AppendVarint(b, uint64(n-1))
	b = AppendVarint(b, ranges[0].Hi-ranges[0].Lo)
	for i := 1; i < n; i++ {
		b = AppendVarint(b, ranges[i-1].Lo-ranges[i].Hi-2)
		b = AppendVarint(b, ranges[i].Hi-ranges[i].Lo)
	}
	if t == TypeAckECN {
		b = counts.append(b)
	}
	return b
}

// Next returns the ranges in descending order, the first of which ends with
// Largest.
func (a *Ack) Next() (r Range, ok bool) {
	if a.left == 0 {
		return r, false
	}
	if len(a.raw) == 0 {
		panic("wire: ack walked beyond its ranges")
	}
	var gap uint64
	hi := a.Largest
	if a.smaller != noSmaller {
		gap, a.raw, _ = ConsumeVarint(a.raw) // consume checked all of these
		hi = a.smaller - gap - 2
	}
	var n uint64
	n, a.raw, _ = ConsumeVarint(a.raw)
	a.left--
	a.smaller = hi - n
	return Range{Lo: hi - n, Hi: hi}, true
}

const noSmaller = ^uint64(0) // Next has not been called

func (a *Ack) consume(b []byte, t ChunkType) (rest []byte, err error) {
	if a.Largest, b, err = ConsumeVarint(b); err != nil {
		return nil, err
	}
	if a.Delay, b, err = ConsumeVarint(b); err != nil {
		return nil, err
	}
	if a.Delay >= 1<<30 {
		return nil, ErrRange
	}
	a.Delay *= AckDelayUnit
	more, b, err := ConsumeVarint(b)
	if err != nil {
		return nil, err
	}
	if more >= MaxAckRanges {
		return nil, ErrRange
	}
	a.left, a.smaller = int(more)+1, noSmaller
	start, hi := b, a.Largest
	for i := range a.left {
		var gap, n uint64
		if i > 0 {
			if gap, b, err = ConsumeVarint(b); err != nil {
				return nil, err
			}
			if hi < gap+2 {
				return nil, ErrRange
			}
			hi -= gap + 2
		}
		if n, b, err = ConsumeVarint(b); err != nil {
			return nil, err
		}
		if n > hi {
			return nil, ErrRange
		}
		hi -= n
	}
	a.raw = start[: len(start)-len(b) : len(start)-len(b)]
	a.Counts = ECNCounts{}
	if t == TypeAckECN {
		return a.Counts.consume(b)
	}
	return b, nil
}
