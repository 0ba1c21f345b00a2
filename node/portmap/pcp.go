package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Constants of RFC 6887, by the section that defines them.
const (
	pcpVersion       = 2    // §7.1
	pcpResponseBit   = 0x80 // §7.1, R
	pcpOpAnnounce    = 0    // §14.1
	pcpOpMap         = 1    // §11.1
	pcpHeaderLen     = 24   // §7.1, §7.2
	pcpMapLen        = 60   // header and §11.1
	pcpMessageLenMax = 1100 // §7
	pcpProtocolUDP   = 17   // §11.1, an IANA protocol number
	pcpLifetimeUnit  = time.Second
)

// A pcpResult is the result code of a response (RFC 6887 §7.4).
type pcpResult uint8

const (
	pcpSuccess     pcpResult = 0
	pcpUnsuppVers  pcpResult = 1
	pcpUnsuppOp    pcpResult = 4
	pcpResultKnown           = 14 // how many the RFC defines
)

// Error says what the result means.
func (r pcpResult) Error() string {
	names := [pcpResultKnown]string{
		"success", "version not supported", "not authorized", "malformed request",
		"opcode not supported", "option not supported", "malformed option",
		"the gateway has no network", "no resources left", "protocol not supported",
		"too many mappings for this machine", "cannot provide the external address",
		"another NAT in between", "too many remote peers",
	}
	if int(r) < len(names) {
		return "the gateway says: " + names[r]
	}
	return fmt.Sprintf("the gateway says: result %d", uint8(r))
}

// A pcpNonce ties answers to requests, and a mapping to who made it (RFC 6887
// §11.1): it must be the same whenever a mapping is renewed or deleted.
type pcpNonce [12]byte

// A pcpMap is the MAP opcode: in a request what is wanted, in a response what
// was given (RFC 6887 §11.1).
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------------------------------------------------------+
//	|                     Mapping Nonce (96 bits)                   |
//	+---------------+-----------------------------------------------+
//	|   Protocol    |                Reserved (24 bits)             |
//	+---------------+---------------+-------------------------------+
//	|        Internal Port          |         External Port         |
//	+-------------------------------+-------------------------------+
//	|               External IP Address (128 bits)                  |
//	+---------------------------------------------------------------+
type pcpMap struct {
	nonce    pcpNonce
	internal uint16         // the UDP port
	external netip.AddrPort // in a request a wish: zero address and port for any
}

// A pcpResponse is a parsed response.
type pcpResponse struct {
	op       byte
	result   pcpResult
	lifetime time.Duration // of the mapping, or of the error
	epoch    uint32        // seconds since the gateway lost its state (§8.5)
	mapped   pcpMap        // if op is MAP and the result is known not to be about the version
}

// appendPCPHeader appends the header of a request (RFC 6887 §7.1).
func appendPCPHeader(b []byte, op byte, lifetime time.Duration, client netip.Addr) []byte {
	b = append(b, pcpVersion, op, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(lifetime/pcpLifetimeUnit))
	ip := client.As16() // §5: an IPv4 address is sent as IPv4-mapped
	return append(b, ip[:]...)
}

// appendPCPAnnounce appends an ANNOUNCE request, which asks for nothing but a
// sign of life (RFC 6887 §14.1.1).
func appendPCPAnnounce(b []byte, client netip.Addr) []byte {
	return appendPCPHeader(b, pcpOpAnnounce, 0, client)
}

// appendPCPMap appends a MAP request. A lifetime of zero deletes the mapping
// (RFC 6887 §11.1).
func appendPCPMap(b []byte, m pcpMap, lifetime time.Duration, client netip.Addr) []byte {
	b = appendPCPHeader(b, pcpOpMap, lifetime, client)
	b = append(b, m.nonce[:]...)
	b = append(b, pcpProtocolUDP, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, m.internal)
	b = binary.BigEndian.AppendUint16(b, m.external.Port())
	ip := netip.IPv4Unspecified().As16() // §11.1: no wish is ::ffff:0:0, of the family wanted
	if m.external.Addr().IsValid() {
		ip = m.external.Addr().As16()
	}
	return append(b, ip[:]...)
}

// Errors of parsePCP. Whatever they say, the datagram is no answer.
var (
	errPCPLength   = errors.New("portmap: PCP: length")
	errPCPVersion  = errors.New("portmap: PCP: version")
	errPCPRequest  = errors.New("portmap: PCP: not a response")
	errPCPOpcode   = errors.New("portmap: PCP: opcode")
	errPCPProtocol = errors.New("portmap: PCP: protocol")
)

// parsePCP parses a response (RFC 6887 §7.2, §8.3, §11.4). A gateway that speaks
// another version, such as NAT-PMP, says so with a version of its own and
// perhaps no more than the first four bytes (§9, RFC 6886 §3.5): that is the only
// answer believed without the rest.
func parsePCP(b []byte) (r pcpResponse, err error) {
	if len(b) < 4 || len(b) > pcpMessageLenMax {
		return r, errPCPLength
	}
	if b[1]&pcpResponseBit == 0 {
		return r, errPCPRequest
	}
	r.op = b[1] &^ pcpResponseBit
	if b[0] != pcpVersion {
		// NAT-PMP has the result in two bytes where PCP has one reserved.
		if b[0] < pcpVersion && b[2] == 0 && pcpResult(b[3]) == pcpUnsuppVers {
			r.result = pcpUnsuppVers
			return r, nil
		}
		return r, errPCPVersion
	}
	if len(b) < pcpHeaderLen || len(b)%4 != 0 {
		return r, errPCPLength
	}
	r.result = pcpResult(b[3])
	r.lifetime = time.Duration(binary.BigEndian.Uint32(b[4:])) * pcpLifetimeUnit
	r.epoch = binary.BigEndian.Uint32(b[8:])
	switch {
	case r.op == pcpOpAnnounce || r.result == pcpUnsuppVers:
		return r, nil
	case r.op == pcpOpMap:
		r.mapped, err = parsePCPMap(b[pcpHeaderLen:])
		return r, err
	}
	return r, errPCPOpcode
}

// parsePCPMap parses what follows the header. Options are none of ours; those
// that may be ignored are (RFC 6887 §7.3).
func parsePCPMap(b []byte) (m pcpMap, err error) {
	if len(b) < pcpMapLen-pcpHeaderLen {
		return m, errPCPLength
	}
	if b[12] != pcpProtocolUDP {
		return m, errPCPProtocol
	}
	copy(m.nonce[:], b)
	m.internal = binary.BigEndian.Uint16(b[16:])
	ip := netip.AddrFrom16([16]byte(b[20:36])).Unmap()
	m.external = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[18:]))
	return m, nil
}
