package reach

import (
	"net/netip"

	"github.com/pion/stun/v4"
)

// Bounds of the STUN messages that are looked at. A binding request or response
// without authentication has no use for more.
const (
	stunLenMax        = 548 // what every path carries (RFC 8489 §6.1)
	stunAttributesMax = 32
)

// parseBindingResponse decodes the answer to the binding request with the given
// transaction ID. An error response is ok without success: it ends the
// transaction, and nothing that it asks for is done.
func parseBindingResponse(b []byte, txid [stun.TransactionIDSize]byte) (mapped netip.AddrPort, success, ok bool) {
	var m stun.Message
	if !decodeSTUN(b, &m, understood) || m.TransactionID != txid {
		return mapped, false, false
	}
	switch m.Type {
	case stun.BindingError:
		return mapped, false, true
	case stun.BindingSuccess:
		mapped, ok = mappedAddress(&m)
		return mapped, ok, ok
	}
	return mapped, false, false
}

func mappedAddress(m *stun.Message) (mapped netip.AddrPort, ok bool) {
	value, err := m.Get(stun.AttrXORMappedAddress)
	if err != nil || len(value) != 4+4 && len(value) != 4+16 {
		return mapped, false
	}
	var xor stun.XORMappedAddress
	if xor.GetFrom(m) != nil || len(xor.IP) != len(value)-4 || xor.Port == 0 {
		return mapped, false
	}
	ip, ok := netip.AddrFromSlice(xor.IP)
	return netip.AddrPortFrom(ip, uint16(xor.Port)), ok
}

// decodeSTUN decodes a whole datagram and checks what RFC 8489 §6.3 and §14
// ask for: no trailing bytes, no unknown attribute that must be understood, and
// a fingerprint, if there is one, that is right.
func decodeSTUN(b []byte, m *stun.Message, understood func(stun.AttrType) bool) bool {
	if len(b) > stunLenMax || !stun.IsMessage(b) {
		return false
	}
	m.Raw = b
	if m.Decode() != nil || int(m.Length)+stunHeaderLen != len(b) || len(m.Attributes) > stunAttributesMax {
		return false
	}
	for _, a := range m.Attributes {
		if a.Type.Required() && !understood(a.Type) {
			return false
		}
	}
	return !m.Contains(stun.AttrFingerprint) || stun.Fingerprint.Check(m) == nil
}

const stunHeaderLen = 20

// understood lists the attributes that must be understood and may come in the
// answer to a binding request.
func understood(t stun.AttrType) bool {
	switch t {
	case stun.AttrXORMappedAddress, stun.AttrMappedAddress, stun.AttrErrorCode,
		stun.AttrUnknownAttributes, stun.AttrUsername, stun.AttrMessageIntegrity:
		return true
	}
	return false
}

// AppendBindingResponse appends the answer to a binding request from src, for
// nodes that serve STUN. It reports false, with b as it was, for what is not a
// request that it answers. The response has at most 24 bytes more than the
// shortest request: the caller must limit how many it sends to one address,
// which may be forged.
func AppendBindingResponse(b, req []byte, src netip.AddrPort) ([]byte, bool) {
	var m stun.Message
	if !decodeSTUN(req, &m, understood) || m.Type != stun.BindingRequest || src.Port() == 0 {
		return b, false
	}
	return appendBindingSuccess(b, m.TransactionID, src)
}

func appendBindingSuccess(b []byte, txid [stun.TransactionIDSize]byte, src netip.AddrPort) ([]byte, bool) {
	ip := src.Addr().Unmap()
	var r stun.Message
	r.Raw = make([]byte, 0, 64)
	err := r.Build(stun.NewTransactionIDSetter(txid), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: ip.AsSlice(), Port: int(src.Port())})
	if err != nil {
		return b, false
	}
	return append(b, r.Raw...), true
}

// probeLenMin is the length of a request that a probe port answers elsewhere than
// to its source: no less than the answer, so that nothing is gained by forging
// one.
const probeLenMin = 72

// probeRequest is a binding request for a probe port.
func probeRequest(txid [stun.TransactionIDSize]byte, change bool, port uint16) []byte {
	m := stun.MustBuild(stun.NewTransactionIDSetter(txid), stun.BindingRequest)
	if change {
		m.Add(stun.AttrChangeRequest, []byte{0, 0, 0, changePortFlag})
	}
	if port != 0 {
		m.Add(stun.AttrResponsePort, []byte{byte(port >> 8), byte(port), 0, 0})
	}
	if change || port != 0 {
		m.Add(stun.AttrPadding, make([]byte, probeLenMin-len(m.Raw)-4))
	}
	return m.Raw
}

const changePortFlag = 0x02 // RFC 5780 §7.2

// isRequest reports whether b is the binding request with the transaction ID.
func isRequest(b []byte, txid [stun.TransactionIDSize]byte) bool {
	var m stun.Message
	return decodeProbe(b, &m) && m.TransactionID == txid
}

// A ProbeRequest is a binding request to a probe port (RFC 5780 §7).
type ProbeRequest struct {
	ChangePort   bool   // answer from another port
	ResponsePort uint16 // answer to another port of the source; 0: to the one it came from
}

// ParseProbe reads a binding request as a probe port does. It refuses one that
// asks to be answered elsewhere and is shorter than the answer.
func ParseProbe(b []byte) (p ProbeRequest, ok bool) {
	var m stun.Message
	if !decodeProbe(b, &m) {
		return p, false
	}
	if v, err := m.Get(stun.AttrChangeRequest); err == nil {
		if len(v) != 4 {
			return p, false
		}
		p.ChangePort = v[3]&changePortFlag != 0
	}
	if v, err := m.Get(stun.AttrResponsePort); err == nil {
		if len(v) != 4 {
			return p, false
		}
		p.ResponsePort = uint16(v[0])<<8 | uint16(v[1])
		if p.ResponsePort < firstUserPort {
			return p, false
		}
	}
	elsewhere := p.ChangePort || p.ResponsePort != 0
	return p, !elsewhere || len(b) >= probeLenMin
}

const firstUserPort = 1024

func decodeProbe(b []byte, m *stun.Message) bool {
	return decodeSTUN(b, m, understoodByProbes) && m.Type == stun.BindingRequest
}

// understoodByProbes lists the attributes of RFC 5780 that a request may have.
func understoodByProbes(t stun.AttrType) bool {
	return t == stun.AttrChangeRequest || t == stun.AttrResponsePort || t == stun.AttrPadding
}

// AppendProbeResponse appends the answer of a probe port to a request that
// ParseProbe took, and came from src.
func AppendProbeResponse(b, req []byte, src netip.AddrPort) ([]byte, bool) {
	var m stun.Message
	if !decodeProbe(req, &m) || src.Port() == 0 {
		return b, false
	}
	return appendBindingSuccess(b, m.TransactionID, src)
}
