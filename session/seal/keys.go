package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

// Errors of Open.
var (
	// ErrAuth reports a frame that the peer did not seal, or sealed with keys
	// that are gone. It is counted and dropped.
	ErrAuth = errors.New("seal: frame does not authenticate")
	// ErrKeyUpdate reports an authentic frame that breaks the rules of key
	// updates (RFC 9001 §6.2, §6.4). The session ends.
	ErrKeyUpdate = errors.New("seal: the peer broke the rules of key updates")
)

// Limits of RFC 9001 §6.6: how many frames one AES-GCM key may seal, and how
// many forgeries a session may meet, before its keys have to go.
const (
	sealedMaxAES     = 1 << 23
	forgeriesMaxAES  = 1 << 52
	forgeriesMaxPoly = 1 << 36
)

// Keys protect the DATA frames of one session in both directions. One goroutine
// at a time may use them.
type Keys struct {
	useAES    bool
	phase     bool // of what is sealed, and of current
	confirmed bool // the peer acknowledged a frame of this phase

	sending    epoch
	sendHeader headerKey
	sealFrom   uint64 // no lower packet number may be sealed any more
	phaseFrom  uint64 // the phase began at this packet number
	sealed     uint64 // frames sealed in this phase

	current    epoch  // of what is opened; see the drawing in doc.go
	old, next  *epoch // nil while absent
	openHeader headerKey
	openFrom   uint64 // lowest packet number opened with current; after an update, the highest there is
	openTo     uint64 // one above the highest opened with current; 0 if none was
	olderTo    uint64 // one above the highest opened with keys before current
	forgeries  uint64

	keepOld   time.Duration
	oldExpiry clock.Time // Never while the peer may still seal with old

	tools *tools // nil at rest
}

// tools are what Keys need beside themselves when they are used.
type tools struct {
	// Scratch that would escape to the heap once per frame.
	nonce [nonceLen]byte
	mask  [aes.BlockSize]byte

	sendMask, openMask cipher.Block // of the header keys; nil with ChaCha20
}

func (k *Keys) use() *tools {
	if k.tools == nil {
		k.tools = new(tools)
	}
	return k.tools
}

// New returns the keys that grow from the two secrets of a handshake. The peer's
// have send and recv exchanged. useAES chooses AES-128-GCM in place of
// ChaCha20-Poly1305; both sides must choose the same.
func New(send, recv [32]byte, useAES bool) *Keys {
	return &Keys{
		useAES:     useAES,
		sending:    newEpoch(send),
		sendHeader: newHeaderKey(send),
		current:    newEpoch(recv),
		openHeader: newHeaderKey(recv),
		oldExpiry:  clock.Never,
	}
}

// Phase returns the key phase bit of the next frame to be sealed.
func (k *Keys) Phase() bool { return k.phase }

// Seal appends the protected plaintext and its tag to the header, which it protects
// too, and returns the frame. The header is made with [wire.AppendDataHeader] for pn and
// Phase. The plaintext stands right behind it and is sealed in place, or else where it
// overlaps nothing of the frame and is left as it is. Give the header's slice room for
// the frame, or it is copied.
//
// The sealed frame must be at least [wire.MinDataLen] long, and packet numbers
// must go up: a repeated one would repeat a nonce. Seal panics otherwise, since
// to go on would give the keys away.
func (k *Keys) Seal(header, plaintext []byte, pn uint64) []byte {
	if pn < k.sealFrom || pn > wire.MaxPacketNumber {
		panic("seal: packet number reused or out of range")
	}
	if len(header)+len(plaintext) < wire.MinDataLen-wire.TagLen {
		panic("seal: frame too short for header protection")
	}
	k.sealFrom = pn + 1
	k.sealed++
	frame := k.sending.cipher(k.useAES).Seal(header, k.nonceFor(&k.sending, pn), plaintext, header)
	t := k.use()
	wire.MaskHeader(frame, k.sendHeader.mask(&t.sendMask, &t.mask, wire.Sample(frame), k.useAES), len(header)-wire.DataHeaderLen)
	return frame
}

// Open undoes Seal in place. It returns the packet number and the plaintext,
// which shares the frame's bytes; the frame is destroyed whatever the outcome.
// largest is the largest packet number that was opened so far in this session,
// and received is false when there was none.
//
// The caller asks a [Window] whether the packet number is new. The first
// authentic frame of a next key phase moves both directions to it.
func (k *Keys) Open(now clock.Time, frame []byte, largest uint64, received bool) (pn uint64, payload []byte, err error) {
	if len(frame) < wire.MinDataLen {
		return 0, nil, wire.ErrShort
	}
	t := k.use()
	mask := k.openHeader.mask(&t.openMask, &t.mask, wire.Sample(frame), k.useAES)
	truncated, pnLen, phase, ok := wire.UnmaskHeader(frame, mask)
	pn = wire.DecodePacketNumber(largest, received, truncated, pnLen)
	if !ok {
		// Seven of eight frames of noise end here, before the AEAD. The time
		// this saves tells an attacker nothing: reserved bits are always zero.
		k.forgeries++
		return 0, nil, ErrAuth
	}
	k.DropOld(now)
	e := k.epochOf(pn, phase)
	n := wire.DataHeaderLen + pnLen
	payload, err = e.cipher(k.useAES).Open(frame[n:n], k.nonceFor(e, pn), frame[n:], frame[:n])
	if err != nil {
		k.forgeries++
		return 0, nil, ErrAuth
	}
	if !k.opened(now, e, pn) {
		return 0, nil, ErrKeyUpdate
	}
	return pn, payload, nil
}

// nonceFor combines an IV and a packet number (RFC 9001 §5.3).
func (k *Keys) nonceFor(e *epoch, pn uint64) []byte {
	t := k.use()
	t.nonce = e.iv
	low := t.nonce[nonceLen-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^pn)
	return t.nonce[:]
}

// Sealed returns how many frames the present sending key has sealed.
func (k *Keys) Sealed() uint64 { return k.sealed }

// Forgeries returns how many frames failed to authenticate, under all keys.
func (k *Keys) Forgeries() uint64 { return k.forgeries }

// Exhausted reports that a limit of RFC 9001 §6.6 is reached: the present key has
// sealed all it may, or the session has met too many forgeries. The session must
// then end without sealing another frame. Update long before.
func (k *Keys) Exhausted() bool {
	if k.useAES {
		return k.sealed >= sealedMaxAES || k.forgeries >= forgeriesMaxAES
	}
	return k.forgeries >= forgeriesMaxPoly
}

// Rest lets go of the ciphers, which take most of the memory, until a frame is
// next sealed or opened. The keys that they are made of are in them too: keeping
// these gives nothing more away.
func (k *Keys) Rest() {
	k.sending.aead, k.current.aead = nil, nil
	k.tools = nil
	for _, e := range []*epoch{k.old, k.next} {
		if e.present() {
			e.aead = nil
		}
	}
}

// Zero ends the use of k: it erases the secrets and lets go of the ciphers, whose
// inner copies are the collector's to reuse.
func (k *Keys) Zero() {
	k.old.erase()
	k.next.erase()
	*k = Keys{oldExpiry: clock.Never}
}
