package rendezvous

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/session/limit"
)

// A fakePort keeps what a probe port sends.
type fakePort struct {
	net.PacketConn
	sent   []fakeSent
	reads  int
	closed int // after so many reads; 0: never
}

type fakeSent struct {
	to   netip.AddrPort
	data []byte
}

func (p *fakePort) WriteTo(b []byte, to net.Addr) (int, error) {
	p.sent = append(p.sent, fakeSent{to.(*net.UDPAddr).AddrPort(), b})
	return len(b), nil
}

func (p *fakePort) ReadFrom([]byte) (int, net.Addr, error) {
	if p.reads++; p.reads == p.closed {
		return 0, nil, net.ErrClosed
	}
	return 0, nil, errors.New("port unreachable")
}

// A probeRig is a prober with three ports.
type probeRig struct {
	*prober
	t     *testing.T
	clock clock.Time
	ports [3]*fakePort
}

func newProbeRig(t *testing.T) *probeRig {
	r := &probeRig{t: t, clock: clock.Time(time.Hour)}
	r.prober = &prober{now: func() clock.Time { return r.clock }, perSource: limit.NewTable[netip.Prefix](probeRate, 100)}
	for k := range r.ports {
		r.ports[k] = &fakePort{}
		r.prober.ports = append(r.prober.ports, r.ports[k])
	}
	return r
}

// ask sends a datagram to a port and returns the answer, and which port it comes
// from; -1 if there is none.
func (r *probeRig) ask(port int, from netip.AddrPort, b []byte) (answer fakeSent, by int) {
	r.t.Helper()
	r.handle(r.ports[port], from, b)
	by = -1
	for k, p := range r.ports {
		if len(p.sent) > 1 || len(p.sent) == 1 && by >= 0 {
			r.t.Fatalf("more than one answer to %x", b)
		}
		if len(p.sent) == 1 {
			answer, by = p.sent[0], k
		}
		p.sent = nil
	}
	return answer, by
}

// request builds a binding request of the given length, if that is more than it
// has.
func request(length int, change byte, responsePort uint16) []byte {
	m := stun.MustBuild(stun.NewTransactionIDSetter([12]byte{1, 2, 3}), stun.BindingRequest)
	if change != 0 {
		m.Add(stun.AttrChangeRequest, []byte{0, 0, 0, change})
	}
	if responsePort != 0 {
		m.Add(stun.AttrResponsePort, []byte{byte(responsePort >> 8), byte(responsePort), 0, 0})
	}
	if n := length - len(m.Raw) - 4; n >= 0 {
		m.Add(stun.AttrPadding, make([]byte, n))
	}
	return m.Raw
}

const (
	changePort = 0x02
	changeIP   = 0x04
)

var asker = netip.MustParseAddrPort("20.0.0.1:4000")

func wantMapped(t *testing.T, b []byte, want netip.AddrPort) {
	t.Helper()
	m := stun.Message{Raw: b}
	var mapped stun.XORMappedAddress
	if err := m.Decode(); err != nil || m.Type != stun.BindingSuccess || mapped.GetFrom(&m) != nil || m.TransactionID != [12]byte{1, 2, 3} {
		t.Fatalf("answer %x", b)
	}
	if ip, _ := netip.AddrFromSlice(mapped.IP); netip.AddrPortFrom(ip, uint16(mapped.Port)) != want {
		t.Errorf("the answer names %v, want %v", mapped, want)
	}
}

func TestProbePortTellsWhoAsks(t *testing.T) {
	for _, from := range []string{"20.0.0.1:4000", "[2a00::1]:4000", "20.0.0.1:53"} {
		r := newProbeRig(t)
		asker := netip.MustParseAddrPort(from)
		for port := range r.ports {
			answer, by := r.ask(port, asker, request(0, 0, 0))
			if by != port || answer.to != asker {
				t.Fatalf("%s: port %d: answered by %d to %v", from, port, by, answer.to)
			}
			wantMapped(t, answer.data, asker)
		}
	}
	r := newProbeRig(t)
	answer, _ := r.ask(0, netip.MustParseAddrPort("[::ffff:20.0.0.1]:4000"), request(0, 0, 0))
	wantMapped(t, answer.data, asker)
}

func TestChangeRequestIsAnsweredByTheLastPort(t *testing.T) {
	r := newProbeRig(t)
	for port := range r.ports {
		answer, by := r.ask(port, asker, request(72, changePort, 0))
		if by != len(r.ports)-1 || answer.to != asker {
			t.Errorf("port %d: answered by %d to %v", port, by, answer.to)
		}
	}
	if _, by := r.ask(1, asker, request(72, changeIP, 0)); by != 1 {
		t.Errorf("without a second address the answer comes from port %d, want the one asked", by)
	}
}

func TestResponsePortIsOneOfTheAsker(t *testing.T) {
	r := newProbeRig(t)
	for _, port := range []uint16{1024, 5000, 65535} {
		answer, by := r.ask(0, asker, request(72, 0, port))
		if by != 0 || answer.to != netip.AddrPortFrom(asker.Addr(), port) {
			t.Errorf("to port %d: answered by %d to %v", port, by, answer.to)
		}
		wantMapped(t, answer.data, asker)
	}
	for _, port := range []uint16{1, 53, 123, 443, 1023} {
		if answer, by := r.ask(0, asker, request(72, 0, port)); by >= 0 {
			t.Errorf("port %d belongs to a service, but %v was sent", port, answer)
		}
	}
}

