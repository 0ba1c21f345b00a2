package session

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/session/seal"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A script is one endpoint with one session, and a peer that the test plays: it
// writes frames chunk by chunk, says where they come from, lets time pass, and
// looks at each frame that the endpoint sends. There is no network.
type script struct {
	t   *testing.T
	now Time
	ep  *Endpoint
	s   *Session
	rng byte // of the peer

	id      *handshake.Identity
	keys    *seal.Keys
	connID  wire.ConnID // what the endpoint addresses the peer by
	to      wire.ConnID // what the peer addresses the endpoint by
	peerIs  wire.Params
	pn      uint64
	largest uint64
	heard   []uint64 // packet numbers that the peer got
	here    Path     // where the peer's frames come from

	frames []sentFrame // that no want has looked at
	events []Event     // likewise
	buf    [1500]byte
}

// A sentFrame is a frame that the endpoint sent.
type sentFrame struct {
	at     Time
	to     Path
	id     wire.ConnID
	kind   wire.Kind
	size   int
	chunks []wire.Chunk // of a DATA frame that opens
	raw    []byte
}

func (f *sentFrame) has(t wire.ChunkType) bool { return f.chunk(t) != nil }

func (f *sentFrame) chunk(t wire.ChunkType) *wire.Chunk {
	for i := range f.chunks {
		if f.chunks[i].Type == t {
			return &f.chunks[i]
		}
	}
	return nil
}

func (f sentFrame) String() string {
	var types []wire.ChunkType
	for i := range f.chunks {
		types = append(types, f.chunks[i].Type)
	}
	return fmt.Sprintf("at %v to %v: kind %v, %d bytes, chunks %v", f.at.Sub(epoch), f.to, f.kind, f.size, types)
}

// udp is the direct path to a port of a host with the given number.
func udp(host, port byte) Path {
	return Path{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, host}), uint16(port))}
}

// bareScript has an endpoint and no session yet.
func bareScript(t *testing.T, cfg Config) *script {
	return scriptOf(t, cfg, [32]byte{1: 1}, [32]byte{1: 2})
}

func scriptOf(t *testing.T, cfg Config, key, peerKey [32]byte) *script {
	cfg.Key = key
	ep, err := NewEndpoint(&cfg, [32]byte{7})
	if err != nil {
		t.Fatal(err)
	}
	id, err := handshake.NewIdentity(peerKey)
	if err != nil {
		t.Fatal(err)
	}
	return &script{t: t, now: epoch, ep: ep, id: id, here: udp(1, 1)}
}

// scriptRTT is the round trip that a script's peer shows in the handshake and
// that pass keeps up.
const scriptRTT = 40 * time.Millisecond

// dialedScript has a session that the endpoint began, as quiet as can be.
func dialedScript(t *testing.T, cfg Config) *script {
	sc := bareScript(t, cfg)
	sc.dial(sc.here)
	sc.respond(sc.wantKind("an INIT", wire.KindInit).raw, wire.Params{})
	sc.quieten()
	return sc
}

// acceptedScript has a session that the peer began.
func acceptedScript(t *testing.T, cfg Config) *script {
	sc := bareScript(t, cfg)
	hs := sc.initiate(wire.Params{})
	sc.deliver(hs.Frame())
	sc.now = sc.now.Add(scriptRTT)
	sc.confirm(hs)
	sc.s = sc.wantEvent("confirmed", Established).Session
	sc.quieten()
	return sc
}

// quieten answers and acknowledges everything until nothing is under way.
func (sc *script) quieten() {
	for range 20 {
		sc.advance(scriptRTT)
		sc.answerAll()
	}
	sc.take()
	sc.events = nil
}

// answerAll acknowledges what was sent and answers each challenge, from the path
// it went to.
func (sc *script) answerAll() {
	here := sc.here
	for _, f := range sc.take() {
		if c := f.chunk(wire.TypePathChallenge); c != nil {
			sc.here = f.to
			sc.write(pathResponse(c.Path))
		}
	}
	sc.here = here
	sc.ackAll()
}

func (sc *script) secret() (b [32]byte) {
	sc.rng++
	b[0] = sc.rng
	return b
}

func (sc *script) params(p wire.Params) wire.Params {
	sc.rng++
	p.ConnID = wire.ConnID{9, sc.rng}
	sc.connID = p.ConnID
	p.Token = sc.id.ResetToken(p.ConnID)
	p.AES, p.MaxAckDelay, p.MaxMessage, p.ChannelCredit = true, 25, 1<<20, 1<<20
	sc.peerIs = p
	return p
}

