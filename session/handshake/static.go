package handshake

import (
	"github.com/cloudflare/circl/dh/x25519"

	"github.com/seed-67dce94e/holdfast/wire"
)

// knownMax is how many peers' secrets are remembered.
const knownMax = 1024

// knownSecrets remembers what X25519 makes of the identity key and those of peers that
// a handshake was completed with, or answered: the same for each handshake between the
// two, and a quarter of its work. To know it is worth no more than to know the private
// key. That an INIT of a known peer is done with some 50 us sooner tells who claims
// to be that peer, and measures it, that there was such a handshake.
type knownSecrets map[wire.PeerID]x25519.Key

// add remembers one more secret, in the place of any other if there are enough.
func (k knownSecrets) add(peer wire.PeerID, secret x25519.Key) {
	if _, there := k[peer]; !there && len(k) >= knownMax {
		for other := range k {
			delete(k, other)
			break
		}
	}
	k[peer] = secret
}
