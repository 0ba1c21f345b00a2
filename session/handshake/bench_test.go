package handshake

import (
	"testing"

	"github.com/seed-67dce94e/holdfast/wire"
)

func TestCheckMAC1AllocatesNothing(t *testing.T) {
	p := newPair(t)
	good := p.initiator.Frame()
	noise := make([]byte, wire.InitLen)
	copy(noise, good[:2])
	if n := testing.AllocsPerRun(100, func() {
		if !p.responder.CheckMAC1(good) || p.responder.CheckMAC1(noise) {
			t.Fatal("wrong verdict")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHandshake(b *testing.B) {
	p := newPair(b)
	b.ReportAllocs()
	for b.Loop() {
		i := p.initiate()
		resp, _ := p.respond(i.Frame())
		if _, err := i.HandleResp(resp); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckMAC1(b *testing.B) {
	p := newPair(b)
	frame := p.initiator.Frame()
	b.ReportAllocs()
	for b.Loop() {
		p.responder.CheckMAC1(frame)
	}
}

func BenchmarkCookie(b *testing.B) {
	p := newPair(b)
	frame := p.initiator.Frame()
	b.ReportAllocs()
	for b.Loop() {
		p.responder.Cookie(0, frame, addr, [24]byte{})
	}
}

func BenchmarkCheckMAC2(b *testing.B) {
	p := newPair(b)
	frame := p.initiator.Frame()
	b.ReportAllocs()
	for b.Loop() {
		p.responder.CheckMAC2(0, frame, addr)
	}
}

func BenchmarkReadForgery(b *testing.B) {
	p := newPair(b)
	frame := p.initiator.Frame()
	frame[100] ^= 1
	refixMAC1(frame, initMAC1, p.bob)
	b.ReportAllocs()
	for b.Loop() {
		p.responder.Read(frame)
	}
}