func (sc *script) dial(paths ...Path) {
	s, err := sc.ep.Dial(sc.now, DialOptions{Peer: sc.id.Public(), Paths: paths})
	if err != nil {
		sc.t.Fatal(err)
	}
	sc.s = s
	sc.drain()
}

// respond answers an INIT of the endpoint, a round trip after now.
func (sc *script) respond(init []byte, p wire.Params) {
	sc.t.Helper()
	r, err := sc.id.NewResponder(sc.ep.cfg.App, sc.secret())
	if err != nil {
		sc.t.Fatal(err)
	}
	pending, err := r.Read(init)
	if err != nil {
		sc.t.Fatalf("the endpoint's INIT: %v", err)
	}
	p = sc.params(p)
	frame, res, err := pending.Respond(&p, handshake.NewKeypair(sc.secret()))
	if err != nil {
		sc.t.Fatal(err)
	}
	sc.begin(res)
	sc.now = sc.now.Add(scriptRTT)
	sc.deliver(frame)
}

// initiate makes an INIT to the endpoint.
func (sc *script) initiate(p wire.Params) *handshake.Initiator {
	p = sc.params(p)
	hs, err := sc.id.Initiate(sc.ep.ID(), sc.ep.cfg.App, &p, handshake.Prepare(sc.ep.ID(), handshake.NewKeypair(sc.secret())))
	if err != nil {
		sc.t.Fatal(err)
	}
	return hs
}

// confirm takes the RESP and proves that the peer holds the keys.
func (sc *script) confirm(hs *handshake.Initiator) {
	sc.t.Helper()
	res, err := hs.HandleResp(sc.wantKind("an answer to the INIT", wire.KindResp).raw)
	if err != nil {
		sc.t.Fatal(err)
	}
	sc.begin(res)
	sc.write(ping)
}

func (sc *script) begin(res handshake.Result) {
	sc.keys = seal.New(res.Send, res.Recv, res.Params.AES)
	sc.to, sc.pn, sc.largest, sc.heard = res.Params.ConnID, 0, 0, nil
}

// Bodies of frames.
var ping = []byte{byte(wire.TypePing)}

func pathResponse(token [8]byte) []byte {
	return wire.AppendPath(nil, wire.TypePathResponse, token)
}

// write sends a frame of these chunks from where the peer is.
func (sc *script) write(chunks ...[]byte) {
	sc.deliver(sc.sealed(chunks...))
}

// sealed makes a frame of these chunks without delivering it yet.
func (sc *script) sealed(chunks ...[]byte) []byte {
	const pnLen = 4
	header := wire.AppendDataHeader(nil, sc.to, sc.keys.Phase(), sc.pn, pnLen)
	body := slices.Concat(chunks...)
	for len(header)+len(body) < wire.MinDataLen-wire.TagLen {
		body = append(body, byte(wire.TypePadding))
	}
	b := sc.keys.Seal(header, body, sc.pn)
	sc.pn++
	return b
}

func (sc *script) deliver(b []byte) {
	sc.ep.HandleDatagram(sc.now, sc.here, wire.NotECT, slices.Clone(b))
	sc.drain()
}

// ackAll acknowledges everything that the endpoint has sent.
func (sc *script) ackAll() {
	if len(sc.heard) == 0 {
		return
	}
	slices.Sort(sc.heard)
	var ranges []wire.Range
	for _, pn := range slices.Backward(sc.heard) {
		if n := len(ranges); n > 0 && ranges[n-1].Lo == pn+1 {
			ranges[n-1].Lo = pn
			continue
		}
		ranges = append(ranges, wire.Range{Lo: pn, Hi: pn})
	}
	sc.write(wire.AppendAck(nil, 0, ranges, 500))
}

// change makes a change on the caller's side and drains.
func (sc *script) change(what func(now Time)) {
	what(sc.now)
	sc.drain()
}

func (sc *script) send(n int) {
	sc.t.Helper()
	if _, err := sc.s.Send(sc.now, &Message{Data: make([]byte, n), Receipt: true}); err != nil {
		sc.t.Fatal(err)
	}
	sc.drain()
}

