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
	if !decodeSTUN(b, &m) || m.TransactionID != txid {
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
func decodeSTUN(b []byte, m *stun.Message) bool {
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
	if !decodeSTUN(req, &m) || m.Type != stun.BindingRequest || src.Port() == 0 {
		return b, false
	}
	ip := src.Addr().Unmap()
	var r stun.Message
	r.Raw = make([]byte, 0, 64)
	err := r.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: ip.AsSlice(), Port: int(src.Port())})
	if err != nil {
		return b, false
	}
	return append(b, r.Raw...), true
}
