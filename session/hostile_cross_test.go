package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-67dce94e/holdfast/session/handshake"
	"github.com/seed-67dce94e/holdfast/session/seal"
	"github.com/seed-67dce94e/holdfast/wire"
	"github.com/seed-67dce94e/holdfast/wire/wiretest"
)

// A crosser is a hostile peer that dials and answers at random, and lies about
// which of its handshakes cross and what it accepts.
type crosser struct {
	*rawPeer
	resp    *handshake.Responder
	dials   []*handshake.Initiator
	inits   [][]byte      // of the victim
	lines   []line        // handshakes completed
	connIDs []wire.ConnID // the victim's and its own: what it may say it crosses
}

// A line is a set of keys with the victim.
type line struct {
	keys *seal.Keys
	to   wire.ConnID
	pn   uint64
}

func (w *world) crosser(victim *peer, n byte) *crosser {
	c := &crosser{rawPeer: w.rawPeer(victim, n)}
	var err error
	if c.resp, err = c.id.NewResponder("", [32]byte{5, n}); err != nil {
		w.fatalf("NewResponder: %v", err)
	}
	before := w.onCatch
	w.onCatch = func(d wiretest.Packet) bool {
		if d.Host == c.host {
			c.take(d.Data)
			return true
		}
		return before(d)
	}
	return c
}

func (c *crosser) take(data []byte) {
	switch wire.Classify(data) {
	case wire.KindInit:
		c.inits = append(c.inits[max(0, len(c.inits)-8):], append([]byte(nil), data...))
	case wire.KindResp:
		for _, hs := range c.dials {
			if res, err := hs.HandleResp(data); err == nil {
				c.up(&res)
			}
		}
	}
}

func (c *crosser) up(res *handshake.Result) {
	c.connIDs = append(c.connIDs, res.Params.ConnID, res.Params.Crosses)
	c.lines = append(c.lines, line{keys: seal.New(res.Send, res.Recv, res.Params.AES), to: res.Params.ConnID})
}

func (c *crosser) ephemeral() (b [32]byte) {
	c.rngRead(b[:])
	return b
}

// params draws what it says of itself.
func (c *crosser) params() wire.Params {
	p := wire.Params{AES: true, MaxAckDelay: uint8(c.rng.Uint32()), MaxMessage: 1 << 20, ChannelCredit: 1 << 18}
	c.rngRead(p.ConnID[:])
	c.connIDs = append(c.connIDs, p.ConnID)
	if c.rng.IntN(3) == 0 {
		p.MaxMessage, p.ChannelCredit, p.IdleTimeout = c.rng.Uint32N(200), c.rng.Uint32N(200), c.rng.Uint32N(3)
	}
	if c.rng.IntN(2) == 0 {
		p.Crosses = c.connIDs[c.rng.IntN(len(c.connIDs))]
	}
	return p
}

func (c *crosser) dialAtRandom() {
	p := c.params()
	hs, err := c.id.Initiate(c.victim.ep.ID(), "", &p, handshake.Prepare(c.victim.ep.ID(), handshake.NewKeypair(c.ephemeral())))
	if err != nil {
		c.fatalf("Initiate: %v", err)
	}
	c.dials = append(c.dials[max(0, len(c.dials)-8):], hs)
	c.send(hs.Frame())
}

func (c *crosser) answerAtRandom() {
	if len(c.inits) == 0 {
		return
	}
	pending, err := c.resp.Read(c.inits[c.rng.IntN(len(c.inits))])
	if err != nil {
		c.fatalf("the victim's INIT: %v", err)
	}
	p := c.params()
	frame, res, err := pending.Respond(&p, handshake.NewKeypair(c.ephemeral()))
	if err != nil {
		c.fatalf("Respond: %v", err)
	}
	c.up(&res)
	c.send(frame)
}

// speak seals mischief, or a mere PING, under some keys.
func (c *crosser) speak() {
	if len(c.lines) == 0 {
		return
	}
	l := &c.lines[len(c.lines)-1-c.rng.IntN(min(len(c.lines), 6))]
	body := []byte{byte(wire.TypePing)}
	if c.rng.IntN(3) == 0 {
		body = wire.AppendAck(body, 0, []wire.Range{{Lo: 0, Hi: c.rng.Uint64N(4)}}, 10)
	} else if c.rng.IntN(4) == 0 {
		body = c.appendChunk(body)
	}
	header := wire.AppendDataHeader(nil, l.to, l.keys.Phase(), l.pn, 4)
	c.send(l.keys.Seal(header, body, l.pn))
	l.pn++
}

// A peer that crosses its dials with ours as it likes harms its own sessions
// and nothing else.
func TestHostileCrossingsHarmNobodyElse(t *testing.T) {
	eachSeed(t, 0.05, func(w *world) {
		a, b := w.pair(wiretest.Link{Delay: 5 * time.Millisecond})
		w.deep = true
		w.connect(a, b)
		honest := b.with(a)
		c := w.crosser(b, 100+byte(w.seed%100)) // with some keys the designated initiator, with others not
		c.rng = rand.New(rand.NewPCG(w.seed, 99))
		up := a.beat(b, 20*time.Millisecond)
		at := Path{Remote: c.addr()}
		w.every(3*time.Millisecond, func() bool {
			switch c.rng.IntN(8) {
			case 0:
				c.dialAtRandom()
			case 1, 2:
				c.answerAtRandom()
			case 3:
				b.change(func(now Time) {
					b.introduce(at)
					if s, err := b.ep.Dial(now, DialOptions{Peer: c.id.Public(), Paths: []Path{at}}); err == nil {
						b.submit(now, s, Message{Receipt: true}, 40+c.rng.IntN(400))
					}
				})
			default:
				c.speak()
			}
			return true
		})
		w.every(50*time.Millisecond, func() bool {
			if err := checkSessions(b.ep); err != nil {
				w.fatalf("%v", err)
			}
			return true
		})
		w.run(1200*time.Millisecond, nil)
		if n := up.missing(w.now); n > 0 || a.counts[Closed] > 0 || b.with(a) != honest {
			w.fatalf("the honest peer suffers: %d messages missing, events %v", n, a.counts)
		}
	})
}
