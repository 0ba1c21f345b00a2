package handshake

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"github.com/flynn/noise"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// CookieLifetime is how long a cookie is good at least; it is good for less than
// twice as long.
const CookieLifetime = 120 * time.Second

// A Responder takes the INIT frames of strangers, in a ladder of checks that
// each cost more than the one before: CheckMAC1, CheckMAC2 when busy, Read. It
// keeps nothing about any of them. One goroutine at a time may use it.
type Responder struct {
	id       *Identity
	prologue []byte
	mac1     *hasher // of frames to us
	cookies  *hasher // makes cookies; its key is our secret
	sealer   cipher.AEAD
	scratch  [8]byte
}

// NewResponder returns a responder for the application app. The seed is secret
// random bytes: who knows it can make cookies.
func (id *Identity) NewResponder(app string, seed [32]byte) (*Responder, error) {
	intro, err := prologue(app)
	if err != nil {
		return nil, err
	}
	key := cookieKey(id.public)
	sealer, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, err
	}
	return &Responder{
		id:       id,
		prologue: intro,
		mac1:     newHasher(id.macKey[:]),
		cookies:  newHasher(seed[:]),
		sealer:   sealer,
	}, nil
}

// CheckMAC1 reports whether an INIT frame was made by someone who knows our
// public key. It allocates nothing; all else meets silence.
func (r *Responder) CheckMAC1(frame []byte) bool {
	f, err := wire.ParseInit(frame)
	return err == nil && r.mac1.matches(f.MAC1, frame[:initMAC1])
}

// CheckMAC2 reports whether the sender of an INIT frame has lately received a
// cookie at addr, which is the source address of the datagram in any fixed form.
func (r *Responder) CheckMAC2(now clock.Time, frame, addr []byte) bool {
	f, err := wire.ParseInit(frame)
	if err != nil {
		return false
	}
	period := cookiePeriod(now)
	return r.matchesMAC2(f, frame, period, addr) || r.matchesMAC2(f, frame, period-1, addr)
}

func (r *Responder) matchesMAC2(f wire.Init, frame []byte, period uint64, addr []byte) bool {
	cookie := r.cookie(period, addr)
	mac := sum128(cookie[:], frame[:initMAC2])
	return subtle.ConstantTimeCompare(mac[:], f.MAC2) == 1
}

// Cookie answers an INIT frame that passed CheckMAC1 with a COOKIE for its sender
// at addr. The nonce is fresh random bytes.
func (r *Responder) Cookie(now clock.Time, frame, addr []byte, nonce [24]byte) (wire.Cookie, bool) {
	f, err := wire.ParseInit(frame)
	if err != nil {
		return wire.Cookie{}, false
	}
	cookie := r.cookie(cookiePeriod(now), addr)
	reply := wire.Cookie{Dst: f.Src, Nonce: nonce}
	r.sealer.Seal(reply.Sealed[:0], nonce[:], cookie[:], f.MAC1)
	return reply, true
}

// cookie returns the cookie of an address in a period of CookieLifetime. The
// period is hashed with the address, which comes to the same as a secret that is
// replaced at every period, and leaves nothing to keep.
func (r *Responder) cookie(period uint64, addr []byte) [wire.MACLen]byte {
	binary.BigEndian.PutUint64(r.scratch[:], period)
	return *r.cookies.sum(r.scratch[:], addr)
}

func cookiePeriod(now clock.Time) uint64 { return uint64(now) / uint64(CookieLifetime) }

// A Pending is an INIT that was read: someone holds the private key of Peer, or
// held it when this INIT was first sent. Dropping a Pending is to refuse it.
type Pending struct {
	Peer   wire.PeerID
	Params wire.Params

	dh    x25519DH
	noise *noise.HandshakeState
}

// Read opens an INIT frame. It does the work of two scalar multiplications, or of one if
// the peer is known, after all that can be checked without. It checks MAC1 again and
// ignores MAC2, which means nothing when there is no load.
func (r *Responder) Read(frame []byte) (*Pending, error) {
	f, err := wire.ParseInit(frame)
	if err != nil {
		return nil, err
	}
	if f.Version != wire.Version {
		return nil, ErrVersion
	}
	if !r.mac1.matches(f.MAC1, frame[:initMAC1]) {
		return nil, ErrMAC
	}
	p := &Pending{dh: x25519DH{id: r.id}}
	if p.noise, err = newNoise(&p.dh, nil, r.prologue); err != nil {
		return nil, err
	}
	payload, _, _, err := p.noise.ReadMessage(nil, f.Noise)
	if err != nil {
		return nil, ErrAuth
	}
	p.Peer = wire.PeerID(p.noise.PeerStatic())
	if err := r.id.checkPeer(p.Peer); err != nil {
		return nil, err
	}
	if p.Params, err = wire.ParseParams(payload); err != nil {
		return nil, err
	}
	// The connection ID outside is the one place that Noise does not cover.
	if f.Src != p.Params.ConnID {
		return nil, ErrAuth
	}
	return p, nil
}

// Respond accepts the INIT with our params and returns the RESP frame and the
// session's secrets. It may be called once. The key pair must be a new
// one also for an INIT that was seen before.
func (p *Pending) Respond(params *wire.Params, ephemeral *Keypair) (frame []byte, res Result, err error) {
	p.dh.ephemeral.pair = ephemeral
	frame = wire.AppendRespHeader(make([]byte, 0, wire.RespLen), p.Params.ConnID)
	frame, recv, send, err := p.noise.WriteMessage(frame, params.Append(nil))
	if err != nil {
		return nil, res, err
	}
	p.dh.remember(p.Peer)
	key := macKey(p.Peer)
	mac := sum128(key[:], frame)
	return append(frame, mac[:]...), newResult(p.noise, send, recv, p.Peer, p.Params), nil
}
