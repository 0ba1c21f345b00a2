package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/uuid"
)

// RendezvousApp is the application name of a session between a node and its
// rendezvous server.
const RendezvousApp = "holdfast-rendezvous/1"

// Channels of a session with a rendezvous server. RELAY travels as unreliable
// messages on its own channel, everything else as reliable messages on the
// other (SPEC §6).
const (
	ChannelControl = 0
	ChannelRelay   = 1
)

// A RendezvousType is the first byte of a message between a node and its
// rendezvous server.
type RendezvousType uint8

// Types of rendezvous message.
const (
	RendezvousRegister   RendezvousType = 0x01 // to the server
	RendezvousRegistered RendezvousType = 0x02 // to the node
	RendezvousIntroduce  RendezvousType = 0x03 // to the server
	RendezvousPunch      RendezvousType = 0x04 // to the node
	RendezvousRefused    RendezvousType = 0x05 // to the node
	RendezvousDrain      RendezvousType = 0x06 // to the node
	RendezvousGone       RendezvousType = 0x07 // to the node
	RendezvousRelay      RendezvousType = 0x08 // both ways, on ChannelRelay only
	RendezvousInvite     RendezvousType = 0x09 // to the node
	RendezvousAccept     RendezvousType = 0x0a // to the server
)

// Sizes of rendezvous messages.
const (
	// RendezvousLenMax is the most that a message on ChannelControl takes. It
	// fits into one datagram.
	RendezvousLenMax = 1 + 16 + 32 + 4 + 1 + 1 + natLen + 1 + MaxCandidates*(1+addrPortLenMax)
	// RelayHeaderLen is what RELAY puts before the datagram it carries.
	RelayHeaderLen = 1 + 32
)

// Register asks the server to introduce and relay to the sender for as long as
// the session lasts. Sent again, it shows that the sender is still there.
type Register struct {
	Flags uint8 // none is defined; a server ignores those it does not know
}

// Registered answers a Register.
type Registered struct {
	Observed  netip.AddrPort // where the server sees the node; zero if not over UDP
	STUNPort  uint16         // UDP port of the server's STUN service; 0 if it has none
	Probes    uint8          // how many ports after STUNPort answer too, for finding out what NATs do
	KeepAlive uint32         // milliseconds: the longest silence the server asks for
}

// Introduce asks the server to introduce the sender to Peer.
type Introduce struct {
	ID         uuid.UUID // of this introduction, chosen by the sender
	Peer       PeerID
	Fresh      bool  // there is no session yet: its handshake will come through the relay
	Round      uint8 // how often the sender has tried in vain since its network changed
	NAT        NAT   // of the sender
	Candidates Candidates
}

// Invite is how the server passes an Introduce on: its Peer is who asks. What it
// says of that peer's addresses is what the server has seen, and what it found
// plausible.
type Invite Introduce

// Accept answers an Invite. Only then does the server tell the sender's
// addresses to the peer.
type Accept struct {
	ID         uuid.UUID
	Peer       PeerID // who asked
	Accepted   bool   // if not, NAT and Candidates are empty
	NAT        NAT    // of the sender
	Candidates Candidates
}

// Punch is the server's order to both peers of an introduction to start probing
// each other's candidates at the same moment.
type Punch struct {
	ID         uuid.UUID
	Peer       PeerID
	StartIn    uint32 // microseconds from receipt of this message
	Initiator  bool   // the receiver asked for the introduction
	Round      uint8  // as in Introduce
	NAT        NAT    // of the peer
	Candidates Candidates
}

// A RefusedCode says why the server did not introduce. A node treats a code it
// does not know as RefusedBusy.
type RefusedCode uint8

// Codes of a Refused.
const (
	RefusedAbsent      RefusedCode = 1 + iota // the peer is not registered here
	RefusedBusy                               // the server or the peer has too much to do
	RefusedRateLimited                        // this node asks too often
	RefusedForbidden                          // the server's rules, or the peer's, do not allow it
	RefusedInvalid                            // the request makes no sense, such as one for oneself
)

// String returns the reason in words.
func (c RefusedCode) String() string {
	switch c {
	case RefusedAbsent:
		return "peer is not registered"
	case RefusedBusy:
		return "busy"
	case RefusedRateLimited:
		return "rate limited"
	case RefusedForbidden:
		return "forbidden"
	case RefusedInvalid:
		return "invalid request"
	}
	return "refused for an unknown reason"
}

// Refused answers an Introduce that led to nothing.
type Refused struct {
	ID         uuid.UUID
	Peer       PeerID
	Code       RefusedCode
	RetryAfter uint32 // milliseconds; 0 if waiting would not help
}

// Drain says that the server is about to go away.
type Drain struct {
	ReconnectIn uint32 // milliseconds until the node should connect again
}

