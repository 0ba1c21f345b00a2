package reach

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/seed-67dce94e/holdfast/wire"
)

var stunAddr = addr("198.51.99.8:19302")

// answer returns a binding response to the request in a, with the setters given
// in place of the mapped address if there are any.
func answer(t *testing.T, a Action, mapped netip.AddrPort, set ...stun.Setter) []byte {
	t.Helper()
	req := &stun.Message{Raw: a.Data}
	if err := req.Decode(); err != nil {
		t.Fatalf("request %x: %v", a.Data, err)
	}
	if set == nil {
		set = []stun.Setter{stun.BindingSuccess, &stun.XORMappedAddress{IP: mapped.Addr().AsSlice(), Port: int(mapped.Port())}}
	}
	return stun.MustBuild(append([]stun.Setter{stun.NewTransactionIDSetter(req.TransactionID)}, set...)...).Raw
}

func newSTUNRig(t *testing.T) (*rig, Action) {
	r := newRig(t, 0)
	r.c.SetSTUNServers(r.now, []netip.AddrPort{stunAddr})
	r.drain()
	a := r.take(SendSTUN, "at once")
	if a.Addr != stunAddr || wire.Classify(a.Data) != wire.KindSTUN {
		t.Fatalf("request %x to %v", a.Data, a.Addr)
	}
	return r, a
}

func (r *rig) stun(from netip.AddrPort, b []byte) {
	r.c.HandleSTUN(r.now, 0, from, b)
	r.drain()
}

func TestNodeLearnsItsReflexiveAddress(t *testing.T) {
	r, a := newSTUNRig(t)
	r.stun(stunAddr, answer(t, a, publicSelf))
	if got := r.c.Reflexive(); !slices.Equal(got, []netip.AddrPort{publicSelf}) {
		t.Errorf("reflexive %v, want %v", got, publicSelf)
	}
	r.advance(stunInterval * 6 / 5)
	if b := r.take(SendSTUN, "mappings are forgotten"); slices.Equal(b.Data[8:20], a.Data[8:20]) {
		t.Error("the transaction ID was used again")
	}
}

func TestSTUNRequestIsResentAndGivenUp(t *testing.T) {
	r, first := newSTUNRig(t)
	begun := r.now
	for _, at := range []time.Duration{300, 900, 2100, 4500} {
		r.advance(at*time.Millisecond - r.now.Sub(begun) - 1)
		r.wantNone(SendSTUN, "it is not time yet")
		r.advance(1)
		if a := r.take(SendSTUN, "no answer yet"); !slices.Equal(a.Data, first.Data) {
			t.Error("the request is not the same one")
		}
	}
	r.advance(stunTimeout - r.now.Sub(begun))
	r.stun(stunAddr, answer(t, first, publicSelf))
	if r.c.Reflexive() != nil {
		t.Error("an answer counted after its transaction had ended")
	}
	r.advance(stunInterval * 6 / 5)
	r.take(SendSTUN, "the server may be back")
}

func TestUnsolicitedSTUNIsIgnored(t *testing.T) {
	r, a := newSTUNRig(t)
	good := answer(t, a, publicSelf)
	otherID := slices.Clone(good)
	otherID[19]++
	for name, in := range map[string]struct {
		from netip.AddrPort
		b    []byte
	}{
		"another source":      {serverAddr, good},
		"another port":        {netip.AddrPortFrom(stunAddr.Addr(), 1), good},
		"another transaction": {stunAddr, otherID},
		"a request":           {stunAddr, a.Data},
		"trailing bytes":      {stunAddr, append(slices.Clone(good), 0, 0, 0, 0)},
		"cut short":           {stunAddr, good[:len(good)-1]},
		"empty":               {stunAddr, nil},
		"very long":           {stunAddr, make([]byte, 65507)},
	} {
		r.stun(in.from, in.b)
		if r.c.Reflexive() != nil {
			t.Errorf("%s: it counted", name)
		}
	}
	r.stun(stunAddr, good)
	if r.c.Reflexive() == nil {
		t.Error("the right answer did not count after the wrong ones")
	}
	moved := answer(t, a, publicBob)
	r.stun(stunAddr, moved)
	if got := r.c.Reflexive(); !slices.Equal(got, []netip.AddrPort{publicSelf}) {
		t.Errorf("a second answer to one request counted: %v", got)
	}
}

