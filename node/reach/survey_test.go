package reach

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/wire"
)

const (
	stunPort   = 3478
	probePorts = 8
)

// A box answers the binding requests of a rig as the probe ports of a server do
// that are behind a NAT of the given behaviour.
type box struct {
	mapping func(flow int) uint16 // the port of the n-th flow of a side socket; nil: each socket has one port
	open    bool                  // another port of the server comes through
	hairpin bool
	poison  bool // what came unasked costs a flow its port
	public  netip.Addr

	lost  func(n int, a Action) bool // the n-th request, or its answer, does not arrive
	delay func(n int) time.Duration  // of the answer

	requests int
	flows    map[shot]uint16
	visited  map[uint32]bool // sockets that have got something unasked
}

func (b *box) mapped(link uint32, to netip.AddrPort) netip.AddrPort {
	public := b.public
	if !public.IsValid() {
		public = publicSelf.Addr()
	}
	if b.mapping == nil || link == 0 && to.Port() == stunPort {
		port := publicSelf.Port() + uint16(link&0xff)
		if b.visited[link] && b.poison && to.Port() == stunPort+probePorts {
			port += 1000
		}
		return netip.AddrPortFrom(public, port)
	}
	flow := shot{link, to}
	if b.flows[flow] == 0 {
		if b.flows == nil {
			b.flows = make(map[shot]uint16)
		}
		if link == 0 {
			b.flows[flow] = uint16(60000 + len(b.flows))
		} else {
			n := 0
			for f := range b.flows {
				if f.link == link {
					n++
				}
			}
			b.flows[flow] = b.mapping(n)
		}
	}
	return netip.AddrPortFrom(public, b.flows[flow])
}

// An arrival is an answer on its way.
type arrival struct {
	at   time.Duration
	link uint32
	from netip.AddrPort
	data []byte
}

// through lets time pass, with the box between the rig and its server. What the
// rig did but for binding requests is left in r.out.
func (b *box) through(r *rig, d time.Duration) {
	r.t.Helper()
	var flying []arrival
	begun := r.now
	for took := time.Duration(0); took < d; took = r.now.Sub(begun) {
		for k := 0; k < len(r.out); k++ {
			if r.out[k].Kind != SendSTUN {
				continue
			}
			a := r.out[k]
			r.out = slices.Delete(r.out, k, k+1)
			k--
			if f, ok := b.answer(r, a); ok {
				f.at += took
				flying = append(flying, f)
			}
		}
		slices.SortStableFunc(flying, func(x, y arrival) int { return int(x.at - y.at) })
		for len(flying) > 0 && flying[0].at <= took {
			f := flying[0]
			flying = flying[1:]
			r.c.HandleSTUN(r.now, f.link, f.from, f.data)
			r.drain()
		}
		next := r.c.Deadline()
		if len(flying) > 0 {
			next = min(next, begun.Add(flying[0].at))
		}
		r.advance(min(max(next.Sub(r.now), time.Millisecond), d-took))
	}
}

func (b *box) answer(r *rig, a Action) (f arrival, ok bool) {
	r.t.Helper()
	b.requests++
	if b.visited == nil {
		b.visited = make(map[uint32]bool)
	}
	if a.Addr.Addr() != serverAddr.Addr() { // a hairpin
		link := session.LinkSocket | uint32(a.Addr.Port()-publicSelf.Port())
		return arrival{link: link, from: publicSelf, data: a.Data}, b.hairpin
	}
	req, ok := ParseProbe(a.Data)
	if !ok && a.Addr.Port() != stunPort {
		r.t.Fatalf("a probe port does not understand %x", a.Data)
	}
	if b.lost != nil && b.lost(b.requests, a) {
		return f, false
	}
	f = arrival{link: a.Link, from: a.Addr, data: answer(r.t, a, b.mapped(a.Link, a.Addr))}
	if b.delay != nil {
		f.at = b.delay(b.requests)
	}
	if req.ChangePort {
		f.from = netip.AddrPortFrom(a.Addr.Addr(), stunPort+probePorts)
		b.visited[a.Link] = true
		return f, b.open
	}
	if req.ResponsePort != 0 {
		f.link = session.LinkSocket | uint32(req.ResponsePort-publicSelf.Port())
	}
	return f, true
}

// newSurveyRig returns a rig whose server has just told of its probe ports.
func newSurveyRig(t *testing.T, hosts ...Host) *rig {
	r := newOnlineRig(t, 1)
	r.c.SetHosts(r.now, hosts)
	r.tellProbes()
	return r
}

