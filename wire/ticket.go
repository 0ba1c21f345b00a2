package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Limits of a ticket.
const (
	MaxTicketServers = 4
	MaxTicketAddrs   = 8
	maxHostLen       = 253 // a DNS name, RFC 1035 §2.3.4
	maxServerAddrLen = maxHostLen + len(":65535")
	ticketLenMin     = 32 + 1 + 1
	ticketLenMax     = ticketLenMin + MaxTicketServers*(32+2+maxServerAddrLen) + MaxTicketAddrs*addrPortLenMax
)

const ticketPrefix = "hft1"

// A Server is a rendezvous server: the key that it proves to have and the UDP
// address where it listens. Its text form is what nodes paste.
type Server struct {
	ID   PeerID
	Addr string // host:port; the host is a DNS name or an IP address
}

// String returns the text form: peer ID, "@", host and port.
func (s Server) String() string { return s.ID.String() + "@" + s.Addr }

// MarshalText implements [encoding.TextMarshaler]. The error is always nil.
func (s Server) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseServer].
func (s *Server) UnmarshalText(text []byte) (err error) {
	*s, err = ParseServer(string(text))
	return err
}

// ParseServer reads the text form of a server. The host is not resolved.
func ParseServer(s string) (Server, error) {
	s = strings.TrimSpace(s)
	id, addr, ok := strings.Cut(s, "@")
	if !ok {
		return Server{}, fmt.Errorf("wire: server %q has no address: want hf1...@host:port", abbreviate(s))
	}
	peer, err := ParsePeerID(id)
	if err != nil {
		return Server{}, err
	}
	addr, err = parseHostPort(addr)
	if err != nil {
		return Server{}, err
	}
	return Server{ID: peer, Addr: addr}, nil
}

// A Ticket is all that one needs to dial a peer: who it is, which servers know
// it, and where it was last seen.
type Ticket struct {
	Peer    PeerID
	Servers []Server         // at most MaxTicketServers
	Addrs   []netip.AddrPort // at most MaxTicketAddrs
}

// String returns the text form, or a note in its place if t breaks a limit.
func (t Ticket) String() string {
	text, err := t.MarshalText()
	if err != nil {
		return "invalid ticket (" + strings.TrimPrefix(err.Error(), "wire: ") + ")"
	}
	return string(text)
}

// MarshalText implements [encoding.TextMarshaler]. It fails if t breaks a limit
// or holds an address that ParseTicket would refuse.
func (t Ticket) MarshalText() ([]byte, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	v := append(make([]byte, 0, 256), t.Peer[:]...)
	v = append(v, byte(len(t.Servers)))
	for _, s := range t.Servers {
		v = append(v, s.ID[:]...)
		v = AppendVarint(v, uint64(len(s.Addr)))
		v = append(v, s.Addr...)
	}
	v = append(v, byte(len(t.Addrs)))
	for _, a := range t.Addrs {
		v = appendAddrPort(v, a)
	}
	return appendText(nil, ticketPrefix, v), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseTicket].
func (t *Ticket) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTicket(string(text))
	return err
}

func (t *Ticket) validate() error {
	switch {
	case t.Peer.IsZero():
		return errors.New("wire: ticket without a peer ID")
	case len(t.Servers) > MaxTicketServers:
		return fmt.Errorf("wire: ticket with %d servers, want at most %d", len(t.Servers), MaxTicketServers)
	case len(t.Addrs) > MaxTicketAddrs:
		return fmt.Errorf("wire: ticket with %d addresses, want at most %d", len(t.Addrs), MaxTicketAddrs)
	}
	for _, s := range t.Servers {
		if s.ID.IsZero() {
			return errors.New("wire: ticket with a server without a peer ID")
		}
		if addr, err := parseHostPort(s.Addr); err != nil {
			return err
		} else if addr != s.Addr {
			return fmt.Errorf("wire: ticket with server address %q, want it as %q", s.Addr, addr)
		}
	}
	for _, a := range t.Addrs {
		if !validAddrPort(a) {
			return fmt.Errorf("wire: ticket with address %v, which cannot be a peer's", a)
		}
	}
	return nil
}

