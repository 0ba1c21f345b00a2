package node

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-67dce94e/holdfast/session/handshake"
)

// No key pair serves twice, whoever takes and makes them at the same time.
func TestSpareKeyIsTakenOnce(t *testing.T) {
	var spare spareKey
	var mu sync.Mutex
	taken := map[handshake.Keypair]bool{}
	var users sync.WaitGroup
	const each = 100
	for range 4 {
		users.Go(func() {
			for range each {
				spare.refill()
				pair := spare.take()
				mu.Lock()
				taken[*pair] = true
				mu.Unlock()
			}
		})
	}
	users.Wait()
	if len(taken) != 4*each {
		t.Errorf("%d key pairs for %d uses", len(taken), 4*each)
	}
}

func TestSpareKeyIsUsedWhileItIsFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var spare spareKey
		spare.refill()
		ready := spare.next.Load().pair
		time.Sleep(spareLife - 1)
		if spare.refill(); spare.take() != ready {
			t.Error("what was ready is not used")
		}
		spare.refill()
		ready = spare.next.Load().pair
		time.Sleep(spareLife)
		if spare.take() == ready {
			t.Error("an old key is used")
		}
		// A clock that was set back does not make it younger.
		spare.next.Store(&agedPair{ready, time.Now().Add(time.Second)})
		if spare.take() == ready {
			t.Error("a key of the future is used")
		}
	})
}
