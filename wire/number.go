package wire

import "math/bits"

// MaxPacketNumber is the last packet number of a session; the sender closes
// before it would pass it. The nonce of RFC 9001 §5.3 has room for no more.
const MaxPacketNumber = MaxVarint

// PacketNumberLen returns how many bytes of pn must be sent, 1 to 4, so that a
// peer that has acknowledged largestAcked can restore it (RFC 9000 §17.1).
// acked is false when nothing has been acknowledged yet. Four bytes serve as
// long as fewer than 2^31 packets are unacknowledged, which congestion control
// sees to.
func PacketNumberLen(pn, largestAcked uint64, acked bool) int {
	unacked := pn + 1
	if acked {
		unacked = pn - largestAcked
	}
	n := (bits.Len64(unacked) + 1 + 7) / 8 // twice the range, rounded up to bytes
	return min(max(n, 1), 4)
}

// DecodePacketNumber restores a packet number of which the low n bytes were
// sent, given the largest one received so far (RFC 9000 appendix A.3). It is
// called with received false before anything was received.
func DecodePacketNumber(largest uint64, received bool, truncated uint64, n int) uint64 {
	expected := uint64(0)
	if received {
		expected = largest + 1
	}
	win := uint64(1) << (8 * n)
	candidate := expected&^(win-1) | truncated
	switch {
	case candidate+win/2 <= expected && candidate <= MaxPacketNumber-win:
		return candidate + win
	case candidate > expected+win/2 && candidate >= win:
		return candidate - win
	case candidate > MaxPacketNumber: // expected was one past the last
		return candidate - win
	}
	return candidate
}
