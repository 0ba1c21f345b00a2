package wire

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// A CandidateKind says how a node came to know an address of its own
// (RFC 8445 §4).
type CandidateKind uint8

// Kinds of candidate. A relay is not among them: it is a link and has no
// address.
const (
	CandidateHost          CandidateKind = 1 + iota // bound on an interface
	CandidateReflexive                              // seen by a STUN or rendezvous server
	CandidatePeerReflexive                          // seen by a peer
	CandidateMapped                                 // granted by a gateway (PCP, NAT-PMP, UPnP-IGD)
)

// String returns the name used in logs and reports.
func (k CandidateKind) String() string {
	switch k {
	case CandidateHost:
		return "host"
	case CandidateReflexive:
		return "reflexive"
	case CandidatePeerReflexive:
		return "peer-reflexive"
	case CandidateMapped:
		return "mapped"
	}
	return "unknown"
}

// A Candidate is an address at which a node may be reachable.
type Candidate struct {
	Kind CandidateKind
	Addr netip.AddrPort
}

// MaxCandidates bounds a list of candidates, and so what one introduction can
// make a node send.
const MaxCandidates = 12

// Candidates is a list of at most MaxCandidates different addresses, in the
// order in which they were added. The zero value is empty. Lists compare with ==.
type Candidates struct {
	n    int
	list [MaxCandidates]Candidate
}

// Add appends c and reports whether it did: it refuses a full list, an address
// already in the list, an unknown kind, and an address that cannot be a
// peer's (see SPEC §6.2).
func (c *Candidates) Add(candidate Candidate) bool {
	if c.n == MaxCandidates || !candidate.Kind.valid() || !validAddrPort(candidate.Addr) {
		return false
	}
	for _, have := range c.list[:c.n] {
		if have.Addr == candidate.Addr {
			return false
		}
	}
	c.list[c.n] = candidate
	c.n++
	return true
}

// Len returns the number of candidates.
func (c *Candidates) Len() int { return c.n }

// All returns the candidates in order.
func (c *Candidates) All() iter.Seq[Candidate] {
	return func(yield func(Candidate) bool) {
		for _, candidate := range c.list[:c.n] {
			if !yield(candidate) {
				return
			}
		}
	}
}

func (k CandidateKind) valid() bool { return k >= CandidateHost && k <= CandidateMapped }

func (c *Candidates) append(b []byte) []byte {
	b = append(b, byte(c.n))
	for _, candidate := range c.list[:c.n] {
		b = append(b, byte(candidate.Kind))
		b = appendAddrPort(b, candidate.Addr)
	}
	return b
}

func (c *Candidates) consume(b []byte) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, ErrShort
	}
	n := int(b[0])
	if n > MaxCandidates {
		return nil, ErrRange
	}
	*c, b = Candidates{}, b[1:]
	for range n {
		if len(b) == 0 {
			return nil, ErrShort
		}
		candidate := Candidate{Kind: CandidateKind(b[0])}
		if candidate.Addr, b, err = consumeAddrPort(b[1:]); err != nil {
			return nil, err
		}
		if !c.Add(candidate) {
			return nil, ErrRange
		}
	}
	return b, nil
}

// Address families as they are on the wire.
const (
	familyNone = 0
	family4    = 4
	family6    = 6
)

// addrPortLenMax is the most that an address and port take.
const addrPortLenMax = 1 + 16 + 2

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// validAddrPort reports whether a can be the address of a peer. Zones name
// interfaces of one machine and mean nothing to another; an IPv4-mapped address
// would give one address two encodings and slip past filters for the other.
func validAddrPort(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.Port() != 0 && ip.IsValid() && !ip.Is4In6() && ip.Zone() == "" &&
		!ip.IsUnspecified() && !ip.IsMulticast() && ip != broadcast4
}

// appendAddrPort appends family, address and port.
func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	if ip := a.Addr(); ip.Is4() {
		v := ip.As4()
		b = append(append(b, family4), v[:]...)
	} else {
		v := ip.As16()
		b = append(append(b, family6), v[:]...)
	}
	return binary.BigEndian.AppendUint16(b, a.Port())
}

func consumeAddrPort(b []byte) (a netip.AddrPort, rest []byte, err error) {
	if len(b) == 0 {
		return a, nil, ErrShort
	}
	var ip netip.Addr
	switch b[0] {
	case family4:
		var v [4]byte
		b, err = consumeFixed(b[1:], v[:])
		ip = netip.AddrFrom4(v)
	case family6:
		var v [16]byte
		b, err = consumeFixed(b[1:], v[:])
		ip = netip.AddrFrom16(v)
	default:
		return a, nil, ErrRange
	}
	if err != nil {
		return a, nil, err
	}
	if len(b) < 2 {
		return a, nil, ErrShort
	}
	a = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b))
	if !validAddrPort(a) {
		return a, nil, ErrRange
	}
	return a, b[2:], nil
}