func (r *rig) tellProbes() {
	r.control(0, (&wire.Registered{Observed: publicSelf, KeepAlive: 20000, STUNPort: stunPort, Probes: probePorts}).Append(nil))
}

var atHome = Host{Addr: addr("192.168.1.5:4000"), OnLink: netip.MustParsePrefix("192.168.1.0/24")}

func rowOf(first, step int) func(int) uint16 {
	return func(n int) uint16 { return uint16(first + n*step) }
}

func listOf(ports ...uint16) func(int) uint16 {
	return func(n int) uint16 { return ports[n%len(ports)] }
}

func TestSurveyNamesWhatTheNATDoes(t *testing.T) {
	const (
		ei  = wire.EndpointIndependent
		ad  = wire.AddressDependent
		apd = wire.AddressAndPortDependent
	)
	random := listOf(50123, 1999, 33012, 9120, 61000, 27000, 14000)
	for name, c := range map[string]struct {
		box  box
		want wire.NAT
	}{
		"full cone":     {box{open: true}, wire.NAT{Mapping: ei, Filtering: ad}},
		"filters ports": {box{}, wire.NAT{Mapping: ei, Filtering: apd}},
		"Linux":         {box{poison: true}, wire.NAT{Mapping: ei, Filtering: apd, Flags: wire.NATPoisonProne}},
		"counts up": {box{mapping: rowOf(20000, 1)},
			wire.NAT{Mapping: apd, Filtering: apd, Ports: wire.PortsSequential, Base: 20006, Step: 1}},
		"counts down": {box{mapping: rowOf(20000, -2)},
			wire.NAT{Mapping: apd, Filtering: apd, Ports: wire.PortsSequential, Base: 19988, Step: -2}},
		"counts up by 256": {box{mapping: rowOf(20000, 256)},
			wire.NAT{Mapping: apd, Filtering: apd, Ports: wire.PortsSequential, Base: 21536, Step: 256}},
		"counts up, others in between": {box{mapping: listOf(20000, 20001, 20004, 20005, 20009, 20010, 20011)},
			wire.NAT{Mapping: apd, Filtering: apd, Ports: wire.PortsSequential, Base: 20011, Step: 1}},
		"picks from a block": {box{mapping: listOf(30100, 30040, 30190, 30010, 30160, 30077, 30131)},
			wire.NAT{Mapping: apd, Filtering: apd, Ports: wire.PortsBlock, Low: 30010 - 61, High: 30190 + 61}},
		"picks any port": {box{mapping: random}, wire.NAT{Mapping: apd, Filtering: apd, Ports: wire.PortsRandom}},
		"picks any port, open": {box{mapping: random, open: true},
			wire.NAT{Mapping: apd, Filtering: ad, Ports: wire.PortsRandom}},
	} {
		orders := map[string]func(n int) time.Duration{
			"":                               nil,
			", answers overtake each other":  func(n int) time.Duration { return time.Duration(60-n*7%50) * time.Millisecond },
			", the answers are slow to come": func(int) time.Duration { return 150 * time.Millisecond },
		}
		for order, delay := range orders {
			b := c.box
			b.delay = delay
			r := newSurveyRig(t, atHome)
			b.through(r, 4*time.Second)
			f := r.c.Findings()
			if !f.Done || f.NAT != c.want || f.Public != No {
				t.Errorf("%s%s: found %+v, want %+v", name, order, f, c.want)
			}
			r.take(Surveyed, "it is over")
		}
	}
}

func TestSurveyOutlivesLoss(t *testing.T) {
	for drop := 1; drop <= 16; drop++ {
		r := newSurveyRig(t, atHome)
		b := box{mapping: rowOf(20000, 1), open: true, lost: func(n int, _ Action) bool { return n == drop }}
		b.through(r, 4*time.Second)
		f := r.c.Findings()
		if !f.Done || f.NAT.Mapping != wire.AddressAndPortDependent || f.NAT.Filtering != wire.AddressDependent {
			t.Errorf("datagram %d lost: found %+v", drop, f)
		}
	}
}

// A server whose probe ports a firewall drops must not be taken for proof of
// anything that makes peers give up.
func TestSilentProbePortsProveNothing(t *testing.T) {
	for _, host := range []Host{atHome, {Addr: publicSelf}} {
		r := newSurveyRig(t, host)
		b := box{lost: func(int, Action) bool { return true }}
		b.through(r, 4*time.Second)
		if f := r.c.Findings(); !f.Done || f.NAT != (wire.NAT{}) || hardnessOf(&f.NAT) != easy {
			t.Errorf("found %+v", f)
		}
		if b.requests > 40 {
			t.Errorf("%d requests to a server that does not answer", b.requests)
		}
		if d := r.c.KeepAlive(); d != keepAliveDefault {
			t.Errorf("keepalive %v, want %v: there may be a firewall", d, keepAliveDefault)
		}
	}
}

