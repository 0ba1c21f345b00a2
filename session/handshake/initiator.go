package handshake

import (
	"crypto/cipher"

	"github.com/flynn/noise"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/seed-67dce94e/holdfast/wire"
)

const (
	initMAC1 = wire.InitLen - 2*wire.MACLen // offsets
	initMAC2 = wire.InitLen - wire.MACLen
	respMAC1 = wire.RespLen - wire.MACLen
)

// An Initiator is one attempt to open a session with a peer.
type Initiator struct {
	peer     wire.PeerID
	conn     wire.ConnID
	params   []byte
	prologue []byte

	frame  [wire.InitLen]byte
	dh     x25519DH
	noise  *noise.HandshakeState // nil after a RESP that failed
	done   bool
	cookie cipher.AEAD
	mac    *hasher // of frames to us
}

// Initiate starts a handshake with peer for the application app. The params go
// to the peer sealed; their ConnID is also where it will answer to. The ephemeral key
// had better be prepared for this peer. It is used up: Initiate panics if it was
// before, since two INITs of one key would give both away.
func (id *Identity) Initiate(peer wire.PeerID, app string, params *wire.Params, ephemeral *Ephemeral) (*Initiator, error) {
	if err := id.checkPeer(peer); err != nil {
		return nil, err
	}
	intro, err := prologue(app)
	if err != nil {
		return nil, err
	}
	cookie := cookieKey(peer)
	aead, err := chacha20poly1305.NewX(cookie[:])
	if err != nil {
		return nil, err
	}
	if ephemeral.pair == nil {
		panic("handshake: an ephemeral key was used twice")
	}
	i := &Initiator{
		peer:     peer,
		conn:     params.ConnID,
		params:   params.Append(nil),
		prologue: intro,
		dh:       x25519DH{id: id, ephemeral: *ephemeral},
		cookie:   aead,
		mac:      newHasher(id.macKey[:]),
	}
	*ephemeral = Ephemeral{}
	message, err := i.restart()
	if err != nil {
		return nil, ErrKey // the peer's key is a point of low order
	}
	i.seal(message)
	return i, nil
}

// restart brings the Noise state to where it waits for the RESP. It computes the
// same message every time.
func (i *Initiator) restart() ([]byte, error) {
	state, err := newNoise(&i.dh, i.peer[:], i.prologue)
	if err != nil {
		return nil, err
	}
	message, _, _, err := state.WriteMessage(nil, i.params)
	if err != nil {
		return nil, err
	}
	i.noise = state
	return message, nil
}

// seal puts the INIT frame together, as yet without a cookie.
func (i *Initiator) seal(message []byte) {
	b := append(wire.AppendInitHeader(i.frame[:0], i.conn), message...)
	key := macKey(i.peer)
	mac := sum128(key[:], b)
	copy(i.frame[initMAC1:], mac[:])
}

// Frame returns the INIT frame, valid until i is next used. It has the same bytes
// at every call, so that a retransmission cannot open a second session, but for
// MAC2 once a cookie has come.
func (i *Initiator) Frame() []byte { return i.frame[:] }

// HandleCookie takes a COOKIE frame, and reports whether it answers this very
// INIT. If so, Frame now has the MAC2 that the responder asks for.
func (i *Initiator) HandleCookie(frame []byte) bool {
	f, err := wire.ParseCookie(frame)
	if err != nil || f.Dst != i.conn {
		return false
	}
	cookie, err := i.cookie.Open(nil, f.Nonce[:], f.Sealed[:], i.frame[initMAC1:initMAC2])
	if err != nil {
		return false
	}
	mac := sum128(cookie, i.frame[:initMAC2])
	copy(i.frame[initMAC2:], mac[:])
	return true
}

// HandleResp takes a RESP frame and finishes the handshake. After a frame that
// fails, i waits for a better one as before. After one that succeeds, i refuses
// all others: two sets of secrets from one INIT would be two sessions.
func (i *Initiator) HandleResp(frame []byte) (Result, error) {
	f, err := wire.ParseResp(frame)
	if err != nil {
		return Result{}, err
	}
	if i.done || f.Dst != i.conn {
		return Result{}, ErrAuth
	}
	if !i.mac.matches(f.MAC1, frame[:respMAC1]) {
		return Result{}, ErrMAC
	}
	if i.noise == nil {
		if _, err := i.restart(); err != nil {
			return Result{}, err
		}
	}
	// Noise's state is not to be relied on after a failure: it does not take
	// back all that a message changed before, say, a point of low order in it.
	state := i.noise
	i.noise = nil
	payload, send, recv, err := state.ReadMessage(nil, f.Noise)
	if err != nil {
		return Result{}, ErrAuth
	}
	params, err := wire.ParseParams(payload)
	if err != nil {
		return Result{}, err
	}
	i.done = true
	i.dh.remember(i.peer)
	return newResult(state, send, recv, i.peer, params), nil
}
