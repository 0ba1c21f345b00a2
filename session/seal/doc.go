// Package seal protects the DATA frames of one session: an AEAD over the whole
// frame, header protection over what would let an observer link frames, key
// updates, and the replay window.
//
// It follows QUIC's packet protection (RFC 9001 §5 and §6) with our frame
// header in place of QUIC's:
//
//	frame    first byte | connection ID | packet number | sealed chunks | tag
//	            6 bits                      1-4 bytes
//	            \______ masked (§5.4) _______/
//	         \________ authenticated ___________________/\__ encrypted __/
//
// Two keys of each direction come out of the handshake. The one for header
// protection stays for the life of the session; the one of the AEAD is replaced
// at every key update, and both sides follow each other through the key phase
// bit of the header:
//
//	      Update, or the peer's first frame in the next phase
//	  old <------------------------- current <------------------------- next
//	   |  kept for frames that were                       made when first needed
//	   |  overtaken, until their time
//	   v  is up (SetOldKeysExpiry)
//	erased
//
// Nothing here reads a clock or allocates per frame. A frame that does not
// authenticate changes nothing but a counter.
package seal