// Whoever forges a source gains nothing by having the answer sent elsewhere.
func TestAnswersElsewhereAreNoLongerThanRequests(t *testing.T) {
	for _, from := range []netip.AddrPort{asker, netip.MustParseAddrPort("[2a00::1]:4000")} {
		r := newProbeRig(t)
		for _, elsewhere := range []struct {
			change byte
			port   uint16
		}{{changePort, 0}, {0, 5000}, {changePort, 5000}} {
			for length := 28; length <= 120; length += 4 {
				b := request(length, elsewhere.change, elsewhere.port)
				if answer, _ := r.ask(0, from, b); len(answer.data) > len(b) {
					t.Fatalf("%d bytes for %d from %v", len(answer.data), len(b), from)
				}
			}
			if _, by := r.ask(0, from, request(68, elsewhere.change, elsewhere.port)); by >= 0 {
				t.Error("a short request was answered")
			}
		}
	}
}

func TestProbePortsAnswerFew(t *testing.T) {
	r := newProbeRig(t)
	flood := func(from func(n int) netip.AddrPort, seconds int) (answers int) {
		for n := range seconds * 1000 {
			if _, by := r.ask(n%3, from(n), request(0, 0, 0)); by >= 0 {
				answers++
			}
			r.clock = r.clock.Add(time.Millisecond)
		}
		return answers
	}
	onePort := func(n int) netip.AddrPort { return netip.AddrPortFrom(asker.Addr(), uint16(1024+n)) }
	if n, most := flood(onePort, 3), int(probeRate.Burst+3*probeRate.PerSecond); n < most-1 || n > most {
		t.Errorf("one address got %d answers in 3 s, want %d", n, most)
	}
	if _, by := r.ask(0, netip.MustParseAddrPort("20.0.0.2:4000"), request(0, 0, 0)); by < 0 {
		t.Error("another address got none")
	}
	one64 := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x2a, 7: 1, 14: byte(n >> 8), 15: byte(n)}), 4000)
	}
	if n, most := flood(one64, 3), int(probeRate.Burst+3*probeRate.PerSecond); n > most {
		t.Errorf("one /64 got %d answers in 3 s, want at most %d", n, most)
	}
	many := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{21, byte(n >> 16), byte(n >> 8), byte(n)}), 4000)
	}
	flood(many, 2)
	if n := r.perSource.Len(); n > 100 {
		t.Errorf("%d sources are remembered, want at most 100", n)
	}
}

func TestProbePortsIgnoreGarbage(t *testing.T) {
	good := request(72, changePort, 5000)
	success := stun.MustBuild(stun.NewTransactionIDSetter([12]byte{1}), stun.BindingSuccess).Raw
	indication := stun.MustBuild(stun.NewTransactionIDSetter([12]byte{1}), stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw
	unknown := stun.MustBuild(stun.BindingRequest, stun.RawAttribute{Type: 0x7ff0}).Raw
	long := make([]byte, 2048)
	copy(long, good)
	for name, b := range map[string][]byte{
		"empty": nil, "a byte": {0}, "not STUN": []byte("GET / HTTP/1.1\r\n\r\n......"), "zeros": make([]byte, 72),
		"a response": success, "an indication": indication, "an attribute that must be understood": unknown,
		"cut short": good[:len(good)-1], "trailing bytes": append(good[:len(good):len(good)], 0, 0, 0, 0), "very long": long,
		"a short CHANGE-REQUEST": stun.MustBuild(stun.BindingRequest, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{2}}, stun.RawAttribute{Type: stun.AttrPadding, Value: make([]byte, 64)}).Raw,
		"a long RESPONSE-PORT":   stun.MustBuild(stun.BindingRequest, stun.RawAttribute{Type: stun.AttrResponsePort, Value: make([]byte, 8)}, stun.RawAttribute{Type: stun.AttrPadding, Value: make([]byte, 64)}).Raw,
	} {
		r := newProbeRig(t)
		if answer, by := r.ask(0, asker, b); by >= 0 {
			t.Errorf("%s was answered with %x", name, answer.data)
		}
		if r.perSource.Len() != 0 {
			t.Errorf("%s: it was charged to a source that may be forged", name)
		}
	}
	if answer, by := newProbeRig(t).ask(0, netip.AddrPortFrom(asker.Addr(), 0), request(0, 0, 0)); by >= 0 {
		t.Errorf("port 0 got %v", answer)
	}
}

func TestProbePortsEndAtOneThatIsTaken(t *testing.T) {
	var asked []uint16
	listen := func(port uint16) (net.PacketConn, error) {
		asked = append(asked, port)
		if len(asked) == 4 {
			return nil, errors.New("in use")
		}
		return &fakePort{closed: 2}, nil
	}
	p := listenProbes(listen, 3478, 8, func() clock.Time { return 0 })
	p.running.Wait()
	if len(p.ports) != 3 || len(asked) != 4 || asked[0] != 3479 {
		t.Errorf("%d ports of those asked for %v", len(p.ports), asked)
	}
	asked = nil
	p = listenProbes(listen, 65533, 8, func() clock.Time { return 0 })
	p.running.Wait()
	if len(p.ports) != 2 {
		t.Errorf("%d ports after 65533", len(p.ports))
	}
}

func TestProbePortThatOnlyFailsIsGivenUp(t *testing.T) {
	p := &fakePort{}
	(&prober{}).serve(p)
	if p.reads != readFailuresMax {
		t.Errorf("given up after %d reads", p.reads)
	}
}
