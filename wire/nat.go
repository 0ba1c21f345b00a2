package wire

import (
	"encoding/binary"
	"encoding/json"
	"slices"
)

// A NATBehavior is how much of the remote endpoint a NAT looks at when it maps
// (RFC 4787 §4.1) or filters (§5).
type NATBehavior uint8

// NAT behaviours, from the most to the least open.
const (
	BehaviorUnknown NATBehavior = iota
	EndpointIndependent
	AddressDependent
	AddressAndPortDependent
)

var behaviorNames = [...]string{"unknown", "endpoint-independent", "address-dependent", "address-and-port-dependent"}

// String returns the term of RFC 4787, in lower case.
func (b NATBehavior) String() string {
	if int(b) < len(behaviorNames) {
		return behaviorNames[b]
	}
	return behaviorNames[BehaviorUnknown]
}

// MarshalText implements [encoding.TextMarshaler].
func (b NATBehavior) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// NATPorts is how a NAT chooses the external port of a new mapping, as far as
// that helps to guess it.
type NATPorts uint8

// Port allocations.
const (
	PortsUnknown    NATPorts = iota // not known, or of no interest: the mapping is endpoint-independent
	PortsRandom                     // any port
	PortsSequential                 // the next one, a step from the last
	PortsBlock                      // at random within a block (RFC 6888, RFC 7422)
)

var portsNames = [...]string{"unknown", "random", "sequential", "block"}

// String returns the name in lower case.
func (p NATPorts) String() string {
	if int(p) < len(portsNames) {
		return portsNames[p]
	}
	return portsNames[PortsUnknown]
}

// MarshalText implements [encoding.TextMarshaler].
func (p NATPorts) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// NATFlags say more of a node's way to the world.
type NATFlags uint8

// NAT flags.
const (
	NATPoisonProne NATFlags = 1 << iota // an early packet from outside costs the flow its port (SPEC §6.2)
	NATSearch                           // the node takes part in a search over all ports
	NATNoUDP                            // the node has no UDP: it is reachable through relays alone
	NATRelayOnly                        // the node tells nobody its addresses
)

var flagNames = [...]string{"poison-prone", "search", "no-udp", "relay-only"}

// Names returns the names of the flags that are set, in lower case.
func (f NATFlags) Names() []string {
	names := []string{} // in JSON, nothing is [] and not null
	for k, name := range flagNames {
		if f>>k&1 == 1 {
			names = append(names, name)
		}
	}
	return names
}

// MarshalJSON implements [json.Marshaler]: flags are a list of names.
func (f NATFlags) MarshalJSON() ([]byte, error) { return json.Marshal(f.Names()) }

// UnmarshalJSON implements [json.Unmarshaler].
func (f *NATFlags) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return err
	}
	*f = 0
	for _, name := range names {
		k, err := indexOf(flagNames[:], []byte(name))
		if err != nil {
			return err
		}
		*f |= 1 << k
	}
	return nil
}

// NAT is what a node knows of the NATs between it and the internet: what its
// peer must know to meet it behind them. The zero value is total ignorance.
type NAT struct {
	Mapping   NATBehavior `json:"mapping"`
	Filtering NATBehavior `json:"filtering"`
	Ports     NATPorts    `json:"ports"`
	Flags     NATFlags    `json:"flags"`

	// With PortsSequential: the port seen last, and how far the next one is.
	Base uint16 `json:"base,omitempty"`
	Step int16  `json:"step,omitempty"`
	// With PortsBlock: the first and the last port of the block.
	Low  uint16 `json:"low,omitempty"`
	High uint16 `json:"high,omitempty"`
}

// natLen is the length of a NAT.
const natLen = 1 + 1 + 2 + 2

// Has reports whether all of the flags are set.
func (n *NAT) Has(f NATFlags) bool { return n.Flags&f == f }

func (n *NAT) append(b []byte) []byte {
	b = append(b, byte(n.Mapping)<<4|byte(n.Filtering), byte(n.Ports)<<4|byte(n.Flags))
	var x, y uint16
	switch n.Ports {
	case PortsSequential:
		x, y = n.Base, uint16(n.Step)
	case PortsBlock:
		x, y = n.Low, n.High
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, x), y)
}

func (n *NAT) consume(b []byte) (rest []byte, err error) {
	if len(b) < natLen {
		return nil, ErrShort
	}
	*n = NAT{
		Mapping: NATBehavior(b[0] >> 4), Filtering: NATBehavior(b[0] & 15),
		Ports: NATPorts(b[1] >> 4), Flags: NATFlags(b[1] & 15),
	}
	if max(n.Mapping, n.Filtering) > AddressAndPortDependent || n.Ports > PortsBlock {
		return nil, ErrRange
	}
	x, y := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[4:])
	ok := x == 0 && y == 0
	switch n.Ports {
	case PortsSequential:
		n.Base, n.Step = x, int16(y)
		ok = n.Base != 0 && n.Step != 0
	case PortsBlock:
		n.Low, n.High = x, y
		ok = n.Low != 0 && n.Low < n.High
	}
	if !ok {
		return nil, ErrRange
	}
	return b[natLen:], nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *NATBehavior) UnmarshalText(text []byte) error {
	k, err := indexOf(behaviorNames[:], text)
	*b = NATBehavior(k)
	return err
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *NATPorts) UnmarshalText(text []byte) error {
	k, err := indexOf(portsNames[:], text)
	*p = NATPorts(k)
	return err
}

func indexOf(names []string, text []byte) (int, error) {
	if k := slices.Index(names, string(text)); k >= 0 {
		return k, nil
	}
	return 0, ErrRange
}