// Gone says that a RELAY could not be delivered since its peer is not
// registered. The server limits the rate of these.
type Gone struct {
	Peer PeerID
}

// A Rendezvous is any one message of ChannelControl, decoded: Type says which
// field holds it.
type Rendezvous struct {
	Type       RendezvousType
	Register   Register
	Registered Registered
	Introduce  Introduce
	Punch      Punch
	Refused    Refused
	Drain      Drain
	Gone       Gone
	Invite     Invite
	Accept     Accept
}

// ParseRendezvous decodes a message of ChannelControl into m. Fields of m that
// the message does not use are left as they were. RELAY is refused here: it has
// a channel of its own.
func ParseRendezvous(b []byte, m *Rendezvous) error {
	rest, err := consumeRendezvous(b, m)
	if err == nil && len(rest) > 0 {
		return ErrTrailing
	}
	return err
}

func consumeRendezvous(b []byte, m *Rendezvous) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, ErrShort
	}
	m.Type, b = RendezvousType(b[0]), b[1:]
	switch m.Type {
	case RendezvousRegister:
		return m.Register.consume(b)
	case RendezvousRegistered:
		return m.Registered.consume(b)
	case RendezvousIntroduce:
		return m.Introduce.consume(b)
	case RendezvousPunch:
		return m.Punch.consume(b)
	case RendezvousRefused:
		return m.Refused.consume(b)
	case RendezvousDrain:
		m.Drain.ReconnectIn, b, err = consumeUint32(b)
		return b, err
	case RendezvousGone:
		return consumePeer(b, &m.Gone.Peer)
	case RendezvousInvite:
		return (*Introduce)(&m.Invite).consume(b)
	case RendezvousAccept:
		return m.Accept.consume(b)
	}
	return nil, ErrType
}

// Append appends r as a message.
func (r *Register) Append(b []byte) []byte {
	return append(b, byte(RendezvousRegister), r.Flags)
}

func (r *Register) consume(b []byte) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, ErrShort
	}
	r.Flags = b[0]
	return b[1:], nil
}

// Append appends r as a message.
func (r *Registered) Append(b []byte) []byte {
	b = append(b, byte(RendezvousRegistered))
	if r.Observed.IsValid() {
		b = appendAddrPort(b, r.Observed)
	} else {
		b = append(b, familyNone)
	}
	b = append(binary.BigEndian.AppendUint16(b, r.STUNPort), r.Probes)
	return binary.BigEndian.AppendUint32(b, r.KeepAlive)
}

func (r *Registered) consume(b []byte) (rest []byte, err error) {
	if len(b) > 0 && b[0] == familyNone {
		r.Observed, b = netip.AddrPort{}, b[1:]
	} else if r.Observed, b, err = consumeAddrPort(b); err != nil {
		return nil, err
	}
	if len(b) < 3 {
		return nil, ErrShort
	}
	r.STUNPort, r.Probes = binary.BigEndian.Uint16(b), b[2]
	if int(r.STUNPort)+int(r.Probes) > 65535 || r.STUNPort == 0 && r.Probes != 0 {
		return nil, ErrRange
	}
	r.KeepAlive, b, err = consumeUint32(b[3:])
	return b, err
}

// Append appends i as a message.
func (i *Introduce) Append(b []byte) []byte { return i.appendAs(b, RendezvousIntroduce) }

// Append appends i as a message.
func (i *Invite) Append(b []byte) []byte { return (*Introduce)(i).appendAs(b, RendezvousInvite) }

func (i *Introduce) appendAs(b []byte, t RendezvousType) []byte {
	b = appendBool(appendIntroduction(b, t, i.ID, i.Peer), i.Fresh)
	return i.Candidates.append(i.NAT.append(append(b, i.Round)))
}

func (i *Introduce) consume(b []byte) (rest []byte, err error) {
	if b, err = consumeIntroduction(b, &i.ID, &i.Peer); err != nil {
		return nil, err
	}
	if i.Fresh, b, err = consumeBool(b); err != nil {
		return nil, err
	}
	return consumeParty(b, &i.Round, &i.NAT, &i.Candidates)
}

// Append appends a as a message.
func (a *Accept) Append(b []byte) []byte {
	b = appendBool(appendIntroduction(b, RendezvousAccept, a.ID, a.Peer), a.Accepted)
	if !a.Accepted {
		return b
	}
	return a.Candidates.append(a.NAT.append(b))
}

func (a *Accept) consume(b []byte) (rest []byte, err error) {
	if b, err = consumeIntroduction(b, &a.ID, &a.Peer); err != nil {
		return nil, err
	}
	a.NAT, a.Candidates = NAT{}, Candidates{}
	if a.Accepted, b, err = consumeBool(b); err != nil || !a.Accepted {
		return b, err
	}
	if b, err = a.NAT.consume(b); err != nil {
		return nil, err
	}
	return a.Candidates.consume(b)
}

