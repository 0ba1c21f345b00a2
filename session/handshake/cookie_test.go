package handshake

import (
	"bytes"
	"testing"

	"github.com/seed-67dce94e/holdfast/session/clock"
	"github.com/seed-67dce94e/holdfast/wire"
)

const period = clock.Time(CookieLifetime)

var addr = []byte{192, 0, 2, 1, 0x12, 0x34}

// cookie lets the responder answer the pair's INIT with a COOKIE.
func (p *pair) cookie(now clock.Time) []byte {
	p.t.Helper()
	f, ok := p.responder.Cookie(now, p.initiator.Frame(), addr, [24]byte{1})
	if !ok {
		p.t.Fatal("no cookie for a good INIT")
	}
	return f.Append(nil)
}

func TestCookieLetsTheInitiatorThrough(t *testing.T) {
	p := newPair(t)
	before := bytes.Clone(p.initiator.Frame())
	if p.responder.CheckMAC2(0, before, addr) {
		t.Fatal("an INIT without a cookie passes MAC2")
	}
	frame := p.cookie(0)
	if len(frame) >= len(before) {
		t.Errorf("COOKIE of %d bytes for an INIT of %d", len(frame), len(before))
	}
	if !p.initiator.HandleCookie(frame) {
		t.Fatal("cookie refused")
	}
	after := p.initiator.Frame()
	if !p.responder.CheckMAC2(0, after, addr) || !p.responder.CheckMAC1(after) {
		t.Error("an INIT with its cookie is refused")
	}
	if !bytes.Equal(before[:initMAC2], after[:initMAC2]) {
		t.Error("the cookie changed more than MAC2")
	}
	resp, _ := p.respond(after)
	if _, err := p.initiator.HandleResp(resp); err != nil {
		t.Errorf("handshake with a cookie: %v", err)
	}
}

func TestCookieIsGoodUntilItsSecretRotatedTwice(t *testing.T) {
	for _, tc := range []struct {
		name      string
		made, now clock.Time
		want      bool
	}{
		{"at once", 5, 5, true},
		{"in the same period", 0, period - 1, true},
		{"121 s later, rotated once", 0, 121 * period / 120, true},
		{"rotated once, made at the end of its period", period - 1, 2*period - 1, true},
		{"rotated twice", period - 1, 2 * period, false},
		{"rotated thrice", 0, 3 * period, false},
		{"from a period to come", period, period - 1, false},
	} {
		p := newPair(t)
		if !p.initiator.HandleCookie(p.cookie(tc.made)) {
			t.Fatal("cookie refused")
		}
		if got := p.responder.CheckMAC2(tc.now, p.initiator.Frame(), addr); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func TestCookieIsGoodAtItsAddressAndItsServerOnly(t *testing.T) {
	p := newPair(t)
	if !p.initiator.HandleCookie(p.cookie(0)) {
		t.Fatal("cookie refused")
	}
	init := p.initiator.Frame()
	for at := range addr {
		other := bytes.Clone(addr)
		other[at] ^= 1
		if p.responder.CheckMAC2(0, init, other) {
			t.Errorf("good at %v", other)
		}
	}
	elsewhere, err := p.bob.NewResponder(app, [32]byte{10})
	if err != nil {
		t.Fatal(err)
	}
	if elsewhere.CheckMAC2(0, init, addr) {
		t.Error("good at a responder with another secret")
	}
}

func TestEveryBitOfMAC2AndWhatItCoversCounts(t *testing.T) {
	p := newPair(t)
	if !p.initiator.HandleCookie(p.cookie(0)) {
		t.Fatal("cookie refused")
	}
	for bit := range wire.InitLen * 8 {
		bad := bytes.Clone(p.initiator.Frame())
		bad[bit/8] ^= 1 << (bit % 8)
		if p.responder.CheckMAC2(0, bad, addr) {
			t.Fatalf("bit %d: MAC2 accepted", bit)
		}
	}
}

func TestEveryBitOfCookieFlippedIsRefused(t *testing.T) {
	p := newPair(t)
	good := p.cookie(0)
	before := bytes.Clone(p.initiator.Frame())
	for bit := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		if p.initiator.HandleCookie(bad) {
			t.Fatalf("bit %d: accepted", bit)
		}
	}
	for n := range good {
		if p.initiator.HandleCookie(good[:n]) {
			t.Fatalf("%d bytes: accepted", n)
		}
	}
	if !bytes.Equal(p.initiator.Frame(), before) {
		t.Error("a cookie that was refused changed the INIT")
	}
}

// A cookie is sealed with MAC1 of the INIT it answers, so one for another INIT,
// or from another peer, is of no use to anyone who wants to stop this one.
func TestCookieForAnotherInitIsRefused(t *testing.T) {
	p := newPair(t)
	stale := p.cookie(0)
	p.aliceEphemeral = scalar(8)
	fresh := p.initiate()
	if fresh.HandleCookie(stale) {
		t.Error("a cookie for an earlier INIT was accepted")
	}
	carol := newResponder(t, newIdentity(t, 6))
	f, _ := carol.Cookie(0, p.initiator.Frame(), addr, [24]byte{})
	if p.initiator.HandleCookie(f.Append(nil)) {
		t.Error("a cookie from another peer was accepted")
	}
}

func TestNoCookieForWhatIsNoInit(t *testing.T) {
	p := newPair(t)
	if _, ok := p.responder.Cookie(0, p.initiator.Frame()[1:], addr, [24]byte{}); ok {
		t.Error("cookie made")
	}
}
