package handshake

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

const app = "test"

// scalar returns a private key. X25519 ignores the low three bits of the first
// byte, so it is the second that tells these apart.
func scalar(n byte) [32]byte { return [32]byte{0, n} }

func newIdentity(t testing.TB, private byte) *Identity {
	t.Helper()
	id, err := NewIdentity(scalar(private))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newResponder(t testing.TB, id *Identity) *Responder {
	t.Helper()
	r, err := id.NewResponder(app, [32]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A pair is an initiator that has sent its INIT, and the side it was sent to.
type pair struct {
	t              testing.TB
	alice, bob     *Identity
	aliceSays      wire.Params
	bobSays        wire.Params
	initiator      *Initiator
	responder      *Responder
	aliceEphemeral [32]byte
	bobEphemeral   [32]byte
}

func newPair(t testing.TB) *pair {
	t.Helper()
	p := &pair{
		t:              t,
		alice:          newIdentity(t, 1),
		bob:            newIdentity(t, 2),
		aliceSays:      wire.Params{ConnID: wire.ConnID{1, 1}, AES: true, MaxMessage: 1 << 20, Crosses: wire.ConnID{1}},
		bobSays:        wire.Params{ConnID: wire.ConnID{2, 2}, MaxAckDelay: 25, Token: wire.ResetToken{7}},
		aliceEphemeral: scalar(3),
		bobEphemeral:   scalar(4),
	}
	p.responder = newResponder(t, p.bob)
	p.initiator = p.initiate()
	return p
}

func (p *pair) initiate() *Initiator {
	p.t.Helper()
	i, err := p.alice.Initiate(p.bob.Public(), app, &p.aliceSays, Prepare(p.bob.Public(), NewKeypair(p.aliceEphemeral)))
	if err != nil {
		p.t.Fatal(err)
	}
	return i
}

// respond carries an INIT to bob and returns his RESP.
func (p *pair) respond(frame []byte) ([]byte, Result) {
	p.t.Helper()
	pending, err := p.responder.Read(frame)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, res, err := pending.Respond(&p.bobSays, NewKeypair(p.bobEphemeral))
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, res
}

func TestHandshakeLeavesBothSidesWithTheSameSecrets(t *testing.T) {
	p := newPair(t)
	init := p.initiator.Frame()
	if len(init) != wire.InitLen || wire.Classify(init) != wire.KindInit {
		t.Fatalf("INIT of %d bytes, kind %d", len(init), wire.Classify(init))
	}
	if !p.responder.CheckMAC1(init) {
		t.Fatal("MAC1 refused")
	}
	resp, bobs := p.respond(init)
	if len(resp) != wire.RespLen || wire.Classify(resp) != wire.KindResp {
		t.Fatalf("RESP of %d bytes, kind %d", len(resp), wire.Classify(resp))
	}
	alices, err := p.initiator.HandleResp(resp)
	if err != nil {
		t.Fatal(err)
	}
	want := Result{
		Peer: p.bob.Public(), Params: p.bobSays,
		Send: bobs.Recv, Recv: bobs.Send, Hash: bobs.Hash, SessionID: bobs.SessionID,
	}
	if alices != want {
		t.Errorf("initiator has\n%+v, want\n%+v", alices, want)
	}
	if bobs.Peer != p.alice.Public() || bobs.Params != p.aliceSays {
		t.Errorf("responder has peer %v, params %+v", bobs.Peer, bobs.Params)
	}
	if bobs.Send == bobs.Recv || bobs.Send == [32]byte{} {
		t.Error("the two directions share a secret")
	}
	if v := bobs.SessionID.Version(); v != 8 {
		t.Errorf("session ID is a UUID of version %d", v)
	}
	if _, err := p.initiator.HandleResp(resp); err == nil {
		t.Error("a second RESP made a second session")
	}
}

func TestSameArgumentsGiveSameFrames(t *testing.T) {
	p, q := newPair(t), newPair(t)
	if !bytes.Equal(p.initiator.Frame(), q.initiator.Frame()) {
		t.Error("INIT differs")
	}
	one, _ := p.respond(p.initiator.Frame())
	two, _ := q.respond(q.initiator.Frame())
	if !bytes.Equal(one, two) {
		t.Error("RESP differs")
	}
}

func TestRetransmittedInitHasTheSameBytes(t *testing.T) {
	p := newPair(t)
	first := bytes.Clone(p.initiator.Frame())
	p.initiator.HandleResp(make([]byte, wire.RespLen))
	p.initiator.HandleCookie(make([]byte, wire.CookieLen))
	if !bytes.Equal(p.initiator.Frame(), first) {
		t.Error("INIT changed")
	}
}

// An INIT that was recorded opens nothing: without the initiator's keys, the
// fresh secrets are out of reach, and they are not those of the first session.
func TestReplayedInitLeadsToOtherSecrets(t *testing.T) {
	p := newPair(t)
	_, first := p.respond(p.initiator.Frame())
	p.bobEphemeral = scalar(5)
	_, second := p.respond(p.initiator.Frame())
	if second.Send == first.Send || second.Recv == first.Recv || second.SessionID == first.SessionID {
		t.Error("a replay led to secrets that were used before")
	}
}

// refixMAC1 gives a changed frame to its receiver with a right MAC1, as anyone
// can who knows the receiver's public key.
func refixMAC1(frame []byte, at int, receiver *Identity) {
	mac := sum128(receiver.macKey[:], frame[:at])
	copy(frame[at:], mac[:])
}

func TestEveryBitOfInitFlippedIsRefused(t *testing.T) {
	p := newPair(t)
	good := p.initiator.Frame()
	for bit := range initMAC2 * 8 {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if p.responder.CheckMAC1(bad) {
			t.Fatalf("bit %d: MAC1 accepted", bit)
		}
		if _, err := p.responder.Read(bad); err == nil {
			t.Fatalf("bit %d: read", bit)
		}
		// One bit of each byte is enough where every try costs a curve operation.
		if bit < initMAC1*8 && bit%8 == bit/8%8 {
			refixMAC1(bad, initMAC1, p.bob)
			if _, err := p.responder.Read(bad); err == nil {
				t.Fatalf("bit %d: read with MAC1 made anew", bit)
			}
		}
	}
	p.respond(good)
}

func TestEveryBitOfRespFlippedIsRefusedAndTheGoodOneStillTaken(t *testing.T) {
	p := newPair(t)
	good, bobs := p.respond(p.initiator.Frame())
	for bit := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := p.initiator.HandleResp(bad); err == nil {
			t.Fatalf("bit %d: accepted", bit)
		}
		if bit < respMAC1*8 && bit%8 == bit/8%8 {
			refixMAC1(bad, respMAC1, p.alice)
			if _, err := p.initiator.HandleResp(bad); err == nil {
				t.Fatalf("bit %d: accepted with MAC1 made anew", bit)
			}
		}
	}
	alices, err := p.initiator.HandleResp(good)
	if err != nil || alices.Send != bobs.Recv {
		t.Fatalf("after forgeries the real RESP gives %v", err)
	}
}

func TestTruncatedAndPaddedFramesAreRefused(t *testing.T) {
	p := newPair(t)
	init := bytes.Clone(p.initiator.Frame())
	resp, _ := p.respond(init)
	for n := range init {
		if _, err := p.responder.Read(init[:n]); !errors.Is(err, wire.ErrShort) {
			t.Fatalf("INIT of %d bytes: %v", n, err)
		}
		if p.responder.CheckMAC1(init[:n]) || p.responder.CheckMAC2(0, init[:n], nil) {
			t.Fatalf("INIT of %d bytes has good MACs", n)
		}
	}
	for n := range resp {
		if _, err := p.initiator.HandleResp(resp[:n]); !errors.Is(err, wire.ErrShort) {
			t.Fatalf("RESP of %d bytes: %v", n, err)
		}
	}
	if _, err := p.responder.Read(append(init, 0)); !errors.Is(err, wire.ErrTrailing) {
		t.Errorf("padded INIT: %v", err)
	}
	if _, err := p.initiator.HandleResp(append(bytes.Clone(resp), 0)); !errors.Is(err, wire.ErrTrailing) {
		t.Errorf("padded RESP: %v", err)
	}
}

func TestOtherAppVersionOrPeerIsRefused(t *testing.T) {
	p := newPair(t)
	other, err := p.bob.NewResponder("another", [32]byte{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Read(p.initiator.Frame()); !errors.Is(err, ErrAuth) {
		t.Errorf("another application: %v", err)
	}

	newer := bytes.Clone(p.initiator.Frame())
	newer[1] = wire.Version + 1
	refixMAC1(newer, initMAC1, p.bob)
	if _, err := p.responder.Read(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}

	carol := newResponder(t, newIdentity(t, 6))
	if carol.CheckMAC1(p.initiator.Frame()) {
		t.Error("an INIT for another peer passes MAC1")
	}
	toCarol := bytes.Clone(p.initiator.Frame())
	refixMAC1(toCarol, initMAC1, carol.id)
	if _, err := carol.Read(toCarol); !errors.Is(err, ErrAuth) {
		t.Errorf("an INIT for another peer: %v", err)
	}
}

// Someone between the two who answers for the peer does not have its key.
func TestRespOfAnImpostorIsRefused(t *testing.T) {
	p := newPair(t)
	mallory := newPair(t)
	mallory.bob = newIdentity(t, 6)
	mallory.responder = newResponder(t, mallory.bob)
	mallory.initiator = mallory.initiate()
	resp, _ := mallory.respond(mallory.initiator.Frame())
	if _, err := p.initiator.HandleResp(resp); !errors.Is(err, ErrAuth) {
		t.Errorf("RESP sealed by another: %v", err)
	}
	resp, _ = p.respond(p.initiator.Frame())
	if _, err := p.initiator.HandleResp(resp); err != nil {
		t.Errorf("RESP of the peer after that: %v", err)
	}
}

func TestRespOfAnotherAttemptIsRefused(t *testing.T) {
	p := newPair(t)
	p.aliceEphemeral = scalar(8)
	p.aliceSays.ConnID = wire.ConnID{1, 2}
	again := p.initiate()
	resp, _ := p.respond(p.initiator.Frame())
	if _, err := again.HandleResp(resp); !errors.Is(err, ErrAuth) {
		t.Errorf("got %v", err)
	}
}

// A frame refused by MAC1 or the version must not reach the curve. An identity
// whose private key is missing makes any use of it a panic.
func TestNoCurveOperationBeforeTheCheapChecks(t *testing.T) {
	p := newPair(t)
	blind := *p.bob
	blind.private = nil
	responder := newResponder(t, &blind)
	good := p.initiator.Frame()
	for _, at := range []int{1, 5, 20, initMAC1} {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, err := responder.Read(bad); err == nil {
			t.Errorf("byte %d changed: read", at)
		}
	}
	newer := bytes.Clone(good)
	newer[1]++
	refixMAC1(newer, initMAC1, p.bob)
	if _, err := responder.Read(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	mustPanic(t, "a good INIT was read without the private key", func() { responder.Read(good) })

	resp, _ := p.respond(good)
	blind = *p.alice
	blind.private = nil
	p.initiator.dh.id, p.initiator.noise = &blind, nil // to be made again from the keys
	for at := range resp {
		bad := bytes.Clone(resp)
		bad[at] ^= 1
		if _, err := p.initiator.HandleResp(bad); err == nil {
			t.Errorf("RESP with byte %d changed: accepted", at)
		}
	}
	mustPanic(t, "a good RESP was read without private keys", func() { p.initiator.HandleResp(resp) })
}

// mustPanic shows that a test which counts on a panic would have seen one.
func mustPanic(t *testing.T, otherwise string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error(otherwise)
		}
	}()
	f()
}

// lowOrder are encodings of points of low order, for which X25519 gives zero
// whatever the private key: 0, 1, the two of order 8, p-1, p and p+1.
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func TestEphemeralKeyServesOnce(t *testing.T) {
	p := newPair(t)
	e := Prepare(p.bob.Public(), NewKeypair(p.aliceEphemeral))
	if _, err := p.alice.Initiate(p.alice.Public(), app, &p.aliceSays, e); !errors.Is(err, ErrSelf) {
		t.Fatal(err) // and the key is as good as before
	}
	if _, err := p.alice.Initiate(p.bob.Public(), app, &p.aliceSays, e); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("one key began two handshakes")
		}
	}()
	p.alice.Initiate(p.bob.Public(), app, &p.aliceSays, e)
}

// What was prepared for another peer is no error, and no use.
func TestKeyPreparedForAnotherPeer(t *testing.T) {
	p := newPair(t)
	want := p.initiate().Frame()
	for _, other := range []wire.PeerID{p.alice.Public(), {1}} {
		got, err := p.alice.Initiate(p.bob.Public(), app, &p.aliceSays, Prepare(other, NewKeypair(p.aliceEphemeral)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Frame(), want) {
			t.Errorf("prepared for %v: another INIT", other)
		}
	}
}

func TestPointsOfLowOrderAreRefused(t *testing.T) {
	p := newPair(t)
	good, bobs := p.respond(p.initiator.Frame())
	for _, s := range lowOrder {
		point, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		init := bytes.Clone(p.initiator.Frame())
		copy(init[wire.InitLen-2*wire.MACLen-(wire.ParamsLen+wire.TagLen)-(wire.NoiseKey+wire.TagLen)-wire.NoiseKey:], point)
		refixMAC1(init, initMAC1, p.bob)
		if _, err := p.responder.Read(init); !errors.Is(err, ErrAuth) {
			t.Errorf("INIT with ephemeral %s: %v", s, err)
		}
		resp := bytes.Clone(good)
		copy(resp[1+wire.ConnIDLen:], point)
		refixMAC1(resp, respMAC1, p.alice)
		if _, err := p.initiator.HandleResp(resp); !errors.Is(err, ErrAuth) {
			t.Errorf("RESP with ephemeral %s: %v", s, err)
		}
		if _, err := p.alice.Initiate(wire.PeerID(point), app, &p.aliceSays, Prepare(wire.PeerID(point), NewKeypair(p.aliceEphemeral))); !errors.Is(err, ErrKey) {
			t.Errorf("dialled %s: %v", s, err)
		}
	}
	alices, err := p.initiator.HandleResp(good)
	if err != nil || alices.Send != bobs.Recv {
		t.Errorf("the real RESP after those: %v", err)
	}
}

// One key must not go by two peer IDs, or a list of peers could be evaded.
func TestPeerIDThatIsNotReducedIsRefused(t *testing.T) {
	p := newPair(t)
	highBit := p.alice.Public()
	highBit[31] |= 0x80
	disguised := *p.alice
	disguised.public = highBit
	i, err := disguised.Initiate(p.bob.Public(), app, &p.aliceSays, Prepare(p.bob.Public(), NewKeypair(p.aliceEphemeral)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.responder.Read(i.Frame()); !errors.Is(err, ErrKey) {
		t.Errorf("INIT from a key with its top bit set: %v", err)
	}
	if _, err := p.bob.Initiate(highBit, app, &p.bobSays, Prepare(highBit, NewKeypair(p.bobEphemeral))); !errors.Is(err, ErrKey) {
		t.Errorf("dial to it: %v", err)
	}
	for s, want := range map[string]bool{
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true,
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": false,
		"edfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe7f": true,
		"00000000000000000000000000000000000000000000000000000000000000ff": false,
	} {
		b, _ := hex.DecodeString(s)
		if reduced(wire.PeerID(b)) != want {
			t.Errorf("reduced(%s) = %v", s, !want)
		}
	}
}

func TestOneselfIsRefused(t *testing.T) {
	p := newPair(t)
	if _, err := p.bob.Initiate(p.bob.Public(), app, &p.bobSays, Prepare(p.bob.Public(), NewKeypair(p.bobEphemeral))); !errors.Is(err, ErrSelf) {
		t.Errorf("dial: %v", err)
	}
	twin := newIdentity(t, 2) // bob's key in a program that does not check whom it dials
	twin.public[31] ^= 0x80
	p.alice = twin
	i, err := twin.Initiate(p.bob.Public(), app, &p.aliceSays, Prepare(p.bob.Public(), NewKeypair(p.aliceEphemeral)))
	if err != nil {
		t.Fatal(err)
	}
	i.dh.id.public = p.bob.Public()
	message, err := i.restart()
	if err != nil {
		t.Fatal(err)
	}
	i.seal(message)
	if _, err := p.responder.Read(i.Frame()); !errors.Is(err, ErrSelf) {
		t.Errorf("INIT: %v", err)
	}
}

// What two identities have in common is worked out once, when a handshake between
// them has succeeded, and used from then on.
func TestKnownPeerCostsLess(t *testing.T) {
	p := newPair(t)
	handshake := func() error {
		resp, res := p.respond(p.initiator.Frame())
		got, err := p.initiator.HandleResp(resp)
		if err == nil && (got.Send != res.Recv || got.Recv != res.Send) {
			t.Error("the secrets differ")
		}
		return err
	}
	knows := func(who string, id *Identity, peer wire.PeerID, want bool) {
		t.Helper()
		if _, got := id.known[peer]; got != want {
			t.Errorf("%s knows the other: %v, want %v", who, got, want)
		}
	}
	if _, err := p.responder.Read(p.initiator.Frame()); err != nil {
		t.Fatal(err)
	}
	knows("bob, who has refused,", p.bob, p.alice.Public(), false)
	knows("alice, who has no answer,", p.alice, p.bob.Public(), false)
	for range 2 {
		if err := handshake(); err != nil {
			t.Fatal(err)
		}
		knows("bob", p.bob, p.alice.Public(), true)
		knows("alice", p.alice, p.bob.Public(), true)
		if n := len(p.alice.known) + len(p.bob.known); n != 2 {
			t.Errorf("%d secrets are remembered", n)
		}
		p.initiator = p.initiate()
	}
	p.bob.known.add(p.alice.Public(), [32]byte{1}) // not what it is: is it used?
	if _, err := p.responder.Read(p.initiator.Frame()); !errors.Is(err, ErrAuth) {
		t.Errorf("bob works it out again: %v", err)
	}
	p.alice.known.add(p.bob.Public(), [32]byte{1})
	p.initiator = p.initiate()
	if err := handshake(); err != nil {
		t.Errorf("alice works it out again: %v", err)
	}
}

func TestKnownPeersAreBounded(t *testing.T) {
	k := make(knownSecrets)
	for i := range 2 * knownMax {
		k.add(wire.PeerID{byte(i), byte(i >> 8)}, [32]byte{byte(i)})
	}
	if len(k) != knownMax {
		t.Errorf("%d peers are known", len(k))
	}
	newest := 2*knownMax - 1
	if _, ok := k[wire.PeerID{byte(newest), byte(newest >> 8)}]; !ok {
		t.Error("the newest is not among them")
	}
}

func TestAllZeroPrivateKeyIsRefused(t *testing.T) {
	if _, err := NewIdentity([32]byte{}); err == nil {
		t.Error("accepted")
	}
}

func TestApplicationNameHasALimit(t *testing.T) {
	p := newPair(t)
	long := strings.Repeat("x", 256)
	if _, err := p.alice.Initiate(p.bob.Public(), long, &p.aliceSays, Prepare(p.bob.Public(), NewKeypair(p.aliceEphemeral))); !errors.Is(err, ErrApp) {
		t.Errorf("Initiate: %v", err)
	}
	if _, err := p.bob.NewResponder(long, [32]byte{}); !errors.Is(err, ErrApp) {
		t.Errorf("NewResponder: %v", err)
	}
	if _, err := p.bob.NewResponder(long[1:], [32]byte{}); err != nil {
		t.Errorf("255 bytes: %v", err)
	}
}

func TestResetTokenSurvivesARestartAndBindsTheID(t *testing.T) {
	id, again, other := newIdentity(t, 1), newIdentity(t, 1), newIdentity(t, 2)
	conn := wire.ConnID{1}
	token := id.ResetToken(conn)
	if again.ResetToken(conn) != token {
		t.Error("the token changed with a restart")
	}
	if other.ResetToken(conn) == token || id.ResetToken(wire.ConnID{2}) == token {
		t.Error("another identity or connection has the same token")
	}
}