func (sc *script) drain() {
	for more := true; more; {
		more = false
		for d, ok := sc.ep.NextDatagram(sc.now, sc.buf[:]); ok; d, ok = sc.ep.NextDatagram(sc.now, sc.buf[:]) {
			sc.frames = append(sc.frames, sc.look(d))
			more = true
		}
		for e, ok := sc.ep.NextEvent(); ok; e, ok = sc.ep.NextEvent() {
			sc.events = append(sc.events, e)
			more = true
		}
	}
}

// look takes a frame apart as the peer would.
func (sc *script) look(d Datagram) sentFrame {
	f := sentFrame{at: sc.now, to: d.Path, kind: wire.Classify(d.Data), size: len(d.Data), raw: slices.Clone(d.Data)}
	if f.kind != wire.KindData || sc.keys == nil {
		return f
	}
	f.id, _ = wire.Destination(d.Data)
	pn, body, err := sc.keys.Open(sc.now, slices.Clone(d.Data), sc.largest, len(sc.heard) > 0)
	if err != nil {
		return f
	}
	sc.largest = max(sc.largest, pn)
	if !slices.Contains(sc.heard, pn) { // a copy is a repeat
		sc.heard = append(sc.heard, pn)
	}
	for len(body) > 0 {
		var c wire.Chunk
		if body, err = wire.ConsumeChunk(body, &c); err != nil {
			sc.t.Fatalf("the endpoint sent a chunk that does not parse: %v", err)
		}
		if c.Type == wire.TypeAck {
			sc.keys.OnAck(c.Ack.Largest)
		}
		if c.Type != wire.TypePadding {
			f.chunks = append(f.chunks, c)
		}
	}
	return f
}

// advance lets d go by. Each timer goes off at its time.
func (sc *script) advance(d time.Duration) {
	sc.t.Helper()
	end := sc.now.Add(d)
	for range 10_000 {
		at := sc.ep.Deadline()
		if at > end {
			sc.now = end
			return
		}
		sc.now = max(sc.now, at)
		sc.ep.HandleTimeout(sc.now)
		sc.drain()
	}
	sc.t.Fatal("the timers do not come to rest")
}

// take returns the frames that nothing has looked at, and forgets them.
func (sc *script) take() []sentFrame {
	f := sc.frames
	sc.frames = nil
	return f
}

// wantChunk takes the frames up to one with such a chunk.
func (sc *script) wantChunk(what string, t wire.ChunkType) *sentFrame {
	sc.t.Helper()
	return sc.wantFrame(what, func(f *sentFrame) bool { return f.has(t) })
}

func (sc *script) wantKind(what string, k wire.Kind) *sentFrame {
	sc.t.Helper()
	return sc.wantFrame(what, func(f *sentFrame) bool { return f.kind == k })
}

func (sc *script) wantFrame(what string, is func(*sentFrame) bool) *sentFrame {
	sc.t.Helper()
	for i := range sc.frames {
		if is(&sc.frames[i]) {
			f := &sc.frames[i]
			sc.frames = sc.frames[i+1:]
			return f
		}
	}
	sc.t.Fatalf("want %s; sent was %v", what, sc.frames)
	return nil
}

// wantIdle wants nothing to have been sent.
func (sc *script) wantIdle(why string) {
	sc.t.Helper()
	if len(sc.frames) > 0 {
		sc.t.Fatalf("sent although %s: %v", why, sc.frames)
	}
}

// wantEvent takes the events up to one of this kind.
func (sc *script) wantEvent(what string, k EventKind) Event {
	sc.t.Helper()
	for i, e := range sc.events {
		if e.Kind == k {
			sc.events = sc.events[i+1:]
			return e
		}
	}
	sc.t.Fatalf("want event %d, %s; there are %v", k, what, sc.events)
	return Event{}
}

func (sc *script) wantNoEvent(why string, k EventKind) {
	sc.t.Helper()
	for _, e := range sc.events {
		if e.Kind == k {
			sc.t.Fatalf("event %d although %s", k, why)
		}
	}
}

func (sc *script) wantPath(what string, p Path) {
	sc.t.Helper()
	if got := sc.s.Path(); got != p {
		sc.t.Fatalf("data goes to %v; want %v, %s", got, p, what)
	}
}

// times returns when frames with such a chunk went to p, counted from since.
func times(frames []sentFrame, p Path, t wire.ChunkType, since Time) (out []time.Duration) {
	for _, f := range frames {
		if f.to == p && f.has(t) {
			out = append(out, f.at.Sub(since))
		}
	}
	return out
}
