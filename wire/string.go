package wire

import (
	"fmt"
	"strings"
)

// This file is for people: test failures, ladders of datagrams, logs of a
// session under study. Nothing here is on a hot path.

var chunkNames = map[ChunkType]string{
	TypePadding:       "PADDING",
	TypePing:          "PING",
	TypeAck:           "ACK",
	TypePathChallenge: "PATH_CHALLENGE",
	TypePathResponse:  "PATH_RESPONSE",
	TypeNewConnID:     "NEW_CONNECTION_ID",
	TypeRetireConnID:  "RETIRE_CONNECTION_ID",
	TypeCredit:        "CREDIT",
	TypeSkip:          "SKIP",
	TypeRead:          "READ",
	TypeClose:         "CLOSE",
	TypeAckECN:        "ACK_ECN",
	TypeMessage:       "MESSAGE",
}

// String returns the name that SPEC.md gives the type.
func (t ChunkType) String() string {
	if name, ok := chunkNames[t]; ok {
		return name
	}
	return fmt.Sprintf("CHUNK_%#02x", uint8(t))
}

// String returns the mode in lower case.
func (m Mode) String() string {
	switch m {
	case Reliable:
		return "reliable"
	case Unordered:
		return "unordered"
	case Unreliable:
		return "unreliable"
	case Sequenced:
		return "sequenced"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// String returns the name that SPEC.md gives the kind.
func (k Kind) String() string {
	names := [...]string{"unknown", "STUN", "DATA", "INIT", "RESP", "COOKIE", "RESET"}
	if int(k) < len(names) {
		return names[k]
	}
	return names[KindUnknown]
}

// String returns the chunk in one line, without the data of a message.
func (c *Chunk) String() string {
	fields := ""
	switch c.Type {
	case TypeAck:
		fields = fmt.Sprintf(" delay=%dus ranges=%s", c.Ack.Delay, c.Ack.rangesText())
	case TypeAckECN:
		n := &c.Ack.Counts
		fields = fmt.Sprintf(" delay=%dus ranges=%s ect0=%d ect1=%d ce=%d", c.Ack.Delay, c.Ack.rangesText(), n.ECT0, n.ECT1, n.CE)
	case TypePathChallenge, TypePathResponse:
		fields = fmt.Sprintf(" %x", c.Path)
	case TypeNewConnID:
		n := &c.NewConnID
		fields = fmt.Sprintf(" seq=%d retire_to=%d id=%v token=%x", n.Seq, n.RetireTo, n.ID, n.Token)
	case TypeRetireConnID:
		fields = fmt.Sprintf(" seq=%d", c.Retire)
	case TypeCredit:
		fields = fmt.Sprintf(" ch=%d limit=%d", c.Credit.Channel, c.Credit.Limit)
	case TypeSkip:
		fields = fmt.Sprintf(" ch=%d %v seq=%d sent=%d", c.Skip.Channel, c.Skip.Mode, c.Skip.Seq, c.Skip.Sent)
	case TypeRead:
		fields = fmt.Sprintf(" ch=%d %v seq=%d", c.Read.Channel, c.Read.Mode, c.Read.Seq)
	case TypeClose:
		fields = fmt.Sprintf(" code=%d reason=%q", c.Close.Code, c.Close.Reason)
	case TypeMessage:
		fields = c.Message.fieldsText()
	}
	return c.Type.String() + fields
}

func (a Ack) rangesText() string { // on a copy, so that the walk is not used up
	var parts []string
	for r, ok := a.Next(); ok; r, ok = a.Next() {
		parts = append(parts, fmt.Sprintf("%d-%d", r.Lo, r.Hi))
	}
	return strings.Join(parts, ",")
}

func (m *Message) fieldsText() string {
	s := fmt.Sprintf(" ch=%d %v seq=%d", m.Channel, m.Mode, m.Seq)
	if m.Fragment {
		s += fmt.Sprintf(" offset=%d total=%d", m.Offset, m.Total)
	}
	s += fmt.Sprintf(" len=%d", len(m.Data))
	if m.Receipt {
		s += " receipt"
	}
	if m.Urgent {
		s += " urgent"
	}
	if m.Packed {
		s += " packed"
	}
	return s
}

// String returns the message in one line.
func (m *Rendezvous) String() string {
	switch m.Type {
	case RendezvousRegister:
		return fmt.Sprintf("REGISTER flags=%#x", m.Register.Flags)
	case RendezvousRegistered:
		r := &m.Registered
		return fmt.Sprintf("REGISTERED observed=%v stun_port=%d probes=%d keep_alive=%dms", r.Observed, r.STUNPort, r.Probes, r.KeepAlive)
	case RendezvousIntroduce:
		return "INTRODUCE" + m.Introduce.fieldsText()
	case RendezvousInvite:
		return "INVITE" + (*Introduce)(&m.Invite).fieldsText()
	case RendezvousAccept:
		a := &m.Accept
		return fmt.Sprintf("ACCEPT id=%v peer=%s accepted=%t nat=%v candidates=%v", a.ID, a.Peer.Short(), a.Accepted, &a.NAT, &a.Candidates)
	case RendezvousPunch:
		p := &m.Punch
		return fmt.Sprintf("PUNCH id=%v peer=%s start_in=%dus initiator=%t round=%d nat=%v candidates=%v",
			p.ID, p.Peer.Short(), p.StartIn, p.Initiator, p.Round, &p.NAT, &p.Candidates)
	case RendezvousRefused:
		r := &m.Refused
		return fmt.Sprintf("REFUSED id=%v peer=%s code=%d (%v) retry_after=%dms",
			r.ID, r.Peer.Short(), uint8(r.Code), r.Code, r.RetryAfter)
	case RendezvousDrain:
		return fmt.Sprintf("DRAIN reconnect_in=%dms", m.Drain.ReconnectIn)
	case RendezvousGone:
		return "GONE peer=" + m.Gone.Peer.Short()
	}
	return fmt.Sprintf("RENDEZVOUS_%#02x", uint8(m.Type))
}

// String returns the list in one line.
func (c *Candidates) String() string {
	var parts []string
	for candidate := range c.All() {
		parts = append(parts, candidate.Kind.String()+" "+candidate.Addr.String())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (i *Introduce) fieldsText() string {
	return fmt.Sprintf(" id=%v peer=%s fresh=%t round=%d nat=%v candidates=%v",
		i.ID, i.Peer.Short(), i.Fresh, i.Round, &i.NAT, &i.Candidates)
}

// natTerms are the short forms that the field uses.
var natTerms = [...]string{"?", "EI", "AD", "APD"}

// String returns a short form such as "APDM/APDF sequential 40003+1".
func (n *NAT) String() string {
	s := natTerms[n.Mapping] + "M/" + natTerms[n.Filtering] + "F"
	switch n.Ports {
	case PortsRandom:
		s += " random"
	case PortsSequential:
		s += fmt.Sprintf(" sequential %d%+d", n.Base, n.Step)
	case PortsBlock:
		s += fmt.Sprintf(" block %d-%d", n.Low, n.High)
	}
	for _, name := range n.Flags.Names() {
		s += " " + name
	}
	return s
}