// Loss, or a firewall before the probe ports, need not last.
func TestSurveyThatNobodyAnsweredIsRepeated(t *testing.T) {
	r := newSurveyRig(t, atHome)
	deaf := true
	b := box{lost: func(int, Action) bool { return deaf }}
	b.through(r, 4*time.Second)
	spent := b.requests

	deaf = false
	r.tellProbes()
	b.through(r, 4*time.Second)
	if f := r.c.Findings(); f.NAT.Mapping != wire.BehaviorUnknown || b.requests > spent+2 {
		t.Errorf("%d requests at once after %d that nobody answered: %+v", b.requests-spent, spent, f)
	}
	b.through(r, surveyInterval)
	r.tellProbes()
	b.through(r, 4*time.Second)
	if f := r.c.Findings(); !f.Done || f.NAT.Mapping != wire.EndpointIndependent {
		t.Errorf("found %+v", f)
	}
	b.through(r, surveyInterval)
	r.tellProbes()
	b.through(r, 100*time.Millisecond)
	if f := r.c.Findings(); !f.Done {
		t.Error("what is known is looked for again")
	}
	r.c.Moved(r.now)
	r.drain()
	wantSocketsClosed(t, r)
}

func TestSurveySeesWhetherTheNATTurnsPacketsAround(t *testing.T) {
	for want, turns := range map[Verdict]bool{Yes: true, No: false} {
		r := newSurveyRig(t, atHome)
		b := box{hairpin: turns}
		b.through(r, 4*time.Second)
		if f := r.c.Findings(); f.Hairpin != want {
			t.Errorf("hairpin %v, want %v", f.Hairpin, want)
		}
	}
}

func TestSurveyOfAPublicNodeEndsSoon(t *testing.T) {
	r := newSurveyRig(t, Host{Addr: publicSelf})
	b := box{open: true}
	b.through(r, time.Second)
	f := r.c.Findings()
	if !f.Done || f.Public != Yes || f.NAT.Mapping != wire.EndpointIndependent {
		t.Errorf("found %+v", f)
	}
	r.wantNone(OpenSocket, "there is no NAT to look at")
	if r.c.KeepAlive() != keepAliveMax {
		t.Errorf("keepalive %v, want %v", r.c.KeepAlive(), keepAliveMax)
	}
}

func TestSurveyIsBounded(t *testing.T) {
	for name, b := range map[string]*box{
		"easy": {}, "hard": {mapping: rowOf(20000, 1)}, "silent": {lost: func(int, Action) bool { return true }},
	} {
		r := newSurveyRig(t, atHome)
		for range 100 {
			r.tellProbes()
		}
		b.through(r, 5*time.Second)
		if b.requests > 60 {
			t.Errorf("%s: %d requests", name, b.requests)
		}
		if n := len(r.c.queries) + len(r.c.samplings); n != 0 {
			t.Errorf("%s: %d queries are left", name, n)
		}
	}
}

// The side socket of a survey is closed at its end, and when the network changes
// in the middle of it.
func TestSurveyClosesItsSocket(t *testing.T) {
	for _, mapping := range []func(int) uint16{nil, rowOf(20000, 1)} {
		for stop := time.Duration(0); stop < time.Second; stop += 13 * time.Millisecond {
			r := newSurveyRig(t, atHome)
			b := box{mapping: mapping}
			b.through(r, stop)
			r.c.Moved(r.now)
			r.drain()
			wantSocketsClosed(t, r)
		}
	}
}

func wantSocketsClosed(t *testing.T, r *rig) {
	t.Helper()
	open := make(map[uint32]int)
	for _, a := range r.out {
		switch a.Kind {
		case OpenSocket:
			open[a.Link]++
		case CloseSocket:
			open[a.Link]--
		}
	}
	for link, n := range open {
		if n != 0 {
			t.Errorf("socket %x: opened %+d times more than closed", link, n)
		}
	}
}

