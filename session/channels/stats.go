package channels

// Stats counts what a Set has done and tells what it holds.
type Stats struct {
	MessagesSent       uint64 // accepted by Send
	MessagesReceived   uint64 // taken by the application
	MessagesSkipped    uint64 // given up by their sender before they were complete
	RetransmittedBytes uint64 // of messages known to be lost, or repeated to find out
	RepeatedBytes      uint64 // of short messages that rode along before they were known to be lost, with their chunk headers
	Duplicates         uint64 // chunks that brought bytes we had
	DroppedUnsent      uint64 // unreliable, oldest of a full queue
	DroppedUnread      uint64 // unreliable, oldest of a full queue
	DroppedPartial     uint64 // unreliable, never completed
	DroppedStale       uint64 // unreliable chunks of messages overtaken or received before

	SendBuffered int    // bytes of reliable messages not yet stored by the peer, with overhead
	SendQueued   int    // bytes of unreliable messages not yet sent
	ReceiveHeld  uint64 // bytes received and not yet taken, with overhead
}

// Stats returns the present counts.
func (s *Set) Stats() Stats {
	st := s.stats
	st.SendBuffered = s.buffered
	st.SendQueued = s.unsentBytes
	st.ReceiveHeld = uint64(s.unreadBytes)
	for _, ch := range s.channels {
		st.ReceiveHeld += ch.received - ch.consumed
	}
	return st
}
