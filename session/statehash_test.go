package session

import (
	"hash/maphash"
	"reflect"
)

// passing names the fields that may change although nothing that matters did:
// counters, scratch space, the budget for answering strangers, the keys of
// the next phase, which are derived when first tried, and ciphers, which are made
// of their keys when first used.
var passing = map[string]bool{
	"Endpoint.now": true, "Endpoint.stats": true, "Endpoint.resets": true, "Endpoint.chunk": true,
	"Endpoint.result": true, "Endpoint.refs": true, "Endpoint.rng": true,
	"Endpoint.ready": true, "Endpoint.events": true, "Endpoint.stateless": true, // empty after draining
	"Session.stats": true, "Session.User": true,
	"Keys.forgeries": true, "Keys.next": true, "epoch.secret": true, "epoch.aead": true, "Keys.tools": true, "hasher.hash": true, "hasher.out": true,
}

// stateHash sums up all that an endpoint remembers, sessions included.
func stateHash(e *Endpoint) uint64 {
	h := hasher{seen: make(map[uintptr]bool)}
	h.hash.SetSeed(hashSeed)
	h.add(reflect.ValueOf(e))
	return h.hash.Sum64()
}

var hashSeed = maphash.MakeSeed()

// A hasher walks a value and everything it points to, once.
type hasher struct {
	hash maphash.Hash
	seen map[uintptr]bool
}

func (h *hasher) add(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || h.seen[v.Pointer()] {
			h.word(0)
			return
		}
		h.seen[v.Pointer()] = true
		h.add(v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			h.add(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !passing[v.Type().Name()+"."+v.Type().Field(i).Name] {
				h.add(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		h.word(uint64(v.Len()))
		for i := range v.Len() {
			h.add(v.Index(i))
		}
	case reflect.Map:
		h.addMap(v)
	case reflect.Bool:
		if v.Bool() {
			h.word(1)
		} else {
			h.word(2)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		h.word(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		h.word(v.Uint())
	case reflect.String:
		h.hash.WriteString(v.String())
	}
}

// addMap adds the entries of a map in no particular order, which is why their
// hashes are summed. What the values point to is hashed with the first of them.
func (h *hasher) addMap(v reflect.Value) {
	var sum uint64
	for _, k := range v.MapKeys() {
		sub := hasher{seen: h.seen}
		sub.hash.SetSeed(hashSeed)
		sub.add(k)
		sum += sub.hash.Sum64()
	}
	h.word(sum)
	h.word(uint64(v.Len()))
}

func (h *hasher) word(v uint64) {
	var b [8]byte
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	h.hash.Write(b[:])
}