// Each attribute of each answer is wrong in one way.
func TestWrongMappedAddressIsIgnored(t *testing.T) {
	raw := func(value ...byte) []stun.Setter {
		return []stun.Setter{stun.BindingSuccess, stun.RawAttribute{Type: stun.AttrXORMappedAddress, Value: value}}
	}
	mapped := func(ip string, port int) []stun.Setter {
		return []stun.Setter{stun.BindingSuccess, &stun.XORMappedAddress{IP: net.ParseIP(ip), Port: port}}
	}
	many := []stun.Setter{stun.BindingSuccess}
	for range 100 {
		many = append(many, stun.RawAttribute{Type: 0x8123})
	}
	good := &stun.XORMappedAddress{IP: net.IPv4(198, 51, 99, 1).To4(), Port: 4001}
	for name, set := range map[string][]stun.Setter{
		"no attribute":       {stun.BindingSuccess},
		"length 0":           raw(),
		"length 1":           raw(0),
		"length 3":           raw(0, 1, 2),
		"length 4":           raw(0, 1, 2, 3),
		"length 7":           raw(0, 1, 2, 3, 4, 5, 6),
		"length 9":           raw(0, 1, 2, 3, 4, 5, 6, 7, 8),
		"length of IPv6":     raw(make([]byte, 20)...),
		"IPv6, length 8":     raw(0, 2, 2, 3, 4, 5, 6, 7),
		"IPv4, length 20":    raw(append([]byte{0, 1}, make([]byte, 18)...)...),
		"family 0":           raw(0, 0, 2, 3, 4, 5, 6, 7),
		"family 3":           raw(0, 3, 2, 3, 4, 5, 6, 7),
		"port 0":             mapped("198.51.99.1", 0),
		"loopback":           mapped("127.0.0.1", 4000),
		"unspecified":        mapped("0.0.0.0", 4000),
		"multicast":          mapped("224.0.0.4", 4000),
		"private":            mapped("192.168.1.1", 4000),
		"link-local":         mapped("fe80::1", 4000),
		"unknown, required":  {stun.BindingSuccess, stun.RawAttribute{Type: 0x0123}, good},
		"too many":           append(many, good),
		"error, alternate":   {stun.BindingError, stun.CodeTryAlternate, good},
		"indication":         {stun.NewType(stun.MethodBinding, stun.ClassIndication), good},
		"another method":     {stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse), good},
		"wrong fingerprint":  {stun.BindingSuccess, good, stun.RawAttribute{Type: stun.AttrFingerprint, Value: []byte{1, 2, 3, 4}}},
		"plain address only": {stun.BindingSuccess, &stun.MappedAddress{IP: net.IPv4(198, 51, 99, 1).To4(), Port: 4001}},
	} {
		r, a := newSTUNRig(t)
		r.stun(stunAddr, answer(t, a, netip.AddrPort{}, set...))
		if got := r.c.Reflexive(); got != nil {
			t.Errorf("%s: node believes to be at %v", name, got)
		}
		if n := r.count(SendSTUN); n > 0 {
			t.Errorf("%s: it made the node send at once", name)
		}
	}
}

func TestNewMappingIsToldToPeers(t *testing.T) {
	r := newOnlineRig(t, 1)
	r.c.SetSTUNServers(r.now, []netip.AddrPort{stunAddr})
	r.drain()
	moved := addr("198.51.99.77:5000")
	r.stun(stunAddr, answer(t, r.take(SendSTUN, "at once"), moved))
	r.introduce(bob, true)
	m, _ := r.takeControl(wire.RendezvousIntroduce, "at once")
	told := slices.Collect(m.Introduce.Candidates.All())
	if !slices.Contains(told, wire.Candidate{Kind: wire.CandidateReflexive, Addr: moved}) {
		t.Errorf("told %v, want %v among them", told, moved)
	}
	if got := r.c.Reflexive(); !slices.Equal(got, []netip.AddrPort{moved, publicSelf}) {
		t.Errorf("reflexive %v: an address seen lately may still hold", got)
	}
	r.advance(sightingLife + time.Minute)
	if got := r.c.Reflexive(); len(got) > 0 {
		t.Errorf("reflexive %v long after anyone saw them", got)
	}
}