func TestSurveyBeginsAnewInAnotherNetwork(t *testing.T) {
	r := newSurveyRig(t, atHome)
	late := box{mapping: rowOf(20000, 1)}
	old := slices.Clone(r.out)
	r.c.Moved(r.now)
	r.drain()
	if f := r.c.Findings(); f.Done || f.NAT != (wire.NAT{}) {
		t.Errorf("found %+v before anything was asked", f)
	}
	r.out = nil
	r.tellProbes()
	asked := slices.Clone(r.out)
	r.out = old
	late.through(r, 100*time.Millisecond)
	if f := r.c.Findings(); f.NAT.Mapping != wire.BehaviorUnknown {
		t.Errorf("late answers to the old survey counted: %+v", f)
	}
	r.out = asked
	now := box{open: true}
	now.through(r, 4*time.Second)
	if f := r.c.Findings(); !f.Done || f.NAT.Mapping != wire.EndpointIndependent {
		t.Errorf("found %+v in the new network", f)
	}
}

// Only what was asked counts, and only from where it was asked.
func TestAnswersThatNobodyAskedForAreIgnored(t *testing.T) {
	r := newSurveyRig(t, atHome)
	var asked []Action
	for _, a := range r.out {
		if a.Kind == SendSTUN && a.Addr.Port() != stunPort {
			asked = append(asked, a)
		}
	}
	if len(asked) != 3 {
		t.Fatalf("%d queries begin the survey, want 3", len(asked))
	}
	elsewhere := addr("198.51.99.1:9999")
	for _, a := range asked {
		good := answer(t, a, elsewhere)
		request, _ := ParseProbe(a.Data)
		wrongPort := netip.AddrPortFrom(a.Addr.Addr(), a.Addr.Port()+1)
		if request.ChangePort {
			wrongPort = a.Addr
		}
		otherID := slices.Clone(good)
		otherID[19]++
		right := a.Addr
		if request.ChangePort {
			right = netip.AddrPortFrom(a.Addr.Addr(), stunPort+probePorts)
		}
		for name, in := range map[string]struct {
			link uint32
			from netip.AddrPort
			b    []byte
		}{
			"another address":     {0, netip.AddrPortFrom(publicBob.Addr(), a.Addr.Port()), good},
			"another port":        {0, wrongPort, good},
			"another link":        {session.LinkSocket | 1, right, good},
			"a relay link":        {1, right, good},
			"another transaction": {0, right, otherID},
			"a request":           {0, right, a.Data},
		} {
			queries := len(r.c.queries)
			r.c.HandleSTUN(r.now, in.link, in.from, in.b)
			r.drain()
			if len(r.c.queries) != queries {
				t.Errorf("%s: it counted for the query to port %d", name, a.Addr.Port())
			}
		}
		r.c.HandleSTUN(r.now, 0, right, good)
		r.c.HandleSTUN(r.now, 0, right, good)
		r.drain()
	}
	if f := r.c.Findings(); f.NAT.Mapping != wire.AddressAndPortDependent || f.NAT.Filtering != wire.AddressDependent {
		t.Errorf("the right answers came to %+v", f)
	}
}

func TestErrorFromAProbePortIsNoAnswer(t *testing.T) {
	r := newSurveyRig(t, atHome)
	for _, a := range slices.Clone(r.out) {
		if a.Kind == SendSTUN {
			r.c.HandleSTUN(r.now, 0, a.Addr, answer(t, a, publicSelf, stun.BindingError, stun.CodeBadRequest))
		}
	}
	r.drain()
	(&box{lost: func(int, Action) bool { return true }}).through(r, 2*time.Second)
	if f := r.c.Findings(); !f.Done || f.NAT.Mapping != wire.BehaviorUnknown {
		t.Errorf("found %+v", f)
	}
}

// The server says where it sees a socket. The hairpin goes there, so it must not
// be the address of somebody else.
func TestHairpinGoesOnlyToTheNodesOwnAddress(t *testing.T) {
	for name, mapped := range map[string]netip.AddrPort{
		"another address": addr("20.1.2.3:4000"),
		"another service": netip.AddrPortFrom(publicSelf.Addr(), 11211),
	} {
		r := newSurveyRig(t, atHome)
		for range 200 {
			for _, a := range r.out {
				if a.Kind != SendSTUN {
					continue
				}
				if a.Addr.Addr() != serverAddr.Addr() {
					t.Fatalf("%s: a datagram went to %v", name, a.Addr)
				}
				says := publicSelf
				if a.Link != 0 {
					says = mapped
				}
				r.c.HandleSTUN(r.now, a.Link, a.Addr, answer(t, a, says))
			}
			r.out = nil
			r.drain()
			r.advance(10 * time.Millisecond)
		}
		if f := r.c.Findings(); !f.Done || f.Hairpin != Unknown {
			t.Errorf("%s: found %+v", name, f)
		}
	}
}

