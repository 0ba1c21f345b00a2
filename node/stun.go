package node

import (
	"net/netip"

	"github.com/seed-67dce94e/holdfast/node/reach"
	"github.com/seed-67dce94e/holdfast/session"
	"github.com/seed-67dce94e/holdfast/session/limit"
	"github.com/seed-67dce94e/holdfast/wire"
)

// A stunService answers binding requests. Sources can be forged, so that how
// many answers one address gets is limited: one may be the victim.
type stunService struct {
	perSource *limit.Table[netip.Prefix]
	buf       []byte
}

// stunRate is what one IPv4 address or IPv6 /64 may ask for.
var stunRate = limit.Rate{PerSecond: 20, Burst: 40}

const stunSourcesMax = 65536

func newSTUNService() *stunService {
	return &stunService{perSource: limit.NewTable[netip.Prefix](stunRate, stunSourcesMax)}
}

// handleSTUN takes a STUN datagram: an answer to a query of ours, or a request.
func (s *shard) handleSTUN(now session.Time, from session.Path, b []byte) {
	if s.stun != nil && from.Link == 0 && s.stun.answer(s, now, from.Remote, b) {
		return
	}
	if s.reach != nil {
		s.reach.client.HandleSTUN(now, from.Link, from.Remote, b)
	}
}

func (u *stunService) answer(s *shard, now session.Time, from netip.AddrPort, b []byte) bool {
	const requestType = 0x0001
	if int(b[0])<<8|int(b[1]) != requestType {
		return false
	}
	if !u.perSource.Take(now, sourcePrefix(from.Addr()), 1) {
		return true
	}
	var ok bool
	if u.buf, ok = reach.AppendBindingResponse(u.buf[:0], b, from); ok {
		s.writeOn(0, u.buf, 0, wire.NotECT, from)
	}
	return true
}

// sourcePrefix is the unit in which strangers are limited.
func sourcePrefix(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // cannot fail: bits fits the family
	return p
}
