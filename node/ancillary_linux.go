package node

import (
	"encoding/binary"
	"unsafe"

	"github.com/seed-67dce94e/holdfast/wire"
	"golang.org/x/sys/unix"
)

// Ancillary data goes with datagrams in a system call: how long each of a batch is,
// and the traffic class (IP_TOS, ip(7); IPV6_TCLASS, ipv6(7)), whose two low bits are
// the ECN codepoint (RFC 3168 §5).

// ancillaryRoom is room for what is received with a datagram.
var ancillaryRoom = 2 * unix.CmsgSpace(4)

// readAncillary finds the size of the datagrams of a batch, or 0, and their mark:
// the system joins only such as have the same.
func readAncillary(b []byte) (segment int, mark wire.ECN) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(b) {
			break
		}
		switch data := b[unix.CmsgLen(0):size]; {
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			segment = int(int32(binary.NativeEndian.Uint32(data)))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) >= 1:
			mark = wire.ECN(data[0] & 3)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
			mark = wire.ECN(binary.NativeEndian.Uint32(data) & 3)
		}
		b = b[min(unix.CmsgSpace(size-unix.SizeofCmsghdr), len(b)):]
	}
	return segment, mark
}

// A sendAncillary is ancillary data to send in one address family: a traffic class
// of ECT(0), and behind it the size of segments.
type sendAncillary []byte

func newSendAncillary(level, class int32) sendAncillary {
	b := make(sendAncillary, unix.CmsgSpace(4)+unix.CmsgSpace(2))
	b.header(0, level, class, 4)
	binary.NativeEndian.PutUint32(b[unix.CmsgLen(0):], uint32(wire.ECT0))
	b.header(unix.CmsgSpace(4), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
	return b
}

func (a sendAncillary) header(at int, level, typ int32, size int) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&a[at]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(size))
}

// of returns the part for datagrams that are marked or not, and are a batch unless
// segment is 0. It is valid until the next call.
func (a sendAncillary) of(mark bool, segment int) []byte {
	b, second := []byte(a), unix.CmsgSpace(4)
	if segment == 0 {
		b = b[:second]
	} else {
		binary.NativeEndian.PutUint16(b[second+unix.CmsgLen(0):], uint16(segment))
	}
	if !mark {
		b = b[second:]
	}
	return b
}
