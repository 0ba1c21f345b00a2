package session

import (
	"time"

	"golang.org/x/sys/cpu"
)

// Limits on keys (SPEC §6; RFC 9001 §6.6).
const rekeyInterval = 2 * time.Minute // of use

// rekeyDue reports whether the keys have served their time, and may be replaced.
func (s *Session) rekeyDue(now Time) bool {
	if s.keys.Sealed() < s.e.cfg.RekeyAfter && (now.Sub(s.rekeyed) < rekeyInterval || s.used <= s.rekeyed) {
		return false
	}
	return s.confirmed && s.keys.CanUpdate()
}

// rekeyIfDue moves to the next key phase when it is time.
func (s *Session) rekeyIfDue(now Time) {
	if !s.rekeyDue(now) {
		return
	}
	s.keys.SetOldKeysExpiry(drainPTOs * s.active.pto())
	s.keys.Update()
	s.rekeyed = now
	s.stats.KeyUpdates++
}

// hasAES reports whether this machine seals AES-GCM in hardware.
func (e *Endpoint) hasAES() bool {
	return !e.cfg.NoAES && (cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ ||
		cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAESGCM)
}