func TestRendezvousServersAnswerSTUN(t *testing.T) {
	r := newRig(t, 1)
	r.c.ServerUp(r.now, 0, serverAddr, time.Millisecond)
	r.control(0, (&wire.Registered{Observed: publicSelf, STUNPort: 3479}).Append(nil))
	if a := r.take(SendSTUN, "the server has the service"); a.Addr != addr("198.51.99.9:3479") {
		t.Errorf("asked %v", a.Addr)
	}
	r.c.ServerDown(r.now, 0, nil)
	r.drain()
	r.advance(time.Minute)
	r.wantNone(SendSTUN, "the server is gone")
}

func TestBindingRequestIsAnswered(t *testing.T) {
	for _, src := range []netip.AddrPort{publicSelf, addr("[2001:470::7]:9"), addr("[::ffff:198.51.99.1]:4001")} {
		req := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
		b, ok := AppendBindingResponse([]byte("x"), req.Raw, src)
		if !ok || b[0] != 'x' {
			t.Fatalf("from %v: no answer", src)
		}
		got, success, ok := parseBindingResponse(b[1:], req.TransactionID)
		if want := netip.AddrPortFrom(src.Addr().Unmap(), src.Port()); !ok || !success || got != want {
			t.Errorf("answer says %v, want %v", got, want)
		}
		if more := len(b) - 1 - len(req.Raw); more > 24 {
			t.Errorf("the answer is %d bytes longer than the request", more)
		}
	}
}

func TestOnlyBindingRequestsAreAnswered(t *testing.T) {
	req := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	cookie := slices.Clone(req)
	binary.BigEndian.PutUint32(cookie[4:], 1)
	for name, b := range map[string][]byte{
		"empty":        nil,
		"short":        req[:19],
		"no cookie":    cookie,
		"trailing":     append(slices.Clone(req), 0),
		"response":     stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw,
		"error":        stun.MustBuild(stun.TransactionID, stun.BindingError).Raw,
		"indication":   stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw,
		"allocate":     stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw,
		"wants more":   stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.RawAttribute{Type: 0x0003, Value: make([]byte, 4)}).Raw,
		"giant":        make([]byte, 65507),
		"data, sealed": append([]byte{0x40}, req...),
	} {
		if out, ok := AppendBindingResponse(nil, b, publicSelf); ok || out != nil {
			t.Errorf("%s: answered %x", name, out)
		}
	}
}

// Whatever a server or a stranger sends, the client never panics, never counts
// an address that it cannot have, and never sends at once more than one message.
func FuzzSTUNIntake(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw, false)
	f.Add([]byte{1, 1, 0, 12, 0, 32, 0, 8, 0, 1, 46, 179, 231, 33, 119, 67}, true)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		r, a := newSTUNRig(t)
		if fix && len(b) >= 4 { // make it an answer to the request
			b = slices.Concat(b[:4], a.Data[4:20], b[4:])
		}
		r.stun(stunAddr, b)
		for _, ip := range r.c.Reflexive() {
			if ScopeOf(ip.Addr()) != ScopeGlobal || ip.Port() == 0 {
				t.Errorf("node believes to be at %v", ip)
			}
		}
		if len(r.out) > 1 {
			t.Errorf("%d actions at once", len(r.out))
		}
		if out, ok := AppendBindingResponse(nil, b, publicSelf); ok && len(out) > len(b)+24 {
			t.Errorf("answer of %d bytes to %d", len(out), len(b))
		}
	})
}
