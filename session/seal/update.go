package seal

import (
	"math"
	"time"

	"github.com/seed-67dce94e/holdfast/session/clock"
)

// CanUpdate reports whether Update may be called: the peer has acknowledged a
// frame of the present phase (RFC 9001 §6.1), has itself come to this phase, and
// the keys of the one before are erased, so that two phases with the same bit
// are never alive at once (§6.5).
func (k *Keys) CanUpdate() bool { return k.confirmed && !k.old.present() }

// Update moves both directions to the next key phase. The old keys for opening
// stay until the peer has followed and their expiry has passed. It panics unless
// CanUpdate.
func (k *Keys) Update() {
	if !k.CanUpdate() {
		panic("seal: key update before the last one was confirmed")
	}
	k.advance()
}

// OnAck tells k that the peer acknowledged the frame sealed as pn.
func (k *Keys) OnAck(pn uint64) {
	if pn >= k.phaseFrom && pn < k.sealFrom {
		k.confirmed = true
	}
}

// SetOldKeysExpiry sets how long, after the peer's first frame in a new phase, a
// frame of the phase before may still arrive: three probe timeouts (RFC 9001
// §6.5). It holds for key updates seen from now on.
func (k *Keys) SetOldKeysExpiry(after time.Duration) { k.keepOld = after }

// OldKeysExpiry returns when DropOld will erase the old keys, or Never.
func (k *Keys) OldKeysExpiry() clock.Time { return k.oldExpiry }

// DropOld erases the old keys if their time is up. Open does so too; a timer
// keeps an idle session from holding on to them.
func (k *Keys) DropOld(now clock.Time) {
	if now >= k.oldExpiry {
		k.old.erase()
		k.old = nil
		k.oldExpiry = clock.Never
	}
}

// epochOf chooses the one set of keys that a frame is tried with, so that every
// frame costs one decryption. With a phase bit that is not the current one, the
// packet number decides between the phases before and after (RFC 9001 §6.5).
func (k *Keys) epochOf(pn uint64, phase bool) *epoch {
	switch {
	case phase == k.phase:
		return &k.current
	case k.old.present() && pn < k.openFrom:
		return k.old
	}
	if !k.next.present() {
		// Kept even if this frame turns out to be noise: to make it anew for
		// every such frame would be an attacker's lever, and slower than the
		// other cases in a way that can be measured (RFC 9001 §9.5).
		k.makeNext()
	}
	return k.next
}

// opened notes that e opened the frame pn. It reports false if no honest peer
// could have sealed pn with e.
func (k *Keys) opened(now clock.Time, e *epoch, pn uint64) bool {
	switch e {
	case k.old:
		k.olderTo = max(k.olderTo, pn+1)
		return true
	case k.next:
		// A peer flips after we acknowledged its present phase, for which we
		// sealed a frame (§6.2), and never goes back to older keys (§6.4).
		if pn < k.openTo || k.sealed == 0 {
			return false
		}
		k.advance()
	}
	if pn < k.olderTo {
		return false // sealed with newer keys than a later frame (§6.4)
	}
	if k.openTo == 0 && k.old.present() {
		k.oldExpiry = now.Add(k.keepOld)
	}
	k.openFrom = min(k.openFrom, pn)
	k.openTo = max(k.openTo, pn+1)
	return true
}

// advance moves both directions to the next phase.
func (k *Keys) advance() {
	if !k.next.present() {
		k.makeNext()
	}
	// The new ones are taken out of the record that the old ones go into.
	old := k.next
	k.current, *old = *old, k.current
	k.old, k.next = old, nil
	k.olderTo = max(k.olderTo, k.openTo)
	k.openFrom, k.openTo = math.MaxUint64, 0

	k.sending = k.sending.successor()
	k.phase = !k.phase
	k.phaseFrom = k.sealFrom
	k.sealed = 0
	k.confirmed = false
}

func (k *Keys) makeNext() {
	next := k.current.successor()
	k.next = &next
}
