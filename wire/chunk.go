package wire

// A ChunkType is the first byte of a chunk.
type ChunkType uint8

// Chunk types. MESSAGE takes a range because it carries its flags in the type.
const (
	TypePadding       ChunkType = 0x00
	TypePing          ChunkType = 0x01
	TypeAck           ChunkType = 0x02
	TypePathChallenge ChunkType = 0x03
	TypePathResponse  ChunkType = 0x04
	TypeNewConnID     ChunkType = 0x05
	TypeRetireConnID  ChunkType = 0x06
	TypeCredit        ChunkType = 0x07
	TypeSkip          ChunkType = 0x08
	TypeRead          ChunkType = 0x09
	TypeClose         ChunkType = 0x0a
	TypeAckECN        ChunkType = 0x0b
	TypeMessage       ChunkType = 0x40 // 0x40-0x7f: 01, mode (2), fragment, receipt, urgent, packed
)

// Bits of a MESSAGE chunk's type byte, below 01.
const (
	messageModeShift = 4
	messageFragment  = 0x08 // offset and total length follow
	messageReceipt   = 0x04 // the sender wants a READ when the application has taken it
	messageUrgent    = 0x02 // acknowledge at once
	messagePacked    = 0x01 // the data are several messages, each after its length
)

// A Mode is how a message is delivered. The zero value is the safe one.
type Mode uint8

// Delivery modes.
const (
	Reliable   Mode = iota // arrives once, in order
	Unordered              // arrives once, in any order
	Unreliable             // sent once; may be lost or overtaken
	Sequenced              // sent once; what is older than the newest received is dropped
)

// Limits that the format itself sets.
const (
	MaxChannel     = 1<<16 - 1
	MaxAckRanges   = 64
	MaxCloseReason = 256
)

// NewConnID offers the peer a connection ID to send to (RFC 9000 §19.15).
type NewConnID struct {
	Seq      uint64
	RetireTo uint64 // the peer stops using every ID below this number
	ID       ConnID
	Token    ResetToken
}

// Credit allows the peer to send up to Limit bytes, in all, of reliable
// messages on a channel; SPEC §5.7 says how bytes are counted.
type Credit struct {
	Channel uint16
	Limit   uint64
}

// Skip tells the receiver that a reliable message will not be completed, so
// that it does not wait for it: it was cancelled, superseded or has expired.
// Sent is the final count of what it took of the channel's credit, so that both
// sides still agree on the sum when part of it never arrived (as the final size
// of RFC 9000 §4.5).
type Skip struct {
	Channel uint16
	Mode    Mode
	Seq     uint64
	Sent    uint64
}

// Read tells the sender that the application has taken a message that asked
// for a receipt.
type Read struct {
	Channel uint16
	Mode    Mode
	Seq     uint64
}

// Close ends the session. Reason aliases the buffer it was read from.
type Close struct {
	Code   uint64
	Reason []byte
}

// Message is one message or a fragment of one. Data aliases the buffer it was
// read from.
type Message struct {
	Channel  uint16
	Mode     Mode
	Fragment bool // only a part: Offset and Total are on the wire
	Receipt  bool
	Urgent   bool
	Packed   bool   // Data is of several messages: see AppendPacked
	Seq      uint64 // counts the messages of one channel and mode from 0
	Offset   uint64
	Total    uint64 // length of the whole message; len(Data) if it is not a fragment
	Data     []byte
}

// A Chunk is any one chunk, decoded: Type says which field holds it.
type Chunk struct {
	Type      ChunkType
	Ack       Ack
	Path      [8]byte // PATH_CHALLENGE, PATH_RESPONSE
	NewConnID NewConnID
	Retire    uint64 // RETIRE_CONNECTION_ID
	Credit    Credit
	Skip      Skip
	Read      Read
	Close     Close
	Message   Message
}

// AckEliciting reports whether a frame that holds the chunk must be
// acknowledged (RFC 9002 §2).
func (t ChunkType) AckEliciting() bool {
	return t != TypePadding && t != TypeAck && t != TypeAckECN && t != TypeClose
}

// Probing reports whether the chunk may fly on a path that carries no data
// without moving the session there (RFC 9000 §9.1).
func (t ChunkType) Probing() bool {
	return t == TypePadding || t == TypePathChallenge || t == TypePathResponse || t == TypeNewConnID
}

