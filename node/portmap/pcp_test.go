package portmap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	testNonce  = pcpNonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	testClient = netip.MustParseAddr("192.168.1.5")
)

// unhex reads hex with spaces, and comments from # to the end of the line.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	announceRequest = `
		02 00 0000                        # version 2, request of ANNOUNCE
		00000000                          # lifetime
		00000000 00000000 0000ffff c0a80105 # client, ::ffff:192.168.1.5`
	mapRequest = `
		02 01 0000                        # version 2, request of MAP
		00001c20                          # lifetime, 7200 s
		00000000 00000000 0000ffff c0a80105
		01020304 05060708 090a0b0c        # nonce
		11 000000                         # UDP
		0fa0 0000                         # internal port 4000, any external
		00000000 00000000 0000ffff 00000000 # any external IPv4 address`
	mapResponse = `
		02 81 00 00                       # version 2, response to MAP, success
		00000e10                          # lifetime, 3600 s
		0001e240                          # epoch
		00000000 00000000 00000000        # reserved
		01020304 05060708 090a0b0c        # nonce
		11 000000                         # UDP
		0fa0 9c40                         # internal port 4000, external 40000
		00000000 00000000 0000ffff cb007105 # external address 203.0.113.5`
	mapRefusal = `
		02 81 00 02                       # not authorized
		00000708 00000001 00000000 00000000 00000000
		01020304 05060708 090a0b0c 11000000 0fa0 0000
		00000000 00000000 0000ffff 00000000`
	natpmpRefusal = `00 80 0001 00000005      # RFC 6886 §3.5: version not supported`
)

func TestPCPRequests(t *testing.T) {
	if got, want := appendPCPAnnounce(nil, testClient), unhex(t, announceRequest); !bytes.Equal(got, want) {
		t.Errorf("ANNOUNCE:\n got %x\nwant %x", got, want)
	}
	m := pcpMap{nonce: testNonce, internal: 4000}
	if got, want := appendPCPMap(nil, m, 2*time.Hour, testClient), unhex(t, mapRequest); !bytes.Equal(got, want) {
		t.Errorf("MAP:\n got %x\nwant %x", got, want)
	}
}

func TestPCPResponses(t *testing.T) {
	external := netip.MustParseAddrPort("203.0.113.5:40000")
	for _, test := range []struct {
		name, hex string
		want      pcpResponse
	}{
		{"granted", mapResponse, pcpResponse{
			op: pcpOpMap, lifetime: time.Hour, epoch: 123456,
			mapped: pcpMap{testNonce, 4000, external},
		}},
		{"granted, with an option", mapResponse + "\n 02000000", pcpResponse{
			op: pcpOpMap, lifetime: time.Hour, epoch: 123456,
			mapped: pcpMap{testNonce, 4000, external},
		}},
		{"refused", mapRefusal, pcpResponse{
			op: pcpOpMap, result: 2, lifetime: 30 * time.Minute, epoch: 1,
			mapped: pcpMap{testNonce, 4000, netip.MustParseAddrPort("0.0.0.0:0")},
		}},
		{"NAT-PMP only", natpmpRefusal, pcpResponse{result: pcpUnsuppVers}},
	} {
		got, err := parsePCP(unhex(t, test.hex))
		if err != nil || got != test.want {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", test.name, got, err, test.want)
		}
	}
}

func TestPCPRefusesWhatIsNoResponse(t *testing.T) {
	whole := unhex(t, mapResponse)
	for n := range whole {
		if _, err := parsePCP(whole[:n]); err == nil {
			t.Errorf("%d bytes of a response are one", n)
		}
	}
	with := func(i int, v byte) []byte {
		b := bytes.Clone(whole)
		b[i] = v
		return b
	}
	for _, test := range []struct {
		name string
		b    []byte
		want error
	}{
		{"a request", unhex(t, mapRequest), errPCPRequest},
		{"a later version", with(0, 3), errPCPVersion},
		{"an older version that complains of nothing", with(0, 0), errPCPVersion},
		{"the opcode PEER", with(1, 0x82), errPCPOpcode},
		{"TCP", with(36, 6), errPCPProtocol},
		{"half a word", append(bytes.Clone(whole), 0, 0), errPCPLength},
		{"too long", make([]byte, pcpMessageLenMax+4), errPCPLength},
	} {
		if _, err := parsePCP(test.b); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}

func TestEpochTellsRestarts(t *testing.T) {
	for _, test := range []struct {
		name                string
		elapsed             time.Duration
		from, to            uint32
		lostPCP, lostNATPMP bool
	}{
		{"in step", time.Hour, 100, 3700, false, false},
		{"reordered by a second", 0, 100, 99, false, false},
		{"from zero", time.Hour, 100000, 5, true, true},
		{"restarted, and counted past the last", time.Hour, 100, 1000, true, true},
		{"slow clock, by a tenth", time.Hour, 100, 3340, true, false},
		{"slow clock, by a twentieth", time.Hour, 100, 3520, false, false},
		{"jumped ahead", time.Hour, 100, 90000, true, false}, // RFC 6886 has no limit
	} {
		now := time.Unix(1e9, 0)
		var pcp, natpmp epoch
		if pcp.lostPCP(test.from, now) || natpmp.lostNATPMP(test.from, now) {
			t.Errorf("%s: the first count is a loss", test.name)
		}
		now = now.Add(test.elapsed)
		if got := pcp.lostPCP(test.to, now); got != test.lostPCP {
			t.Errorf("PCP, %s: lost %v", test.name, got)
		}
		if got := natpmp.lostNATPMP(test.to, now); got != test.lostNATPMP {
			t.Errorf("NAT-PMP, %s: lost %v", test.name, got)
		}
	}
}

// FuzzPCP: no datagram makes the parser panic, and a grant it returns says what
// was in the datagram.
func FuzzPCP(f *testing.F) {
	for _, text := range []string{mapRequest, mapResponse, mapRefusal, natpmpRefusal, announceRequest, "02 80 0000 00000000 00000001 00000000 00000000 00000000"} {
		f.Add(unhex(f, text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parsePCP(b)
		if err != nil || r.op != pcpOpMap || r.result == pcpUnsuppVers {
			return
		}
		// A request that wishes for what was granted is written the same.
		again := appendPCPMap(nil, r.mapped, r.lifetime, testClient)
		if !bytes.Equal(again[4:8], b[4:8]) || !bytes.Equal(again[24:37], b[24:37]) || !bytes.Equal(again[40:60], b[40:60]) {
			t.Errorf("parsed %+v\nfrom  %x\nwrite %x", r, b, again)
		}
		_ = r.result.Error()
	})
}