// ParseTicket reads the text form of a ticket, or a bare peer ID as a ticket
// that holds nothing else.
func ParseTicket(s string) (Ticket, error) {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(s)), peerPrefix) {
		peer, err := ParsePeerID(s)
		return Ticket{Peer: peer}, err
	}
	v, err := parseText("ticket", ticketPrefix, s, ticketLenMin, ticketLenMax)
	if err != nil {
		return Ticket{}, err
	}
	var t Ticket
	rest, err := t.consume(v)
	if err == nil && len(rest) > 0 {
		err = ErrTrailing
	}
	if err != nil {
		return Ticket{}, fmt.Errorf("wire: ticket is malformed: %w", err)
	}
	if err := t.validate(); err != nil {
		return Ticket{}, err
	}
	return t, nil
}

func (t *Ticket) consume(b []byte) (rest []byte, err error) {
	if b, err = consumePeer(b, &t.Peer); err != nil {
		return nil, err
	}
	n, b, err := consumeCount(b, MaxTicketServers)
	if err != nil {
		return nil, err
	}
	for range n {
		var s Server
		if s, b, err = consumeServer(b); err != nil {
			return nil, err
		}
		t.Servers = append(t.Servers, s)
	}
	if n, b, err = consumeCount(b, MaxTicketAddrs); err != nil {
		return nil, err
	}
	for range n {
		var a netip.AddrPort
		if a, b, err = consumeAddrPort(b); err != nil {
			return nil, err
		}
		t.Addrs = append(t.Addrs, a)
	}
	return b, nil
}

func consumeServer(b []byte) (s Server, rest []byte, err error) {
	if b, err = consumePeer(b, &s.ID); err != nil {
		return s, nil, err
	}
	n, b, err := ConsumeVarint(b)
	if err != nil {
		return s, nil, err
	}
	if n > uint64(maxServerAddrLen) {
		return s, nil, ErrRange
	}
	if uint64(len(b)) < n {
		return s, nil, ErrShort
	}
	s.Addr = string(b[:n])
	return s, b[n:], nil
}

func consumeCount(b []byte, limit int) (n int, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, ErrShort
	}
	if int(b[0]) > limit {
		return 0, nil, ErrRange
	}
	return int(b[0]), b[1:], nil
}

// parseHostPort checks host:port and returns it in its one canonical form: IP
// addresses as netip prints them, DNS names in lower case.
func parseHostPort(s string) (string, error) {
	fail := func(why string) (string, error) {
		return "", fmt.Errorf("wire: server address %q: %s", abbreviate(s), why)
	}
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return fail("no port: want host:port")
	}
	host, port := s[:colon], s[colon+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return fail("the port is not a number from 1 to 65535")
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		ip, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !ip.Is6() || !strings.HasSuffix(inner, "]") {
			return fail("not an IPv6 address in brackets")
		}
		return checkServerIP(s, ip, port)
	}
	if strings.Contains(host, ":") {
		return fail("an IPv6 address needs brackets: [host]:port")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return checkServerIP(s, ip, port)
	}
	host = strings.ToLower(host)
	if !validDNSName(host) {
		return fail("the host is neither a DNS name nor an IP address")
	}
	return host + ":" + port, nil
}

func checkServerIP(s string, ip netip.Addr, port string) (string, error) {
	if !validAddrPort(netip.AddrPortFrom(ip, 1)) {
		return "", fmt.Errorf("wire: server address %q: a server cannot have this address", abbreviate(s))
	}
	if ip.Is6() {
		return "[" + ip.String() + "]:" + port, nil
	}
	return ip.String() + ":" + port, nil
}

// validDNSName accepts what resolvers accept: letters, digits, hyphens and
// underscores in labels of at most 63, in lower case. A name whose last label
// is a number would be an IPv4 address, and netip has refused it.
func validDNSName(s string) bool {
	if len(s) > maxHostLen {
		return false
	}
	label := ""
	for label = range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(label, "0123456789") != ""
}

// abbreviate keeps what was typed by mistake from filling the screen.
func abbreviate(s string) string {
	const limit = 100
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}
