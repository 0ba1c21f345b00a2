package wire

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func examplePeer(first byte) (p PeerID) {
	for i := range p {
		p[i] = first + byte(i)
	}
	return p
}

func textVectors(t *testing.T, kind string) (found []vector) {
	for _, v := range readVectors(t) {
		if v.kind == kind {
			found = append(found, v)
		}
	}
	if len(found) == 0 {
		t.Fatal("no vectors")
	}
	return found
}

func TestPeerIDVectors(t *testing.T) {
	for _, v := range textVectors(t, "peerid") {
		p, err := ParsePeerID(v.text)
		if err != nil || p != PeerID(v.raw) {
			t.Errorf("%s: %x, %v", v.name, p, err)
		}
		if p.String() != v.text {
			t.Errorf("%s: String is %s, want %s", v.name, p, v.text)
		}
	}
}

func TestServerVectors(t *testing.T) {
	for _, v := range textVectors(t, "server") {
		want := Server{ID: PeerID(v.raw[:32]), Addr: string(v.raw[32:])}
		s, err := ParseServer(v.text)
		if err != nil || s != want {
			t.Errorf("%s: %v, %v", v.name, s, err)
		}
		if s.String() != v.text {
			t.Errorf("%s: String is %s, want %s", v.name, s, v.text)
		}
	}
}

func TestTicketVectors(t *testing.T) {
	for _, v := range textVectors(t, "ticket") {
		ticket, err := ParseTicket(v.text)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if ticket.String() != v.text {
			t.Errorf("%s: String is %s, want %s", v.name, ticket, v.text)
		}
		if got, err := parseText("ticket", ticketPrefix, v.text, ticketLenMin, ticketLenMax); err != nil || string(got) != string(v.raw) {
			t.Errorf("%s: value %x, %v, want %x", v.name, got, err, v.raw)
		}
	}
}

