package handshake

import (
	"bytes"
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

// Frames made by the fuzzer never open a session and never panic, not even with
// the MAC1 that anyone who knows the public key can make.

func FuzzRead(f *testing.F) {
	p := newPair(f)
	good := bytes.Clone(p.initiator.Frame())
	f.Add(good)
	f.Add(good[:wire.InitLen-1])
	f.Add(make([]byte, wire.InitLen))
	f.Fuzz(func(t *testing.T, frame []byte) {
		p.responder.CheckMAC1(frame)
		p.responder.CheckMAC2(0, frame, addr)
		p.responder.Cookie(0, frame, addr, [24]byte{})
		frame = bytes.Clone(frame)
		if len(frame) == wire.InitLen {
			refixMAC1(frame, initMAC1, p.bob)
		}
		if _, err := p.responder.Read(frame); err == nil && !bytes.Equal(frame[:initMAC2], good[:initMAC2]) {
			t.Error("read")
		}
	})
}

func FuzzHandleResp(f *testing.F) {
	p := newPair(f)
	good, _ := p.respond(p.initiator.Frame())
	f.Add(good)
	f.Add(good[1:])
	f.Add(make([]byte, wire.RespLen))
	f.Fuzz(func(t *testing.T, frame []byte) {
		q := newPair(t)
		frame = bytes.Clone(frame)
		if len(frame) == wire.RespLen {
			refixMAC1(frame, respMAC1, q.alice)
		}
		if _, err := q.initiator.HandleResp(frame); err == nil && !bytes.Equal(frame, good) {
			t.Error("accepted")
		}
		if bytes.Equal(frame, good) {
			return
		}
		if _, err := q.initiator.HandleResp(good); err != nil {
			t.Errorf("the real RESP afterwards: %v", err)
		}
	})
}

func FuzzHandleCookie(f *testing.F) {
	p := newPair(f)
	good := p.cookie(0)
	f.Add(good)
	f.Add(good[1:])
	f.Add(make([]byte, wire.CookieLen))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if p.initiator.HandleCookie(frame) && !bytes.Equal(frame, good) {
			t.Error("accepted")
		}
	})
}
