package netnstest

import (
	"encoding/binary"
	"net/netip"
)

// Lengths of headers.
const (
	ipv4Length = 20 // without options
	ipv6Length = 40
)

// addresses returns the source and the destination of an IP packet.
func addresses(b []byte) (pair [2]netip.Addr, ok bool) {
	switch {
	case len(b) >= ipv4Length && b[0]>>4 == 4 && int(binary.BigEndian.Uint16(b[2:])) <= len(b):
		return [2]netip.Addr{netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))}, true
	case len(b) >= ipv6Length && b[0]>>4 == 6:
		return [2]netip.Addr{netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))}, true
	}
	return pair, false
}

// travel lowers the time to live, or hop limit, of an IP packet by hops, and
// reports whether it gets that far.
func travel(b []byte, hops uint8) bool {
	ttl := &b[7] // IPv6
	if b[0]>>4 == 4 {
		ttl = &b[8]
	}
	if *ttl <= hops {
		return false
	}
	*ttl -= hops
	if header := int(b[0]&15) * 4; b[0]>>4 == 4 && header <= len(b) {
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], checksum(b[:header]))
	}
	return true
}

// checksum is the Internet checksum of a header (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