func TestQueriesAreBounded(t *testing.T) {
	r := newOnlineRig(t, 1)
	failed := 0
	for range 10 * queriesMax {
		r.c.ask(query{to: serverAddr, done: func(_ netip.AddrPort, ok bool) { failed++ }})
	}
	if len(r.c.queries) > queriesMax || failed < 9*queriesMax {
		t.Errorf("%d queries, %d failed at once", len(r.c.queries), failed)
	}
	r.drain()
	r.advance(time.Second)
	if failed != 10*queriesMax || len(r.c.queries) != 0 {
		t.Errorf("%d of %d are done, %d left", failed, 10*queriesMax, len(r.c.queries))
	}
}

func TestPortsThatFollowEachOther(t *testing.T) {
	for _, c := range []struct {
		ports []uint16
		step  int16
		ok    bool
	}{
		{nil, 0, false},
		{[]uint16{5000, 5001}, 0, false},
		{[]uint16{5000, 5001, 5002}, 1, true},
		{[]uint16{5002, 5001, 5000}, -1, true},
		{[]uint16{65534, 65535, 0, 1}, 1, true},
		{[]uint16{1, 0, 65535}, -1, true},
		{[]uint16{5000, 5256, 5512}, 256, true},
		{[]uint16{5512, 5256, 5000}, -256, true},
		{[]uint16{5000, 6024, 7048}, 1024, true},
		{[]uint16{5000, 6025, 7050}, 0, false}, // beyond stepMax
		{[]uint16{5000, 5001, 5005, 5006}, 1, true},
		{[]uint16{5000, 5001, 5006, 5007}, 0, false}, // more than skipsMax
		{[]uint16{5002, 5004, 5010}, 2, true},
		{[]uint16{5002, 5004, 5009}, 0, false}, // no multiple
		{[]uint16{5000, 5001, 5001}, 0, false},
		{[]uint16{5000, 5001, 5000}, 0, false},
		{[]uint16{0, 32768, 0}, 0, false},
		{[]uint16{0, 32768, 0, 32768}, 0, false},
	} {
		step, ok := stepOf(c.ports)
		if ok != c.ok || ok && step != c.step {
			t.Errorf("%v: step %d, %v; want %d, %v", c.ports, step, ok, c.step, c.ok)
		}
	}
}

// What is found out is told to peers, so it must be what the wire can carry.
func TestPortsAreDescribedAsTheWireAllows(t *testing.T) {
	for _, c := range []struct {
		ports []uint16
		want  wire.NAT
	}{
		{nil, wire.NAT{Ports: wire.PortsRandom}},
		{[]uint16{5000}, wire.NAT{Ports: wire.PortsRandom}},
		{[]uint16{5000, 5007, 5001, 5003}, wire.NAT{Ports: wire.PortsRandom}}, // too few to tell
		{[]uint16{5000, 5007, 5001, 5003, 5012}, wire.NAT{Ports: wire.PortsBlock, Low: 4995, High: 5017}},
		{[]uint16{5000, 5000, 5000, 5000, 5000}, wire.NAT{Ports: wire.PortsRandom}},
		{[]uint16{1030, 1500, 1100, 1040, 1200}, wire.NAT{Ports: wire.PortsBlock, Low: 1024, High: 1657}},
		{[]uint16{65535, 65000, 65100, 65400, 65200}, wire.NAT{Ports: wire.PortsBlock, Low: 64821, High: 65535}},
		{[]uint16{10000, 14097, 10001, 12000, 10700}, wire.NAT{Ports: wire.PortsRandom}},
		{[]uint16{30, 20, 10}, wire.NAT{Ports: wire.PortsSequential, Base: 10, Step: -10}},
		{[]uint16{10, 900, 20, 500, 30}, wire.NAT{Ports: wire.PortsRandom}}, // nobody searches there
		{[]uint16{10, 90, 20, 50, 30}, wire.NAT{Ports: wire.PortsRandom}},
	} {
		var nat wire.NAT
		describePorts(&nat, c.ports)
		if nat != c.want {
			t.Errorf("%v: %+v, want %+v", c.ports, nat, c.want)
		}
		m, back := wire.Introduce{Peer: bob, NAT: nat}, wire.Rendezvous{}
		if err := wire.ParseRendezvous(m.Append(nil), &back); err != nil {
			t.Errorf("%v: peers cannot be told %+v: %v", c.ports, nat, err)
		}
	}
}
