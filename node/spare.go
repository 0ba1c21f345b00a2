package node

import (
	"sync/atomic"
	"time"

	"github.com/seed-67dce94e/holdfast/session/handshake"
)

// spareLife is how old the key of a handshake may be. The one that lies in the memory
// of a node at rest, or of a machine that sleeps, serves none.
const spareLife = 10 * time.Second

// A spareKey is the ephemeral key pair of the next handshake, where one follows the
// other. It is made while the peer works on the one before, and need not be waited for.
type spareKey struct{ next atomic.Pointer[agedPair] }

type agedPair struct {
	pair *handshake.Keypair
	made time.Time // by the wall clock, which goes on while the machine sleeps
}

func (p *agedPair) fresh() bool {
	age := time.Now().Round(0).Sub(p.made)
	return 0 <= age && age < spareLife
}

// take returns a key pair that serves nobody else.
func (s *spareKey) take() *handshake.Keypair {
	if next := s.next.Swap(nil); next != nil && next.fresh() {
		return next.pair
	}
	return handshake.NewKeypair(seed())
}

// refill makes another if there is none.
func (s *spareKey) refill() {
	if s.next.Load() == nil {
		s.next.Store(&agedPair{handshake.NewKeypair(seed()), time.Now().Round(0)})
	}
}
