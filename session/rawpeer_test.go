package session

import (
	"math/rand/v2"
	"net/netip"

	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/session/seal"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A rawPeer holds valid keys and obeys nothing: it completes a handshake and
// then seals whatever chunks it likes.
type rawPeer struct {
	*world
	id     *handshake.Identity
	host   *wiretest.Host
	port   uint16 // where it sends from; a new one is a new address
	victim *peer
	rng    *rand.Rand

	hs      *handshake.Initiator
	result  handshake.Result
	keys    *seal.Keys // nil until the handshake is complete
	connID  wire.ConnID
	pn      uint64
	largest uint64
	heard   bool
	heardOf func(to netip.AddrPort, c *wire.Chunk) // sees every chunk that the victim sends
	divert  func(data []byte)                      // sends what it seals, if not nil
	scratch wire.Chunk
}

const rawPort = 5000

// rawPeer adds a hostile peer that wants a session with the victim.
func (w *world) rawPeer(victim *peer, n byte) *rawPeer {
	id, err := handshake.NewIdentity([32]byte{2, n})
	if err != nil {
		w.fatalf("NewIdentity: %v", err)
	}
	r := &rawPeer{
		world: w, id: id, victim: victim, port: rawPort,
		host: w.net.Host("mallory", nil, w.address()),
		rng:  rand.New(rand.NewPCG(w.seed, uint64(n))),
	}
	w.hostile[id.Public()] = true
	before := w.onCatch
	w.onCatch = func(d wiretest.Packet) bool {
		if d.Host == r.host {
			r.handle(d)
			return true
		}
		return before != nil && before(d)
	}
	return r
}

func (r *rawPeer) addr() netip.AddrPort { return netip.AddrPortFrom(r.host.Addrs()[0], r.port) }

// dial sends an INIT; the session is up once the answer has come.
func (r *rawPeer) dial() {
	r.rngRead(r.connID[:])
	params := wire.Params{ConnID: r.connID, AES: true, MaxAckDelay: 25, MaxMessage: 1 << 20, ChannelCredit: 1 << 18}
	var ephemeral [32]byte
	r.rngRead(ephemeral[:])
	hs, err := r.id.Initiate(r.victim.ep.ID(), r.victim.cfg.App, &params, handshake.Prepare(r.victim.ep.ID(), handshake.NewKeypair(ephemeral)))
	if err != nil {
		r.fatalf("Initiate: %v", err)
	}
	r.hs, r.keys, r.pn, r.largest, r.heard = hs, nil, 0, 0, false
	r.send(hs.Frame())
}

func (r *rawPeer) send(data []byte) {
	r.host.Send(r.vtime(), r.port, r.victim.addr(), data)
}

func (r *rawPeer) handle(d wiretest.Packet) {
	if r.hs == nil {
		return
	}
	if r.keys == nil {
		res, err := r.hs.HandleResp(d.Data)
		if err != nil {
			return
		}
		r.result = res
		r.keys = seal.New(res.Send, res.Recv, res.Params.AES)
		r.sendChunks([]byte{byte(wire.TypePing)})
		return
	}
	pn, body, err := r.keys.Open(r.now, d.Data, r.largest, r.heard)
	if err != nil {
		return
	}
	r.largest, r.heard = max(r.largest, pn), true
	for len(body) > 0 {
		if body, err = wire.ConsumeChunk(body, &r.scratch); err != nil {
			r.fatalf("the victim sent a chunk that does not parse: %v", err)
		}
		if r.heardOf != nil {
			r.heardOf(d.To, &r.scratch)
		}
	}
}

// sendChunks seals a body and sends it.
func (r *rawPeer) sendChunks(body []byte) {
	const pnLen = 4
	header := wire.AppendDataHeader(nil, r.result.Params.ConnID, r.keys.Phase(), r.pn, pnLen)
	for len(header)+len(body) < wire.MinDataLen-wire.TagLen {
		body = append(body, byte(wire.TypePadding))
	}
	frame := r.keys.Seal(header, body, r.pn)
	if r.pn++; r.divert != nil {
		r.divert(frame)
		return
	}
	r.send(frame)
}

// acknowledge tells the victim that all it sent has arrived.
func (r *rawPeer) acknowledge() {
	if r.heard {
		r.sendChunks(wire.AppendAck(nil, 0, []wire.Range{{Lo: 0, Hi: r.largest}}, 100))
	}
}

// mischief sends a frame of random chunks: of any type, in any state, with
// fields at random or at the edges of their ranges. Most parse.
func (r *rawPeer) mischief() {
	var b []byte
	for range 1 + r.rng.IntN(6) {
		b = r.appendChunk(b)
	}
	if r.rng.IntN(8) == 0 {
		b = b[:r.rng.IntN(len(b)+1)]
	}
	if r.rng.IntN(8) == 0 && len(b) > 0 {
		b[r.rng.IntN(len(b))] ^= 1 << r.rng.IntN(8)
	}
	if len(b) > 1100 {
		b = b[:1100]
	}
	r.sendChunks(b)
}

func (r *rawPeer) appendChunk(b []byte) []byte {
	ch := uint16(r.rng.IntN(4))
	mode := wire.Mode(r.rng.IntN(4))
	switch r.rng.IntN(14) {
	case 0:
		return append(b, byte(wire.TypePing))
	case 1:
		return append(b, make([]byte, 1+r.rng.IntN(20))...)
	case 2, 3:
		return wire.AppendAck(b, r.rng.Uint64N(1<<31), r.ranges(), 200)
	case 4:
		var data [8]byte
		r.rngRead(data[:])
		return wire.AppendPath(b, wire.TypePathChallenge, data)
	case 5:
		var data [8]byte
		r.rngRead(data[:])
		return wire.AppendPath(b, wire.TypePathResponse, data)
	case 6:
		n := wire.NewConnID{Seq: r.number()}
		n.RetireTo = min(r.number(), n.Seq)
		r.rngRead(n.ID[:])
		r.rngRead(n.Token[:])
		return n.Append(b)
	case 7:
		return wire.AppendRetireConnID(b, r.number())
	case 8:
		c := wire.Credit{Channel: ch, Limit: r.number()}
		return c.Append(b)
	case 9:
		s := wire.Skip{Channel: ch, Mode: mode, Seq: r.number()}
		return s.Append(b)
	case 10:
		x := wire.Read{Channel: ch, Mode: mode, Seq: r.number()}
		return x.Append(b)
	default:
		return r.appendMessage(b, ch, mode)
	}
}

func (r *rawPeer) appendMessage(b []byte, ch uint16, mode wire.Mode) []byte {
	m := wire.Message{
		Channel: ch, Mode: mode, Seq: r.number(),
		Receipt: r.rng.IntN(2) == 0, Urgent: r.rng.IntN(2) == 0, Packed: r.rng.IntN(4) == 0,
		Data: make([]byte, r.rng.IntN(150)),
	}
	m.Total = uint64(len(m.Data))
	if len(m.Data) > 0 && r.rng.IntN(2) == 0 {
		m.Fragment = true
		m.Offset = r.number()
		m.Total = min(m.Offset+uint64(len(m.Data))+1+r.number(), wire.MaxVarint)
		m.Offset = min(m.Offset, m.Total-uint64(len(m.Data)))
	}
	return m.Append(b)
}

// number draws small numbers mostly, and the edges of the range now and then.
func (r *rawPeer) number() uint64 {
	switch r.rng.IntN(10) {
	case 0:
		return wire.MaxVarint - r.rng.Uint64N(3)
	case 1:
		return r.rng.Uint64N(wire.MaxVarint)
	case 2:
		return r.rng.Uint64N(1 << 20)
	}
	return r.rng.Uint64N(8)
}

// ranges draws acknowledgements, of packets that the victim sent for the most part.
func (r *rawPeer) ranges() []wire.Range {
	hi := r.largest
	if r.rng.IntN(10) == 0 {
		hi = r.number()
	}
	out := []wire.Range{{Lo: hi - min(hi, r.rng.Uint64N(4)), Hi: hi}}
	for range r.rng.IntN(5) {
		last := out[len(out)-1].Lo
		if last < 4 {
			break
		}
		next := last - 2 - r.rng.Uint64N(min(3, last-2))
		out = append(out, wire.Range{Lo: next - min(next, r.rng.Uint64N(3)), Hi: next})
	}
	return out
}

func (r *rawPeer) rngRead(b []byte) {
	for i := range b {
		b[i] = byte(r.rng.Uint32())
	}
}
