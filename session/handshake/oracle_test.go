package handshake

import (
	"bytes"
	"testing"

	"github.com/flynn/noise"

	"github.com/seed-67dce94e/holdfast/wire"
)

// plainNoise returns one side of the handshake as flynn/noise does it unaided,
// with the protocol's parameters written out.
func plainNoise(t *testing.T, private, ephemeral [32]byte, initiator bool, peer []byte) *noise.HandshakeState {
	t.Helper()
	suite := noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashSHA256)
	static, err := suite.GenerateKeypair(bytes.NewReader(private[:]))
	if err != nil {
		t.Fatal(err)
	}
	state, err := noise.NewHandshakeState(noise.Config{
		CipherSuite:   suite,
		Random:        bytes.NewReader(ephemeral[:]),
		Pattern:       noise.HandshakeIK,
		Initiator:     initiator,
		Prologue:      []byte("holdfast\x01\x04test"),
		StaticKeypair: static,
		PeerStatic:    peer,
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestInitiatorAgreesWithPlainNoise(t *testing.T) {
	p := newPair(t)
	init, err := wire.ParseInit(p.initiator.Frame())
	if err != nil {
		t.Fatal(err)
	}
	bob := plainNoise(t, scalar(2), p.bobEphemeral, false, nil)
	payload, _, _, err := bob.ReadMessage(nil, init.Noise)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(payload, p.aliceSays.Append(nil)) {
		t.Errorf("plain Noise reads the params as %x", payload)
	}
	frame, toBob, toAlice, err := bob.WriteMessage(wire.AppendRespHeader(nil, init.Src), p.bobSays.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	frame = append(frame, make([]byte, wire.MACLen)...)
	refixMAC1(frame, respMAC1, p.alice)
	res, err := p.initiator.HandleResp(frame)
	if err != nil {
		t.Fatal(err)
	}
	if res.Send != toBob.UnsafeKey() || res.Recv != toAlice.UnsafeKey() || !bytes.Equal(res.Hash[:], bob.ChannelBinding()) {
		t.Error("secrets or hash differ")
	}
}

func TestResponderAgreesWithPlainNoise(t *testing.T) {
	p := newPair(t)
	peer := p.bob.Public()
	alice := plainNoise(t, scalar(1), p.aliceEphemeral, true, peer[:])
	frame, _, _, err := alice.WriteMessage(wire.AppendInitHeader(nil, p.aliceSays.ConnID), p.aliceSays.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	frame = append(frame, make([]byte, 2*wire.MACLen)...)
	refixMAC1(frame, initMAC1, p.bob)
	if !bytes.Equal(frame, p.initiator.Frame()) {
		t.Error("plain Noise makes another INIT of the same keys")
	}
	respFrame, bobs := p.respond(frame)
	resp, err := wire.ParseResp(respFrame)
	if err != nil {
		t.Fatal(err)
	}
	payload, toBob, toAlice, err := alice.ReadMessage(nil, resp.Noise)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(payload, p.bobSays.Append(nil)) {
		t.Errorf("plain Noise reads the params as %x", payload)
	}
	if bobs.Recv != toBob.UnsafeKey() || bobs.Send != toAlice.UnsafeKey() || !bytes.Equal(bobs.Hash[:], alice.ChannelBinding()) {
		t.Error("secrets or hash differ")
	}
}