// Append appends p as a message.
func (p *Punch) Append(b []byte) []byte {
	b = appendIntroduction(b, RendezvousPunch, p.ID, p.Peer)
	b = appendBool(binary.BigEndian.AppendUint32(b, p.StartIn), p.Initiator)
	return p.Candidates.append(p.NAT.append(append(b, p.Round)))
}

func (p *Punch) consume(b []byte) (rest []byte, err error) {
	if b, err = consumeIntroduction(b, &p.ID, &p.Peer); err != nil {
		return nil, err
	}
	if p.StartIn, b, err = consumeUint32(b); err != nil {
		return nil, err
	}
	if p.Initiator, b, err = consumeBool(b); err != nil {
		return nil, err
	}
	return consumeParty(b, &p.Round, &p.NAT, &p.Candidates)
}

// consumeParty consumes what a message says of one party of an introduction.
func consumeParty(b []byte, round *uint8, nat *NAT, list *Candidates) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, ErrShort
	}
	*round = b[0]
	if b, err = nat.consume(b[1:]); err != nil {
		return nil, err
	}
	return list.consume(b)
}

// Append appends r as a message.
func (r *Refused) Append(b []byte) []byte {
	b = appendIntroduction(b, RendezvousRefused, r.ID, r.Peer)
	return binary.BigEndian.AppendUint32(append(b, byte(r.Code)), r.RetryAfter)
}

func (r *Refused) consume(b []byte) (rest []byte, err error) {
	if b, err = consumeIntroduction(b, &r.ID, &r.Peer); err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, ErrShort
	}
	if r.Code = RefusedCode(b[0]); r.Code == 0 {
		return nil, ErrRange
	}
	r.RetryAfter, b, err = consumeUint32(b[1:])
	return b, err
}

// Append appends d as a message.
func (d *Drain) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(RendezvousDrain)), d.ReconnectIn)
}

// Append appends g as a message.
func (g *Gone) Append(b []byte) []byte {
	return append(append(b, byte(RendezvousGone)), g.Peer[:]...)
}

// AppendRelay appends the header of a RELAY, which the datagram follows. On the
// way up peer is whom it is for, on the way down whom it is from.
func AppendRelay(b []byte, peer PeerID) []byte {
	return append(append(b, byte(RendezvousRelay)), peer[:]...)
}

// ParseRelay decodes a message of ChannelRelay. The datagram aliases b.
func ParseRelay(b []byte) (peer PeerID, datagram []byte, err error) {
	if len(b) == 0 {
		return peer, nil, ErrShort
	}
	if RendezvousType(b[0]) != RendezvousRelay {
		return peer, nil, ErrType
	}
	if b, err = consumePeer(b[1:], &peer); err != nil {
		return peer, nil, err
	}
	if len(b) == 0 {
		return peer, nil, ErrShort
	}
	return peer, b[:len(b):len(b)], nil
}

func appendIntroduction(b []byte, t RendezvousType, id uuid.UUID, peer PeerID) []byte {
	b = append(append(b, byte(t)), id[:]...)
	return append(b, peer[:]...)
}

func consumeIntroduction(b []byte, id *uuid.UUID, peer *PeerID) (rest []byte, err error) {
	if b, err = consumeFixed(b, id[:]); err != nil {
		return nil, err
	}
	return consumePeer(b, peer)
}

func consumePeer(b []byte, peer *PeerID) (rest []byte, err error) {
	if b, err = consumeFixed(b, peer[:]); err != nil {
		return nil, err
	}
	if peer.IsZero() {
		return nil, ErrRange
	}
	return b, nil
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func consumeBool(b []byte) (v bool, rest []byte, err error) {
	if len(b) == 0 {
		return false, nil, ErrShort
	}
	if b[0] > 1 {
		return false, nil, ErrRange
	}
	return b[0] == 1, b[1:], nil
}

func consumeUint32(b []byte) (v uint32, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, ErrShort
	}
	return binary.BigEndian.Uint32(b), b[4:], nil
}

// ChannelNode is the channel of sessions between nodes on which the nodes
// themselves talk: applications have the others (SPEC §6.7).
const ChannelNode = MaxChannel

// A NodeType is the first byte of a message on ChannelNode.
type NodeType uint8

// Types of message on ChannelNode.
const (
	NodeExplain NodeType = 0x01 // asks for a REPORT
	NodeReport  NodeType = 0x02 // JSON follows: how the sender tried to meet the receiver
)

// NodeReportMax bounds a report, in bytes.
const NodeReportMax = 64 << 10