// ConsumeChunk decodes the chunk at the front of b into c and returns what
// follows it. Runs of padding are consumed as one chunk. Fields of c that the
// chunk does not use are left as they were.
func ConsumeChunk(b []byte, c *Chunk) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, ErrShort
	}
	c.Type = ChunkType(b[0])
	if c.Type&0xc0 == TypeMessage {
		return consumeMessage(b, c)
	}
	b = b[1:]
	switch c.Type {
	case TypePadding:
		for len(b) > 0 && b[0] == byte(TypePadding) {
			b = b[1:]
		}
		return b, nil
	case TypePing:
		return b, nil
	case TypeAck, TypeAckECN:
		return c.Ack.consume(b, c.Type)
	case TypePathChallenge, TypePathResponse:
		return consumeFixed(b, c.Path[:])
	case TypeNewConnID:
		return c.NewConnID.consume(b)
	case TypeRetireConnID:
		c.Retire, b, err = ConsumeVarint(b)
		return b, err
	case TypeCredit:
		if c.Credit.Channel, b, err = consumeChannel(b); err != nil {
			return nil, err
		}
		c.Credit.Limit, b, err = ConsumeVarint(b)
		return b, err
	case TypeSkip:
		if c.Skip.Channel, c.Skip.Mode, c.Skip.Seq, b, err = consumeMessageName(b); err != nil {
			return nil, err
		}
		c.Skip.Sent, b, err = ConsumeVarint(b)
		return b, err
	case TypeRead:
		c.Read.Channel, c.Read.Mode, c.Read.Seq, b, err = consumeMessageName(b)
		return b, err
	case TypeClose:
		return c.Close.consume(b)
	}
	return nil, ErrType
}

func consumeFixed(b, into []byte) ([]byte, error) {
	if len(b) < len(into) {
		return nil, ErrShort
	}
	return b[copy(into, b):], nil
}

func consumeChannel(b []byte) (uint16, []byte, error) {
	v, b, err := ConsumeVarint(b)
	if err != nil {
		return 0, nil, err
	}
	if v > MaxChannel {
		return 0, nil, ErrRange
	}
	return uint16(v), b, nil
}

// AppendPath appends a PATH_CHALLENGE or PATH_RESPONSE (RFC 9000 §19.17).
func AppendPath(b []byte, t ChunkType, data [8]byte) []byte {
	return append(append(b, byte(t)), data[:]...)
}

// PathLen is the length of a PATH_CHALLENGE or PATH_RESPONSE.
const PathLen = 9

// NewConnIDLenMax is the most that a NEW_CONNECTION_ID takes.
const NewConnIDLenMax = 1 + 8 + 8 + ConnIDLen + 16

// Append appends n as a chunk.
func (n *NewConnID) Append(b []byte) []byte {
	b = append(b, byte(TypeNewConnID))
	b = AppendVarint(b, n.Seq)
	b = AppendVarint(b, n.RetireTo)
	b = append(b, n.ID[:]...)
	return append(b, n.Token[:]...)
}

func (n *NewConnID) consume(b []byte) (rest []byte, err error) {
	if n.Seq, b, err = ConsumeVarint(b); err != nil {
		return nil, err
	}
	if n.RetireTo, b, err = ConsumeVarint(b); err != nil {
		return nil, err
	}
	if n.RetireTo > n.Seq { // RFC 9000 §19.15
		return nil, ErrRange
	}
	if b, err = consumeFixed(b, n.ID[:]); err != nil {
		return nil, err
	}
	return consumeFixed(b, n.Token[:])
}

// AppendRetireConnID appends a RETIRE_CONNECTION_ID.
func AppendRetireConnID(b []byte, seq uint64) []byte {
	return AppendVarint(append(b, byte(TypeRetireConnID)), seq)
}

// Append appends c as a chunk.
func (c *Credit) Append(b []byte) []byte {
	b = append(b, byte(TypeCredit))
	b = AppendVarint(b, uint64(c.Channel))
	return AppendVarint(b, c.Limit)
}

// Append appends s as a chunk.
func (s *Skip) Append(b []byte) []byte {
	b = appendMessageName(append(b, byte(TypeSkip)), s.Channel, s.Mode, s.Seq)
	return AppendVarint(b, s.Sent)
}

// Append appends r as a chunk.
func (r *Read) Append(b []byte) []byte {
	return appendMessageName(append(b, byte(TypeRead)), r.Channel, r.Mode, r.Seq)
}

// ControlLenMax is the most that a PING, RETIRE_CONNECTION_ID, CREDIT, SKIP or
// READ takes.
const ControlLenMax = 1 + 4 + 1 + 8 + 8

func appendMessageName(b []byte, ch uint16, m Mode, seq uint64) []byte {
	b = AppendVarint(b, uint64(ch))
	b = append(b, byte(m))
	return AppendVarint(b, seq)
}