func TestPeerIDIsReadInEitherCaseAndWithSpaceAround(t *testing.T) {
	want := examplePeer(0x20)
	for _, s := range []string{want.String(), strings.ToUpper(want.String()), " \t" + want.String() + "\r\n"} {
		if p, err := ParsePeerID(s); err != nil || p != want {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
}

func TestMistypedPeerIDIsRefusedWithAClearError(t *testing.T) {
	good := examplePeer(0x20).String()
	for _, c := range []struct{ in, want string }{
		{"", "peer ID is empty"},
		{"   ", "peer ID is empty"},
		{"example.net", `does not start with "hf1"`},
		{"hf2" + good[3:], `does not start with "hf1"`},
		{Ticket{Peer: examplePeer(1)}.String(), "this is a ticket"},
		{good + "@rv.example.net:7411", "has an address with it"},
		{good[:30], "cut short"},
		{good[:60], "cut short"},
		{good[:3], "cut short"},
		{good + "aa", "too long: 63 characters, want at most 61"},
		{good[:9] + "0" + good[10:], "bad character '0' at position 10"},
		{good[:9] + " " + good[9:], "bad character ' ' at position 10"},
		{good[:9] + "\u212a" + good[10:], "bad character '\u212a' at position 10"}, // lower case is "k"
		{good[:20] + "a" + good[21:], "checksum (mistyped?)"},
		{good[:20] + good[21:22] + good[20:21] + good[22:], "checksum (mistyped?)"},
		{PeerID{}.String(), "names nobody"},
	} {
		p, err := ParsePeerID(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.in, err, c.want)
		}
		if !p.IsZero() {
			t.Errorf("%q: an error, yet a peer ID: %v", c.in, p)
		}
	}
}

func TestEveryWrongCharacterOfAPeerIDIsNoticed(t *testing.T) {
	good := examplePeer(0x20).String()
	for i := range good {
		for _, r := range "abcdefghijklmnopqrstuvwxyz0123456789" {
			if byte(r) == good[i] {
				continue
			}
			if p, err := ParsePeerID(good[:i] + string(r) + good[i+1:]); err == nil {
				t.Errorf("%q instead of %q at %d accepted: %v", r, good[i], i, p)
			}
		}
	}
}

func TestPeerIDTravelsThroughJSON(t *testing.T) {
	in := map[PeerID]Server{examplePeer(1): {ID: examplePeer(2), Addr: "10.0.0.1:7411"}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[PeerID]Server
	if err := json.Unmarshal(text, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%s became %v, %v", text, out, err)
	}
}

func TestServerAddressIsCheckedAndMadeCanonical(t *testing.T) {
	id := examplePeer(0x80).String()
	for in, want := range map[string]string{
		"RV.Example.NET:7411":   "rv.example.net:7411",
		"localhost:1":           "localhost:1",
		"_hf.a-b.example:65535": "_hf.a-b.example:65535",
		"127.0.0.1:7411":        "127.0.0.1:7411",
		"[::1]:7411":            "[::1]:7411",
		"[2001:DB8:0::1]:7411":  "[2001:db8::1]:7411",
	} {
		if s, err := ParseServer(id + "@" + in); err != nil || s.Addr != want {
			t.Errorf("%q: %q, %v, want %q", in, s.Addr, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                                   "no port",
		"rv.example.net":                     "no port",
		"rv.example.net:":                    "the port is not a number",
		"rv.example.net:0":                   "the port is not a number",
		"rv.example.net:07411":               "the port is not a number",
		"rv.example.net:+7411":               "the port is not a number",
		"rv.example.net:65536":               "the port is not a number",
		"rv.example.net:udp":                 "the port is not a number",
		":7411":                              "neither a DNS name nor an IP address",
		"rv..example.net:7411":               "neither a DNS name nor an IP address",
		"-rv.example.net:7411":               "neither a DNS name nor an IP address",
		"rv example.net:7411":                "neither a DNS name nor an IP address",
		"rv.example.net/x:7411":              "neither a DNS name nor an IP address",
		"b\u00fccher.example:7411":           "neither a DNS name nor an IP address",
		"300.1.1.1:7411":                     "neither a DNS name nor an IP address",
		strings.Repeat("a", 64) + ":7411":    "neither a DNS name nor an IP address",
		strings.Repeat("a.", 127) + "b:7411": "neither a DNS name nor an IP address",
		"2001:db8::1:7411":                   "needs brackets",
		"[2001:db8::1:7411":                  "not an IPv6 address in brackets",
		"[10.0.0.1]:7411":                    "not an IPv6 address in brackets",
		"[]:7411":                            "not an IPv6 address in brackets",
		"[fe80::1%eth0]:7411":                "cannot have this address",
		"[::ffff:10.0.0.1]:7411":             "cannot have this address",
		"0.0.0.0:7411":                       "cannot have this address",
		"224.0.0.1:7411":                     "cannot have this address",
	} {
		if s, err := ParseServer(id + "@" + in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, error %v, want one with %q", in, s, err, want)
		}
	}
	if _, err := ParseServer(id); err == nil || !strings.Contains(err.Error(), "want hf1...@host:port") {
		t.Errorf("a server without an address: error %v", err)
	}
	if _, err := ParseServer("@h:1"); err == nil || !strings.Contains(err.Error(), "peer ID is empty") {
		t.Errorf("a server without a peer ID: error %v", err)
	}
}

func fullTicket() Ticket {
	t := Ticket{Peer: examplePeer(1)}
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4)[:maxHostLen-1] + "b:65535"
	for i := range MaxTicketServers {
		t.Servers = append(t.Servers, Server{ID: examplePeer(byte(i + 2)), Addr: long})
	}
	for i := range MaxTicketAddrs {
		ip := netip.AddrFrom16([16]byte{0: 0x20, 15: byte(i)})
		t.Addrs = append(t.Addrs, netip.AddrPortFrom(ip, uint16(i+1)))
	}
	return t
}

func TestLargestTicketTravelsAsText(t *testing.T) {
	in := fullTicket()
	text, err := in.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var out Ticket
	if err := out.UnmarshalText([]byte(strings.ToUpper(string(text)))); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%v became %v, %v", in, out, err)
	}
}

func TestPeerIDServesAsATicket(t *testing.T) {
	want := Ticket{Peer: examplePeer(9)}
	if got, err := ParseTicket(" " + strings.ToUpper(want.Peer.String())); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestTicketBeyondALimitIsNotWritten(t *testing.T) {
	for want, spoil := range map[string]func(*Ticket){
		"without a peer ID":           func(t *Ticket) { t.Peer = PeerID{} },
		"5 servers, want at most 4":   func(t *Ticket) { t.Servers = append(t.Servers, t.Servers[0]) },
		"9 addresses, want at most 8": func(t *Ticket) { t.Addrs = append(t.Addrs, t.Addrs[0]) },
		"a server without a peer ID":  func(t *Ticket) { t.Servers[1].ID = PeerID{} },
		"no port":                     func(t *Ticket) { t.Servers[1].Addr = "example.net" },
		`want it as "example.net:1"`:  func(t *Ticket) { t.Servers[1].Addr = "Example.net:1" },
		"which cannot be a peer's":    func(t *Ticket) { t.Addrs[1] = netip.AddrPort{} },
	} {
		ticket := fullTicket()
		spoil(&ticket)
		text, err := ticket.MarshalText()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s, error %v, want one with %q", text, err, want)
		}
		if !strings.HasPrefix(ticket.String(), "invalid ticket (") {
			t.Errorf("String is %q", ticket)
		}
	}
}

func TestMalformedTicketIsRefused(t *testing.T) {
	id := examplePeer(0x20)
	peer := string(id[:])
	for _, c := range []struct{ value, want string }{
		{peer[:31], "cut short"},
		{peer, "cut short"},
		{peer + "\x00", "cut short"},
		{peer + "\x00\x01", "truncated"},
		{peer + "\x00\x00\x00", "trailing bytes"},
		{peer + "\x05\x00", "out of range"},
		{peer + "\x00\x09", "out of range"},
		{peer + "\x01" + peer + "\x41\x04", "out of range"},
		{peer + "\x01" + peer + "\x03h:", "truncated"},
		{peer + "\x01" + peer + "\x03H:1\x00", `want it as "h:1"`},
		{peer + "\x01" + peer + "\x02h:\x00", "the port is not a number"},
		{strings.Repeat("\x00", 32) + "\x00\x00", "out of range"},
		{peer + "\x00\x01\x04\x0a\x00\x00\x01\x00\x00", "out of range"},
	} {
		text := string(appendText(nil, ticketPrefix, []byte(c.value)))
		if ticket, err := ParseTicket(text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%x: %v, error %v, want one with %q", c.value, ticket, err, c.want)
		}
	}
	good := Ticket{Peer: examplePeer(1)}.String()
	for in, want := range map[string]string{
		"":                                 "ticket is empty",
		"hfx":                              `does not start with "hft1"`,
		"hft1":                             "cut short",
		good[:len(good)-1]:                 "", // any error will do
		good[:10] + "1" + good[11:]:        "bad character '1' at position 11",
		"hft1" + strings.Repeat("a", 4000): "too long",
		examplePeer(1).String() + "@h:1":   "has an address with it",
	} {
		if ticket, err := ParseTicket(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, error %v, want one with %q", in, ticket, err, want)
		}
	}
}

func TestNATFlagsInJSONAreNames(t *testing.T) {
	for _, c := range []struct {
		flags NATFlags
		json  string
	}{
		{0, `[]`},
		{NATSearch, `["search"]`},
		{NATPoisonProne | NATSearch | NATNoUDP | NATRelayOnly, `["poison-prone","search","no-udp","relay-only"]`},
	} {
		b, err := json.Marshal(c.flags)
		if err != nil || string(b) != c.json {
			t.Errorf("%#x is %s, %v, want %s", c.flags, b, err, c.json)
		}
		var back NATFlags = 0xff
		if err := json.Unmarshal(b, &back); err != nil || back != c.flags {
			t.Errorf("%s is read as %#x, %v, want %#x", b, back, err, c.flags)
		}
	}
	for _, bad := range []string{`3`, `"search"`, `["sideways"]`} {
		if err := json.Unmarshal([]byte(bad), new(NATFlags)); err == nil {
			t.Errorf("%s is read as flags", bad)
		}
	}
}