func consumeMessageName(b []byte) (ch uint16, m Mode, seq uint64, rest []byte, err error) {
	if ch, b, err = consumeChannel(b); err != nil {
		return
	}
	if len(b) == 0 {
		return ch, m, seq, nil, ErrShort
	}
	if m = Mode(b[0]); m > Sequenced {
		return ch, m, seq, nil, ErrRange
	}
	seq, rest, err = ConsumeVarint(b[1:])
	return
}

// Append appends c as a chunk; the reason is cut at MaxCloseReason bytes.
func (c *Close) Append(b []byte) []byte {
	r := c.Reason[:min(len(c.Reason), MaxCloseReason)]
	b = append(b, byte(TypeClose))
	b = AppendVarint(b, c.Code)
	b = AppendVarint(b, uint64(len(r)))
	return append(b, r...)
}

func (c *Close) consume(b []byte) (rest []byte, err error) {
	if c.Code, b, err = ConsumeVarint(b); err != nil {
		return nil, err
	}
	n, b, err := ConsumeVarint(b)
	if err != nil {
		return nil, err
	}
	if n > MaxCloseReason {
		return nil, ErrRange
	}
	if uint64(len(b)) < n {
		return nil, ErrShort
	}
	c.Reason = b[:n:n]
	return b[n:], nil
}

// Append appends m as a chunk. The caller has filled every field that m.Fragment
// asks for.
func (m *Message) Append(b []byte) []byte {
	return append(m.AppendHeader(b, len(m.Data)), m.Data...)
}

// AppendHeader appends all of m but its data, of which dataLen bytes will
// follow.
func (m *Message) AppendHeader(b []byte, dataLen int) []byte {
	t := byte(TypeMessage) | byte(m.Mode)<<messageModeShift
	if m.Fragment {
		t |= messageFragment
	}
	if m.Receipt {
		t |= messageReceipt
	}
	if m.Urgent {
		t |= messageUrgent
	}
	if m.Packed {
		t |= messagePacked
	}
	b = append(b, t)
	b = AppendVarint(b, uint64(m.Channel))
	b = AppendVarint(b, m.Seq)
	if m.Fragment {
		b = AppendVarint(b, m.Offset)
		b = AppendVarint(b, m.Total)
	}
	return AppendVarint(b, uint64(dataLen))
}

// MessageHeaderMax is the most that AppendHeader appends.
const MessageHeaderMax = 1 + 4 + 8 + 8 + 8 + 8

// HeaderLen returns the length of what AppendHeader appends.
func (m *Message) HeaderLen(dataLen int) int {
	n := 1 + VarintLen(uint64(m.Channel)) + VarintLen(m.Seq) + VarintLen(uint64(dataLen))
	if m.Fragment {
		n += VarintLen(m.Offset) + VarintLen(m.Total)
	}
	return n
}

func consumeMessage(b []byte, c *Chunk) (rest []byte, err error) {
	m, t := &c.Message, b[0]
	c.Type = TypeMessage
	m.Mode = Mode(t >> messageModeShift & 3)
	m.Fragment = t&messageFragment != 0
	m.Receipt = t&messageReceipt != 0
	m.Urgent = t&messageUrgent != 0
	m.Packed = t&messagePacked != 0
	if m.Packed && (m.Receipt || m.Mode == Sequenced) {
		return nil, ErrType
	}
	if m.Channel, b, err = consumeChannel(b[1:]); err != nil {
		return nil, err
	}
	if m.Seq, b, err = ConsumeVarint(b); err != nil {
		return nil, err
	}
	m.Offset = 0
	if m.Fragment {
		if m.Offset, b, err = ConsumeVarint(b); err != nil {
			return nil, err
		}
		if m.Total, b, err = ConsumeVarint(b); err != nil {
			return nil, err
		}
	}
	n, b, err := ConsumeVarint(b)
	if err != nil {
		return nil, err
	}
	if uint64(len(b)) < n {
		return nil, ErrShort
	}
	if !m.Fragment {
		m.Total = n
	} else if n == 0 || n >= m.Total || m.Offset > m.Total-n {
		return nil, ErrRange // a fragment is a proper, non-empty part that lies inside
	}
	m.Data = b[:n:n]
	return b[n:], nil
}

// AppendPacked appends data to a pack: the data of a Message that is Packed. It
// is one or more messages that travel as one, each after its length as a varint.
func AppendPacked(b, data []byte) []byte {
	return append(AppendVarint(b, uint64(len(data))), data...)
}

// PackedLen returns by how much AppendPacked makes a pack longer.
func PackedLen(dataLen int) int { return VarintLen(uint64(dataLen)) + dataLen }
